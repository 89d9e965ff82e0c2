"""What was found to be otherwise than it shall be, and what is done about it (PURE)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from reconcilers.container.actions import ContainerAction
from reconcilers.interface import ChangeKind, FieldChange


@dataclass(slots=True)
class Healing:
    """Drift is healed, only told, or not even that; what the manifest asks for is done in any case."""

    mode: str
    """heal | report | ignore"""
    actions: list[ContainerAction] = field(default_factory=list)
    drift: list[FieldChange] = field(default_factory=list)

    def do(self, actions: Sequence[ContainerAction]) -> None:
        self.actions += [action for action in actions if action not in self.actions]

    def add(self, change: FieldChange, actions: Sequence[ContainerAction], mode: str = "") -> None:
        mode = mode if mode and self.mode == "heal" else self.mode
        if mode != "ignore":
            self.drift.append(change)
        if mode == "heal":
            self.do(actions)

    def found(self, path: str, old: object, new: object, actions: Sequence[ContainerAction], mode: str = "") -> None:
        self.add(FieldChange(path, old, new, ChangeKind.HOT, drift=True), actions, mode)
