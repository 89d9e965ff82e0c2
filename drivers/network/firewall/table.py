"""The one table of ours: read whole, kept as long as nobody changed anything, and changed in one transaction a call.

A transaction names the generation it was made for; the kernel refuses it when another writer came between, and then it is
made anew. So what is kept stays true without reading it again. Where the kernel can (6.9 and later) the table belongs to our
socket: `nft flush ruleset` and the reload of another firewall leave it alone. A keeper has that socket too, so that this is so
while there is no engine; the next one goes on with it. When both are gone the table stays, and is the next engine's.

On older kernels, and on all while nobody holds the table, others can remove it, and until it is mended whoever has a route
reaches all ports of containers. Nothing outside nftables guards that gap: settings of links ask by which link a packet came,
not whether its port is published, and a rule of routing could ask only for a mark that the table would have to set on
every packet of every connection, out of the few bits that VPNs and cluster networks use too, and would end them all.
"""

import errno
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from drivers.network.firewall import docker, elements, layout, messages
from drivers.network.firewall.bridges import Bridges
from drivers.network.firewall.elements import NEIGHBOUR_SETS, NETWORK_SETS, owner
from drivers.network.firewall.messages import OWNER, PERSIST, Key, Value
from drivers.network.firewall.nfnetlink import Changed, Nfnetlink, Refused
from drivers.network.names.interface import Keeper
from drivers.network.netlink.messages import Reply, Request
from resources.errors import Conflict, EngineError, PermissionDenied, Unavailable, Unsupported

_ATTEMPTS = 20
_SIZES = {one.name: (one.key_size, one.data_size) for one in layout.SETS}
_KINDS = {messages.NEW_TABLE: "table", messages.NEW_CHAIN: "chain", messages.NEW_RULE: "rule", messages.NEW_SET: "set"}


class State:
    """What is there."""

    def __init__(
        self, generation: int, flags: int | None, whole: bool, beside: tuple[docker.Accepts, ...], *, held: bool = False
    ) -> None:
        self.generation = generation
        self.held = held
        """By another socket; that this one is closed is not seen in the generation."""
        self.flags = flags
        """Those of the table; None when there is none."""
        self.shared = whole
        """Whether sets, chains and rules are as they shall be."""
        self.beside = beside
        self.neighbours: frozenset[Key] = frozenset()
        """What our sets are to say of the links beside ours."""
        self.elements: dict[Key, Value] = {}
        self._owned: defaultdict[tuple[bool, str], dict[Key, Value]] = defaultdict(dict)
        self._alike: Counter[Key] = Counter()

    @property
    def whole(self) -> bool:
        return self.shared and all(one.whole for one in self.beside) and not (self.beside and self.misplaced)

    @property
    def misplaced(self) -> frozenset[Key]:
        """What is missing of `neighbours`, and what is none of them any more."""
        return self.neighbours ^ {key for key in self.port_owner("") if key.set in NEIGHBOUR_SETS}

    def network(self, network_id: str) -> dict[Key, Value]:
        return self._owned.get((True, network_id), {})

    def port_owner(self, owner: str) -> dict[Key, Value]:
        return self._owned.get((False, owner), {})

    def networks(self) -> list[str]:
        return self._owners(True)

    def port_owners(self) -> list[str]:
        return self._owners(False)

    def alike(self, proxied: Key) -> int:
        """How many ports this element may stand for."""
        return self._alike[proxied]

    def put(self, key: Key, value: Value) -> None:
        if key.set == "ports" and key not in self.elements:
            self._alike[elements.proxied_like(key)] += 1
        self.elements[key] = value
        self._owned[_place(key, value)][key] = value

    def drop(self, key: Key) -> None:
        if key.set == "ports":
            self._alike[elements.proxied_like(key)] -= 1
        place = _place(key, self.elements.pop(key))
        del self._owned[place][key]
        if not self._owned[place]:
            del self._owned[place]

    def _owners(self, network: bool) -> list[str]:
        return sorted(name for kind, name in self._owned if kind == network and name)


def _place(key: Key, value: Value) -> tuple[bool, str]:
    return key.set in NETWORK_SETS, owner(value)


@dataclass(frozen=True, slots=True)
class Change:
    removed: frozenset[Key]
    added: dict[Key, Value]


def replacing(before: dict[Key, Value], after: dict[Key, Value]) -> Change:
    return Change(
        frozenset(key for key, value in before.items() if after.get(key) != value),
        {key: value for key, value in after.items() if before.get(key) != value},
    )


class Table:
    def __init__(self, name: str, link_prefix: str, *, owned: bool, keeper: Keeper | None = None) -> None:
        self.name = name
        self.lock = threading.RLock()
        self._prefix = link_prefix
        self._chains = layout.chains(link_prefix)
        self._flags = OWNER | PERSIST if owned else 0
        self._keeper = keeper
        self._sockets: tuple[Nfnetlink, Bridges] | None = None
        self._state: State | None = None

    @property
    def link(self) -> Nfnetlink:
        """Opened by the first thread that asks, in its network namespace. Hold the lock."""
        return self._opened()[0]

    def _opened(self) -> tuple[Nfnetlink, Bridges]:
        if self._sockets is None:
            self._sockets = self._kept() or Nfnetlink(), Bridges()
        return self._sockets

    def _kept(self) -> Nfnetlink | None:
        """That of the engine before this one, whose the table is still."""
        fd = None
        if self._keeper and self._flags:
            with suppress(EngineError):
                fd = self._keeper.kept()
        return None if fd is None else Nfnetlink.adopted(fd)

    def _keep(self, *, start: bool) -> None:
        """Whoever keeps it is told again and again, since it may have come anew. Without it the table is open to others while
        there is no engine, which is no reason to do without the table."""
        if self._keeper and self._flags:
            with suppress(EngineError):
                self._keeper.keep(self.link.fileno(), start=start)

    def close(self) -> None:
        with self.lock:
            for one in self._sockets or ():
                one.close()
            self._sockets = self._state = None

    def read(self) -> State:
        with self.lock:
            for _ in range(_ATTEMPTS):
                generation = self.link.generation()
                if self._state is None or self._state.generation != generation or self._state.held:
                    self._state = self._look(generation)
                if self._state is not None and not self._claimable(self._state):
                    self._state.neighbours = self._neighbours(self._state)
                    return self._state
                self._claim()
        raise self._restless()

    def _neighbours(self, state: State) -> frozenset[Key]:
        if not state.beside:
            return frozenset()
        _, bridges = self._opened()
        others = (name for name in bridges.names() if not name.startswith(self._prefix.encode()))
        return elements.of_neighbours(name for name in others if not docker.has_bridge(state.beside, name))

    def change(self, plan: Callable[[State], Change]) -> Change:
        """Do what the plan says of the state there is, and mend all that is not whole, at once."""
        with self.lock:
            for _ in range(_ATTEMPTS):
                state = self.read()
                wanted = plan(state)
                requests = list(self._requests(state, wanted))
                if not requests:
                    return wanted
                try:
                    self.link.commit(state.generation, requests)
                except Changed:
                    continue
                except Refused as refused:
                    self._state = None
                    if self._flags and _is_table(requests[refused.number], refused):
                        self._flags = 0  # an older kernel: a table belongs to nobody
                        continue
                    raise self._failure(requests[refused.number], refused.error) from refused
                self._state = self._after(state, wanted)
                if _used(state, wanted):
                    self._keep(start=True)
                return wanted
        raise self._restless()

    def _requests(self, state: State, wanted: Change) -> Iterator[Request]:
        if not _used(state, wanted):
            if state.flags is not None:
                yield messages.delete_table(self.name)
            for one in state.beside:
                yield from docker.removal(one)
            return
        wanted = _with_neighbours(state, wanted)
        if state.shared:
            yield from messages.change(self.name, wanted.removed, wanted.added)
        else:
            yield from self._anew(state, wanted)
        for one in state.beside:
            if not one.whole:
                yield from docker.mending(one, self._prefix, self.name)

    def _anew(self, state: State, wanted: Change) -> Iterator[Request]:
        """Elements that are in order are taken over: connections and the rest of the networks notice nothing."""
        if state.flags is not None:
            yield messages.delete_table(self.name)
        yield from messages.everything(self.name, self._flags, self._chains)
        kept = {key: value for key, value in state.elements.items() if key not in wanted.removed and _fits(key, value)}
        yield from messages.change(self.name, (), {**kept, **wanted.added})

    def _after(self, state: State, wanted: Change) -> State | None:
        """What is there now, when it is known without looking."""
        if not state.whole or state.misplaced or not _used(state, wanted):
            return None
        for key in wanted.removed:
            state.drop(key)
        for key, value in wanted.added.items():
            state.put(key, value)
        state.generation = state.generation % 0xFFFFFFFF + 1
        return state

    def _look(self, generation: int) -> State | None:
        """None: it changed meanwhile."""
        try:
            state = self._dumped(generation)
        except EngineError:
            # What was just listed may be gone.
            if self.link.generation() != generation:
                return None
            raise
        return state if self.link.generation() == generation else None

    def _dumped(self, generation: int) -> State:
        beside = docker.accepts(self.link, self._prefix, self.name)
        found = messages.flags_of(self._dump(messages.tables()), self.name)
        if found is None:
            return State(generation, None, False, beside)
        flags, holder = found
        sets = self._dump(messages.sets(self.name))
        whole = (
            messages.whole_sets(sets, self.name)
            and messages.whole_chains(self._dump(messages.chains()), self.name, self._chains)
            and messages.whole_rules(self._dump(messages.rules(self.name)), self.name, self._chains)
            and flags & self._flags & PERSIST == self._flags & PERSIST
        )
        state = State(generation, flags, whole, beside, held=holder not in (0, self.link.number))
        for name in messages.names_of(sets, self.name) & _SIZES.keys():
            for key, value in messages.elements_in(self._dump(messages.elements(self.name, name)), name):
                state.put(key, value)
        return state

    def _dump(self, request: Request) -> list[Reply]:
        return self.link.dump(f"cannot read the firewall table {self.name}", request)

    def _claimable(self, state: State) -> bool:
        return bool(self._flags and state.flags is not None and state.flags & (OWNER | PERSIST) == PERSIST)

    def _claim(self) -> None:
        """Make the table of an engine that is gone ours."""
        state, self._state = self._state, None
        if state is None:
            return
        try:
            self.link.commit(state.generation, [messages.new_table(self.name, self._flags)])
            self._keep(start=False)
        except Changed:
            return
        except Refused as refused:
            raise self._failure(messages.new_table(self.name, 0), refused.error) from refused

    def _failure(self, request: Request, error: int) -> EngineError:
        kind = request.kind & 0xFF
        if error == errno.EPERM:
            return PermissionDenied(
                f"the firewall table `inet {self.name}` cannot be changed: it is held by another process, or this one "
                "lacks CAP_NET_ADMIN"
            )
        if kind in _KINDS:
            return Unsupported(
                f"this kernel does not take a {_KINDS[kind]} of the firewall (error {error})",
                hint="it needs nftables with maps, NAT, fib and conntrack: nft_fib_inet, nft_nat, nft_masq, nft_ct",
            )
        if error in (errno.EEXIST, errno.EBUSY, errno.ENOTEMPTY):
            return Conflict("a subnet of this network overlaps that of another network in the firewall")
        return Unavailable(f"the kernel refused a change of the firewall table `inet {self.name}` (error {error})")

    def _restless(self) -> Unavailable:
        return Unavailable("the firewall changes all the time: another program writes rules without end")


def _used(state: State, wanted: Change) -> bool:
    """Whether anything is left that belongs to anybody."""
    return bool(wanted.added) or any(owner(value) for key, value in state.elements.items() if key not in wanted.removed)


def _with_neighbours(state: State, wanted: Change) -> Change:
    gone = state.misplaced - state.neighbours
    missing = {key: Value("") for key in state.misplaced & state.neighbours}
    return Change(wanted.removed | gone, {**wanted.added, **missing})


def _is_table(request: Request, refused: Refused) -> bool:
    return request.kind & 0xFF == messages.NEW_TABLE and refused.error in (errno.EOPNOTSUPP, errno.EINVAL)


def _fits(key: Key, value: Value) -> bool:
    return (len(key.value), len(value.data)) == _SIZES[key.set]


def removing(keys: Iterable[Key]) -> Change:
    return Change(frozenset(keys), {})
