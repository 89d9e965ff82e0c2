"""Ports of the host, held in the store: `<protocol>:<port>:<address>` is what a container has."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import NamedTuple, Self

from drivers.network.ipam.interface import Allocations
from drivers.network.ipam.lost_races import LostRaces
from drivers.network.ipam.next_fit import Searches
from drivers.network.ports import listeners as sockets
from drivers.network.ports.interface import Listener, PortRequest, SocketOwner
from resources.errors import Conflict, InvalidArgument, ResourceExhausted
from resources.ports import canonical, overlap

_FREE = range(49152, 65536)
"""What IANA leaves for such use."""
_PORTS = range(1, 65536)
_POOL = "port"


class _HostPort(NamedTuple):
    protocol: str
    number: int
    address: str

    def __str__(self) -> str:
        return f"{self.protocol}:{self.number}:{self.address}"

    @classmethod
    def parse(cls, text: str) -> Self:
        protocol, number, address = text.split(":", 2)
        return cls(protocol, int(number), address)

    def meets(self, other: Self) -> bool:
        return self[:2] == other[:2] and overlap(self.address, other.address)


class _Ports:
    """Ports that somebody has, found by their numbers: of one there may be several, at addresses of their own."""

    def __init__(self, ports: Iterable[_HostPort]) -> None:
        self._found: dict[tuple[str, int], list[_HostPort]] = {}
        for port in ports:
            self.add(port)

    def add(self, port: _HostPort) -> None:
        self._found.setdefault(port[:2], []).append(port)

    def meet(self, port: _HostPort) -> bool:
        return any(port.meets(one) for one in self._found.get(port[:2], ()))


class _Never:
    """The numbers that cannot be had for a request."""

    def __init__(self, request: PortRequest, reserved: Set[int], had: Iterable[_Ports]) -> None:
        self._request = request
        self._reserved = reserved
        self._had = tuple(had)

    def __contains__(self, number: object) -> bool:
        assert isinstance(number, int)
        port = _HostPort(self._request.protocol, number, self._request.address)
        return number in self._reserved or any(ports.meet(port) for ports in self._had)


class StoredHostPorts:
    """`reserved` are ports that are given only to whom asks for them; `describe` says for people who the first
    uid is, to whom the second one is."""

    def __init__(
        self,
        allocations: Allocations,
        listeners: Callable[[], Sequence[Listener]],
        *,
        owner: Callable[[Listener], SocketOwner | None] = sockets.owner,
        reserved: Callable[[], Set[int]] = sockets.reserved_ports,
        describe: Callable[[str, str], str] = lambda uid, _: uid[:12],
        free: range = _FREE,
    ) -> None:
        self._allocations = allocations
        self._listeners = listeners
        self._owner = owner
        self._reserved = reserved
        self._describe = describe
        self._free = free
        self._lock = threading.Lock()
        self._searches = Searches()

    def allocate(self, holder: str, asked: Sequence[PortRequest]) -> tuple[PortRequest, ...]:
        slots, lost = _slots(asked), LostRaces()
        with self._lock:
            while True:
                held = self._freed(holder, slots)
                wanted = self._wanted(holder, held, slots)
                if wanted != held:
                    try:
                        self._allocations.hold(holder, _POOL, wanted)
                    except Conflict as error:
                        lost.add(error)
                        continue
                return _filled(slots, wanted)

    def held(self, holder: str, asked: Sequence[PortRequest]) -> tuple[PortRequest, ...]:
        try:
            slots = _slots(asked)
        except InvalidArgument:
            return ()
        held = self._held(holder)
        return _filled(slots, held) if held.keys() == slots.keys() else ()

    def holds(self, holder: str) -> bool:
        return bool(self._held(holder))

    def release(self, holder: str) -> None:
        with self._lock:
            self._allocations.hold(holder, _POOL, {})

    def listeners(self) -> Sequence[Listener]:
        return self._listeners()

    def owner(self, listener: Listener) -> SocketOwner | None:
        return self._owner(listener)

    def _held(self, holder: str) -> Mapping[str, str]:
        return {slot: value for (pool, slot), value in self._allocations.held(holder).items() if pool == _POOL}

    def _freed(self, holder: str, slots: Mapping[str, PortRequest]) -> Mapping[str, str]:
        """What it still holds: two that change ports with each other each wait for what the other has to give back."""
        held = self._held(holder)
        kept = {slot: value for slot, value in held.items() if slot in slots}
        if kept != held:
            self._allocations.hold(holder, _POOL, kept)
        return kept

    def _wanted(self, holder: str, held: Mapping[str, str], slots: Mapping[str, PortRequest]) -> dict[str, str]:
        wanted = {slot: slot for slot, request in slots.items() if request.host is not None}
        for slot in wanted.keys() - held.keys():
            self._check_free(holder, _HostPort.parse(slot))
        given = _Ports(map(_HostPort.parse, wanted))
        for slot in (slots.keys() & held.keys()) - wanted.keys():
            port = _HostPort.parse(held[slot])
            if not given.meet(port):
                wanted[slot] = held[slot]
                given.add(port)
        missing = [slot for slot in slots if slot not in wanted]
        if missing:
            listening = _Ports(_HostPort(one.protocol, one.port, one.place) for one in self._listeners())
            reserved = self._reserved()
            for slot in missing:
                never = _Never(slots[slot], reserved, (given, listening))
                port = self._free_port(holder, slots[slot], never)
                wanted[slot] = str(port)
                given.add(port)
        return wanted

    def _check_free(self, holder: str, port: _HostPort) -> None:
        for other, uid in self._others(holder, f"{port.protocol}:{port.number}:"):
            if port.meets(other):
                raise Conflict(
                    f"the host's port {port.number}/{port.protocol} belongs to {self._describe(uid, holder)} already, "
                    f"at {other.address or 'every address'}",
                    hint="take another port, or another address of the host",
                )

    def _free_port(self, holder: str, request: PortRequest, never: Container[int]) -> _HostPort:
        protocol, address = request.protocol, request.address

        def taken(port: str = "") -> Set[int]:
            others = (other for other, _ in self._others(holder, f"{protocol}:{port}"))
            return {one.number for one in others if overlap(one.address, address)}

        start = random.choice(self._free)
        for fresh in (False, True):
            search = self._searches.get((protocol, address), self._free, taken, fresh=fresh, start=start)
            while (number := search.take(never)) is not None:
                if not taken(f"{number}:"):
                    return _HostPort(protocol, number, address)
        raise ResourceExhausted(
            f"none of the host's {protocol} ports from {self._free[0]} to {self._free[-1]} is free",
            hint="say which port to take, or publish fewer",
        )

    def _others(self, holder: str, prefix: str) -> Iterator[tuple[_HostPort, str]]:
        for value, who in self._allocations.taken(_POOL, prefix).items():
            if who.uid != holder:
                yield _HostPort.parse(value), who.uid


def _slots(asked: Sequence[PortRequest]) -> dict[str, PortRequest]:
    """What each is held as: a port that is asked for as itself, a free one as what it is for. Raises: InvalidArgument."""
    slots: dict[str, PortRequest] = {}
    purposes: Counter[str] = Counter()
    fixed: dict[tuple[str, int], list[_HostPort]] = {}
    for request in map(_checked, asked):
        if request.host is None:
            purpose = f"free:{request.protocol}:{request.container}:{request.address}"
            slots[f"{purpose}#{purposes[purpose]}"] = request
            purposes[purpose] += 1
            continue
        port = _HostPort(request.protocol, request.host, request.address)
        beside = fixed.setdefault((port.protocol, port.number), [])
        if any(port.meets(other) for other in beside):
            raise InvalidArgument(f"the host's port {port.number}/{port.protocol} is asked for twice")
        beside.append(port)
        slots[str(port)] = request
    return slots


def _filled(slots: Mapping[str, PortRequest], held: Mapping[str, str]) -> tuple[PortRequest, ...]:
    return tuple(replace(request, host=_HostPort.parse(held[slot]).number) for slot, request in slots.items())


def _checked(request: PortRequest) -> PortRequest:
    try:
        address = canonical(request.address)
    except ValueError as error:
        raise InvalidArgument(f"{request.address[:80]!a} is no IP address of the host") from error
    if request.protocol not in ("tcp", "udp"):
        raise InvalidArgument(f"{request.protocol[:80]!a} is no protocol with ports: tcp and udp are")
    for port in (request.container, request.host):
        if port is not None and port not in _PORTS:
            raise InvalidArgument(f"{port} is no port: 1 to 65535 are")
    return replace(request, address=address)
