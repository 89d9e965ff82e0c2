"""How far bytes are on their way: bars on a terminal, now and then a line elsewhere, or JSON."""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from controller.cli.commandline.call import Call
from controller.cli.text.clean import one_line
from controller.views import human_size
from resources.errors import Cancelled

QUIET_SECONDS = 5.0
"""Between two lines of what is no terminal."""
_FRAME_SECONDS = 0.1
_JSON_SECONDS = 1.0
_WINDOW_SECONDS = 3.0
_BAR = 24
RESOLVE, RECEIVE, READ = "resolve", "receive", "read"
_WORDS = {RESOLVE: "asking the registry", RECEIVE: "receiving", READ: "reading"}
Clock = Callable[[], float]


@dataclass(slots=True)
class Rate:
    """Bytes a second, over the last few."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, now: float, done: int) -> None:
        if self._seen and done < self._seen[-1][1]:  # begun anew
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def value(self) -> float:
        (begun, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - begun) if now - begun > 0.2 else 0.0


def amount(done: int, total: int, rate: float = 0.0) -> str:
    """`12.0 MiB of 40.0 MiB, 8.1 MiB/s`"""
    text = human_size(done) + (f" of {human_size(total)}" if total else "")
    return text + (f", {human_size(rate)}/s" if rate >= 1 else "")


@dataclass(slots=True)
class _Part:
    done: int
    total: int

    @property
    def complete(self) -> bool:
        return 0 < self.total <= self.done


class Transfer:
    """`progress` is what an operation calls. Raises from it: Cancelled, once the user wants to stop."""

    def __init__(self, call: Call, title: str, clock: Clock = time.monotonic) -> None:
        self._call = call
        self._title = title
        self._clock = clock
        self._parts: dict[str, _Part] = {}
        self._rate = Rate()
        self._height = 0
        self._told: dict[str, float] = {}
        self._quiet = call.arguments.on("quiet")
        self._json = call.arguments.text("output") == "json"

    def progress(self, what: str, done: int, total: int) -> None:
        if self._call.session.cancelled():
            raise Cancelled("interrupted")
        fresh = what not in self._parts
        before = self._parts.get(what)
        part = self._parts[what] = _Part(done, total)
        now = self._clock()
        self._rate.note(now, sum(one.done for one in self._parts.values()))
        if self._quiet:
            return
        settled = part.complete and not (before and before.complete)
        if self._json:
            self._tell_json(what, part, now, at_once=fresh or settled)
        elif self._call.session.stdout_tty:
            self._draw(now, at_once=fresh or settled)
        else:
            self._tell(what, part, now, fresh=fresh, settled=settled)

    def end(self) -> None:
        """Nothing of it stays on a terminal: what came of it is said after it."""
        if self._height:
            self._call.session.out(f"\r\x1b[{self._height}A\x1b[J")
            self._height = 0

    def _tell_json(self, what: str, part: _Part, now: float, *, at_once: bool) -> None:
        if not at_once and now - self._told.get(what, 0.0) < _JSON_SECONDS:
            return
        self._told[what] = now
        line = {"event": "progress", "of": self._title, "what": what, "done": part.done, "total": part.total}
        self._call.session.out(json.dumps(line) + "\n")

    def _tell(self, what: str, part: _Part, now: float, *, fresh: bool, settled: bool) -> None:
        """What begins and what is complete, of blobs only the latter; and how far all is, every few seconds."""
        if fresh and what in _WORDS:
            self._told[""] = now
            self._call.line(one_line(f"{self._title}: {_WORDS[what]}"))
        elif settled and what not in _WORDS:
            self._told[""] = now
            self._call.line(one_line(f"{self._title}: {short(what)} complete, {human_size(part.total)}"))
        elif now - self._told.setdefault("", now) >= QUIET_SECONDS:
            self._told[""] = now
            self._call.line(one_line(f"{self._title}: {self._sum()}"))

    def _sum(self) -> str:
        blobs = [part for what, part in self._parts.items() if what != RESOLVE]
        if not blobs:
            return _WORDS[RESOLVE]
        total = sum(part.total for part in blobs) if all(part.total for part in blobs) else 0
        return amount(sum(part.done for part in blobs), total, self._rate.value)

    def _draw(self, now: float, *, at_once: bool) -> None:
        if not at_once and now - self._told.get("", 0.0) < _FRAME_SECONDS:
            return
        self._told[""] = now
        session = self._call.session
        columns, room = session.columns or 80, max((session.rows or 24) - 3, 1)
        blobs = [(what, part) for what, part in self._parts.items() if what != RESOLVE]
        head = self._sum()
        # Those under way stay in sight.
        blobs.sort(key=lambda blob: blob[1].complete)
        bars = (f"  {one_line(_bar(what, part))}" for what, part in blobs[:room])
        lines = [one_line(f"{self._title}: {head}"), *bars]
        up = f"\x1b[{self._height}A" if self._height else ""
        session.out("\r" + up + "".join(f"\x1b[2K{line[: columns - 1]}\n" for line in lines) + "\x1b[J")
        self._height = len(lines)


def _bar(what: str, part: _Part) -> str:
    filled = min(_BAR * part.done // part.total, _BAR) if part.total else 0
    bar = f"[{'=' * filled}{' ' * (_BAR - filled)}]" if part.total else ""
    return f"{short(what):<12} {bar} {amount(part.done, part.total)}"


def short(what: str) -> str:
    """A digest as people read it."""
    return what[7:19] if what.startswith("sha256:") else _WORDS.get(what, what)
