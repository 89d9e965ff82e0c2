"""Showing how objects get on: lines in place on a terminal, plain lines or JSON elsewhere."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from controller.cli.commandline.call import Call
from controller.cli.progress.transfer import QUIET_SECONDS, Rate, amount
from controller.cli.text.clean import one_line
from resources.meta import Ref, Status

DONE, FAILED, NO_PROGRESS = 0, 1, 4
_JSON_SECONDS = 1.0
_PERCENT = re.compile(r" [0-9]{1,3}%")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far work on bytes is."""

    done: int
    total: int
    """0 where it is not known."""
    layers: int = 0
    complete: int = 0
    """Of the layers."""

    @classmethod
    def of(cls, status: Status) -> "Progress | None":
        """What the status reports as `progress`."""
        found = status.fields.get("progress")
        if not isinstance(found, Mapping):
            return None
        layers = [layer for layer in found.get("layers") or () if isinstance(layer, Mapping)]
        complete = sum(0 < layer.get("total", 0) <= layer.get("done", 0) for layer in layers)
        return cls(found.get("done", 0), found.get("total", 0), len(layers), complete)

    def words(self, rate: float = 0.0) -> str:
        if not self.done and not self.total:
            return ""
        layers = f", {self.complete} of {self.layers} layers" if self.layers else ""
        return amount(self.done, self.total) + layers + (f", {amount(int(rate), 0)}/s" if rate >= 1 else "")


@dataclass(frozen=True, slots=True)
class Look:
    """How one object stands."""

    ref: Ref
    phase: str
    message: str = ""
    done: bool = False
    failed: bool = False
    tried_again: bool = False
    """What failed is tried again, and again."""
    progress: Progress | None = None

    @property
    def state(self) -> "Look":
        """Without what changes all the time while it gets on."""
        if self.progress is None:
            return self
        return replace(self, message=_PERCENT.sub("", self.message), progress=None)


class _Told:
    """What was said of each object, and when: mere progress is worth saying only now and then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._shown: dict[Ref, Look] = {}
        self._when: dict[Ref, float] = {}

    def news(self, look: Look) -> bool:
        before, now = self._shown.get(look.ref), time.monotonic()
        same = before is not None and before.state == look.state
        if same and (before == look or now - self._when[look.ref] < self._seconds):
            return False
        self._shown[look.ref], self._when[look.ref] = look, now
        return True


class _Rates:
    def __init__(self) -> None:
        self._rates: defaultdict[Ref, Rate] = defaultdict(Rate)

    def of(self, look: Look) -> float:
        if look.progress is None:
            self._rates.pop(look.ref, None)
            return 0.0
        rate = self._rates[look.ref]
        rate.note(time.monotonic(), look.progress.done)
        return rate.value


class _Lines:
    """One line a change."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._told = _Told(QUIET_SECONDS)
        self._rates = _Rates()

    def update(self, looks: Iterable[Look]) -> None:
        for look in looks:
            rate = self._rates.of(look)
            if self._told.news(look):
                self._call.line(described(look, rate))

    def end(self, looks: Iterable[Look], code: int) -> int:
        return _sum_up(self._call, list(looks), code)


class _Json:
    """One object a change, on a line of its own."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._told = _Told(_JSON_SECONDS)

    def update(self, looks: Iterable[Look]) -> None:
        for look in looks:
            if self._told.news(look):
                line = {"event": "state", **naming(look.ref), "phase": look.phase, "message": look.message}
                progress = {"progress": asdict(look.progress)} if look.progress else {}
                self._say({**line, "done": look.done, "failed": look.failed, **progress})

    def end(self, looks: Iterable[Look], code: int) -> int:
        code = _code(looks, code)
        self._say({"event": "end", "ok": code == DONE, "timeout": code == NO_PROGRESS})
        return code

    def _say(self, value: dict[str, Any]) -> None:
        self._call.session.out(json.dumps(value) + "\n")


class _Screen:
    """A line an object, changed in place; what is done scrolls away when there is not room for all."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._height = 0
        self._rates = _Rates()

    def update(self, looks: Iterable[Look]) -> None:
        session = self._call.session
        room = max((session.rows or 24) - 2, 1)
        ordered = list(looks)
        if len(ordered) > room:
            ordered.sort(key=lambda look: (look.done, look.failed))
        rates = {look.ref: self._rates.of(look) for look in ordered}
        lines = [_fitted(look, rates[look.ref], session.columns or 80, session.color) for look in ordered[:room]]
        if len(ordered) > room:
            left = sum(not look.done for look in ordered)
            lines[-1] = f"\x1b[2K… {len(ordered) - room + 1} more; {left} of {len(ordered)} are not there yet"
        up = f"\x1b[{self._height}A" if self._height else ""
        session.out("\r" + up + "".join(f"{line}\n" for line in lines) + "\x1b[J")
        self._height = len(lines)

    def end(self, looks: Iterable[Look], code: int) -> int:
        return _sum_up(self._call, list(looks), code)


def display(call: Call) -> "_Lines | _Json | _Screen":
    if call.arguments.text("output") == "json":
        return _Json(call)
    return _Screen(call) if call.session.stdout_tty else _Lines(call)


def _fitted(look: Look, rate: float, columns: int, color: bool) -> str:
    mark, shade = ("✗", "31") if look.failed else ("✓", "32") if look.done else ("·", "33")
    text = described(look, rate)[: columns - 3]
    return f"\x1b[2K\x1b[{shade}m{mark}\x1b[0m {text}" if color else f"\x1b[2K{mark} {text}"


def described(look: Look, rate: float = 0.0) -> str:
    parts = [f"{look.ref}", look.phase, look.state.message, look.progress.words(rate) if look.progress else ""]
    return one_line("  ".join(part for part in parts if part))


def naming(ref: Ref) -> dict[str, str]:
    return {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}


def _code(looks: Iterable[Look], code: int) -> int:
    return FAILED if any(look.failed for look in looks) and code == DONE else code


def _sum_up(call: Call, looks: list[Look], code: int) -> int:
    for look in looks:
        if look.failed:
            call.note(f"lading: {look.ref} failed: {look.message or look.phase}")
        elif code == NO_PROGRESS and not look.done:
            call.note(f"lading: {look.ref} makes no progress: {look.message or look.phase}")
    return _code(looks, code)
