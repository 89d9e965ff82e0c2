"""Lives of the engine that end in the middle of what they do: at one of the calls that write, before it takes effect or just
after. Once it is over, nothing that is still on its way (a `finally`, a clean-up) reaches the host any more.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from drivers.fakes import FakeDrivers
from tests.unit.reconcilers.engines import Killed

WRITES = frozenset(
    {
        "create", "start", "kill", "pause", "resume", "update", "record_exit", "record_applied", "record_failure",
        "annotate", "delete", "exec", "prepare", "view", "commit", "remove", "mount", "unmount", "write_files",
        "import_archive", "import_layout", "import_rootfs", "unpack", "prune", "put", "mark_populated", "copy_up",
        "extract", "project", "stage", "unstage", "rotate", "pull", "abandon",
    }
)  # fmt: skip
INNER = frozenset({"names", "content"})
"""What gives another driver."""


@dataclass(slots=True)
class Death:
    """`left` writing calls succeed; the next is the last thing that happens, or does not happen any more."""

    left: int
    after: bool
    over: bool = False
    last: str = ""

    def call(self, name: str, work: Callable[[], Any], *, writes: bool) -> Any:
        if self.over:
            raise Killed
        if not writes:
            return work()
        self.left -= 1
        if self.left >= 0:
            return work()
        self.over, self.last = True, name
        if self.after:
            work()
        raise Killed

    def drivers(self, own: FakeDrivers) -> FakeDrivers:
        proxies: dict[str, Any] = {field.name: Mortal(getattr(own, field.name), self) for field in fields(own)}
        for kinds in ("volumes", "networks"):
            proxies[kinds] = {name: Mortal(driver, self) for name, driver in getattr(own, kinds).items()}
        return replace(own, **proxies)


class Mortal:
    """A driver, as long as the engine lives."""

    def __init__(self, target: Any, death: Death) -> None:
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_death", death)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args: Any, **how: Any) -> Any:
            made = self._death.call(name, lambda: found(*args, **how), writes=name in WRITES)
            return Mortal(made, self._death) if name in INNER else made

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._target, name, value)


class MortalStore:
    """A store that may be the last thing written to. What is reported in the background comes from a life, too, but nothing
    depends on it."""

    def __init__(self, store: Any, death: Death) -> None:
        self._store = store
        self._death = death
        self._thread = threading.current_thread()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def txn(self, compares: Any, operations: Any) -> Any:
        def work() -> Any:
            return self._store.txn(compares, operations)

        if threading.current_thread() is not self._thread:
            return work()
        return self._death.call("txn", work, writes=bool(operations))
