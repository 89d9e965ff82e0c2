"""The resolver process in memory. `lose`, `die`, `reboot` and `occupy` are what others do."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from drivers.network.interface import Transport
from drivers.network.names.interface import Forward, SandboxNames
from drivers.network.names.records import checked_forwards, checked_names, checked_owner, checked_sandbox
from resources.errors import Conflict

_Place = tuple[Transport, str, int]


@dataclass(slots=True)
class FakeResolver:
    """The one process that FakeNames and FakeProxies speak to."""

    alive: bool = False
    names: dict[str, SandboxNames] = field(default_factory=dict)
    """Its snapshot: what it serves while it is alive."""
    forwards: dict[str, tuple[Forward, ...]] = field(default_factory=dict)

    def forget(self) -> None:
        self.alive = False
        self.names.clear()
        self.forwards.clear()


class FakeNames:
    def __init__(self, resolver: FakeResolver | None = None) -> None:
        self.calls: list[tuple[str, str]] = []
        """Every writing call and its sandbox, in order."""
        self.resolver = resolver or FakeResolver()

    def set(self, sandbox: SandboxNames) -> None:
        checked_names(sandbox)
        self.calls.append(("set", sandbox.sandbox_id))
        self.resolver.alive = True
        self.resolver.names[sandbox.sandbox_id] = sandbox

    def get(self, sandbox_id: str) -> SandboxNames | None:
        checked_sandbox(sandbox_id)
        return self.resolver.names.get(sandbox_id) if self.resolver.alive else None

    def remove(self, sandbox_id: str) -> None:
        checked_sandbox(sandbox_id)
        self.calls.append(("remove", sandbox_id))
        if sandbox_id in self.resolver.names:
            self.resolver.alive = True
            del self.resolver.names[sandbox_id]

    def list(self) -> Sequence[str]:
        return sorted(self.resolver.names) if self.resolver.alive else []

    def stop(self) -> None:
        self.calls.append(("stop", ""))
        self.resolver.forget()

    def lose(self, sandbox_id: str) -> None:
        """The process serves that sandbox no more."""
        self.resolver.names.pop(sandbox_id, None)

    def die(self) -> None:
        """The process is killed; whatever starts it again finds its snapshot."""
        self.resolver.alive = False

    def reboot(self) -> None:
        self.resolver.forget()


class FakeProxies:
    """`FakeProxies(names.resolver)` are those of the same process."""

    def __init__(self, resolver: FakeResolver | None = None) -> None:
        self.calls: list[tuple[str, str]] = []
        """Every writing call and its owner, in order."""
        self.resolver = resolver or FakeResolver()
        self._strangers: set[_Place] = set()

    def set(self, owner: str, forwards: Sequence[Forward]) -> None:
        wanted = checked_forwards(owner, forwards)
        self.calls.append(("set", owner))
        others = {_place(f): by for by, all_of in self.resolver.forwards.items() if by != owner for f in all_of}
        seen: dict[_Place, str] = {}
        for forward in wanted:
            for place, by in (*others.items(), *seen.items(), *((place, "") for place in self._strangers)):
                if _meet(place, _place(forward)):
                    raise Conflict(
                        f"port {forward.port}/{forward.protocol} at {forward.address} is taken"
                        + (f": object {by} has it" if by else ": a process on the host listens there")
                    )
            seen[_place(forward)] = owner
        if wanted:
            self.resolver.alive = True
            self.resolver.forwards[owner] = wanted
        elif owner in self.resolver.forwards:
            self.resolver.alive = True
            del self.resolver.forwards[owner]

    def get(self, owner: str) -> tuple[Forward, ...]:
        checked_owner(owner)
        return self.resolver.forwards.get(owner, ()) if self.resolver.alive else ()

    def list(self) -> Sequence[str]:
        return sorted(self.resolver.forwards) if self.resolver.alive else []

    def occupy(self, protocol: Transport, address: str, port: int) -> None:
        """A process of somebody else's listens there."""
        self._strangers.add((protocol, address, port))

    def lose(self, owner: str) -> None:
        self.resolver.forwards.pop(owner, None)

    def die(self) -> None:
        self.resolver.alive = False

    def reboot(self) -> None:
        self.resolver.forget()
        self._strangers.clear()


def _place(forward: Forward) -> _Place:
    return forward.protocol, forward.address, forward.port


def _meet(one: _Place, other: _Place) -> bool:
    if (one[0], one[2]) != (other[0], other[2]):
        return False
    everywhere = {"::": ":", "0.0.0.0": "."}
    return one[1] == other[1] or any(
        everywhere.get(a) is not None and everywhere[a] in b for a, b in ((one[1], other[1]), (other[1], one[1]))
    )
