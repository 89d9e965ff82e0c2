"""The resolver process in memory. `lose`, `die`, `reboot` and `occupy` are what others do."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from drivers.network.names.interface import Forward, SandboxNames
from drivers.network.names.records import checked_forwards, checked_names, checked_owner, checked_sandbox
from drivers.network.ports.interface import Transport
from resources.errors import Conflict

_Place = tuple[Transport, str, int]


@dataclass(slots=True)
class FakeResolver:
    """The one process that FakeNames and FakeProxies speak to."""

    alive: bool = False
    names: dict[str, SandboxNames] = field(default_factory=dict)
    """Its snapshot: what it serves while it is alive."""
    forwards: dict[str, tuple[Forward, ...]] = field(default_factory=dict)
    strangers: set[_Place] = field(default_factory=set)
    """Ports that processes of others have."""

    def live(self) -> None:
        """One that was dead gets back what nobody took meanwhile."""
        if not self.alive:
            self.alive = True
            taken = [Forward(*place) for place in self.strangers]
            for owner, forwards in list(self.forwards.items()):
                kept = tuple(one for one in forwards if not any(_meet(one, other) for other in taken))
                self.forwards[owner] = kept
                if not kept:
                    del self.forwards[owner]

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
        self.resolver.live()
        self.resolver.names[sandbox.sandbox_id] = sandbox

    def get(self, sandbox_id: str) -> SandboxNames | None:
        checked_sandbox(sandbox_id)
        return self.resolver.names.get(sandbox_id) if self.resolver.alive else None

    def remove(self, sandbox_id: str) -> None:
        checked_sandbox(sandbox_id)
        self.calls.append(("remove", sandbox_id))
        if sandbox_id in self.resolver.names:
            self.resolver.live()
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

    def set(self, owner: str, forwards: Sequence[Forward]) -> None:
        wanted = checked_forwards(owner, forwards)
        self.calls.append(("set", owner))
        if wanted or owner in self.resolver.forwards:
            self.resolver.live()
        others = [(one, by) for by, all_of in self.resolver.forwards.items() if by != owner for one in all_of]
        strangers = [(Forward(*place), "") for place in self.resolver.strangers]
        beside: defaultdict[tuple[str, int], list[tuple[Forward, str]]] = defaultdict(list)
        for one, by in (*others, *strangers):
            beside[one.protocol, one.port].append((one, by))
        for forward in wanted:
            for one, by in beside[forward.protocol, forward.port]:
                if _meet(one, forward) and not (by == owner and _is_beside(one, forward)):
                    raise Conflict(
                        f"port {forward.port}/{forward.protocol} at {forward.address} is taken: "
                        + (f"object {by} has it" if by not in ("", owner) else "a process on the host has it")
                    )
            beside[forward.protocol, forward.port].append((forward, owner))
        if wanted:
            self.resolver.forwards[owner] = wanted
        else:
            self.resolver.forwards.pop(owner, None)

    def get(self, owner: str) -> tuple[Forward, ...]:
        checked_owner(owner)
        return self.resolver.forwards.get(owner, ()) if self.resolver.alive else ()

    def list(self) -> Sequence[str]:
        return sorted(self.resolver.forwards) if self.resolver.alive else []

    def occupy(self, protocol: Transport, address: str, port: int) -> None:
        """A process of somebody else's listens there."""
        self.resolver.strangers.add((protocol, address, port))

    def vacate(self) -> None:
        """All of them end."""
        self.resolver.strangers.clear()

    def lose(self, owner: str) -> None:
        self.resolver.forwards.pop(owner, None)

    def die(self) -> None:
        self.resolver.alive = False

    def reboot(self) -> None:
        self.resolver.forget()
        self.resolver.strangers.clear()


def _meet(one: Forward, other: Forward) -> bool:
    if (one.protocol, one.port) != (other.protocol, other.port) or (":" in one.address) != (":" in other.address):
        return False
    return one.address == other.address or not {one.address, other.address}.isdisjoint(("0.0.0.0", "::"))


def _is_beside(one: Forward, other: Forward) -> bool:
    """Whether they are the hold of all addresses and what is proxied at one of them."""
    held, proxied = sorted((one, other), key=lambda forward: bool(forward.target))
    return held.address == "::" != proxied.address and not held.target and bool(proxied.target)
