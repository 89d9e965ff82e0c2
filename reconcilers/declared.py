"""Kinds that are nothing on the host by themselves (PURE): others use what they declare."""

# ruff: noqa: ARG002 -- the contract names more than these kinds need.

from collections.abc import Callable
from typing import Any

from reconcilers.conditions import Decision, blocked
from reconcilers.interface import Action, Context, Diff
from resources.kinds import Kind
from resources.meta import Key, Status
from resources.object import Object


class DeclaredReconciler:
    """There is nothing to observe and nothing to do; deletion waits for the users to go.

    `decide` may refuse an object; `report` gives the fields of its status.
    """

    def __init__(
        self,
        kind: Kind,
        report: Callable[[Object], dict[str, Any]],
        decide: Callable[[Object], Decision[Action]] = lambda _: Decision(Diff()),
    ) -> None:
        self.kind = kind
        self._report = report
        self._decide = decide

    def observe(self, key: Key, desired: Object | None, context: Context) -> None:
        return None

    def diff(self, desired: Object | None, observed: None, context: Context) -> Diff[Action]:
        if desired is None:
            return Diff()
        return self._decided(desired, context).diff

    def act(self, action: Action) -> None:
        raise TypeError(f"there is no action for a {self.kind}")

    def status(self, desired: Object, observed: None, context: Context) -> Status:
        return self._decided(desired, context).status(desired, context, **self._report(desired))

    def known(self) -> list[Key]:
        return []

    def _decided(self, desired: Object, context: Context) -> Decision[Action]:
        if desired.deleting:
            return blocked(context, "Deleting") or Decision(Diff(), "Deleting", "Deleting")
        return self._decide(desired)
