"""Networks and published ports in nftables."""

import ipaddress
import re
from collections import Counter
from collections.abc import Sequence, Set

from drivers.network.firewall import conntrack, elements
from drivers.network.firewall.conntrack import TCP, UDP, Flow
from drivers.network.firewall.elements import Translation
from drivers.network.firewall.foreign import obstacles
from drivers.network.firewall.interface import NetworkRules
from drivers.network.firewall.messages import Key, Value
from drivers.network.firewall.table import Change, State, Table, removing, replacing
from drivers.network.names.interface import Keeper
from drivers.network.ports.interface import PublishedPort
from resources.errors import Conflict, InvalidArgument

_INSTANCE = re.compile(r"[a-z0-9-]{1,40}")
_PREFIX = re.compile(r"[a-z][a-z0-9-]{0,13}")


class NftFirewall:
    """`link_prefix` begins the names of all bridges. It works in the network namespace of the thread that uses it first.

    `owned` False leaves the table open to every other program, as an older kernel does. With a keeper it is the engine's also
    while there is none.
    """

    def __init__(self, instance: str, link_prefix: str, *, owned: bool = True, keeper: Keeper | None = None) -> None:
        if not _INSTANCE.fullmatch(instance) or not _PREFIX.fullmatch(link_prefix):
            raise InvalidArgument(f"{instance[:80]!a} and {link_prefix[:80]!a} cannot name a table and links")
        self._prefix = link_prefix
        self._table = Table(instance, link_prefix, owned=owned, keeper=keeper)

    def close(self) -> None:
        """The table stays."""
        self._table.close()

    def set_network(self, rules: NetworkRules) -> None:
        wanted = elements.of_network(rules)
        if not rules.bridge.startswith(self._prefix):
            raise InvalidArgument(f"the name of the link {rules.bridge} does not begin with {self._prefix}")
        self._table.change(lambda state: _taking(state, state.network(rules.id), wanted))

    def network(self, network_id: str) -> NetworkRules | None:
        elements.checked_id(network_id)
        with self._table.lock:
            state = self._table.read()
            return elements.network_in(state.network(network_id)) if state.whole else None

    def remove_network(self, network_id: str) -> None:
        elements.checked_id(network_id)
        self._table.change(lambda state: removing(state.network(network_id)))

    def networks(self) -> Sequence[str]:
        with self._table.lock:
            return self._table.read().networks()

    def forget_flows(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError as error:
                raise InvalidArgument(f"{address[:80]!a} is not an IP address") from error
        if not addresses:
            return
        with self._table.lock:
            conntrack.forget_of(self._table.link, addresses)

    def set_ports(self, owner: str, ports: Sequence[PublishedPort], formerly: Sequence[PublishedPort] = ()) -> None:
        wanted = elements.of_ports(owner, ports)
        begun = frozenset(elements.translations(elements.of_ports(owner, formerly)))
        before: dict[Key, Value] = {}

        def plan(state: State) -> Change:
            before.clear()
            before.update(state.port_owner(owner))
            return _with_proxied(state, _taking(state, before, wanted), ports)

        with self._table.lock:
            self._table.change(plan)
            self._end_flows(before, wanted, begun)

    def ports(self, owner: str) -> tuple[PublishedPort, ...]:
        elements.checked_id(owner)
        with self._table.lock:
            state = self._table.read()
            if not state.whole:
                return ()
            found = elements.ports_in(state.port_owner(owner))
            return tuple(port for port in found if (key := elements.proxied(port)) is None or key in state.elements)

    def port_owners(self) -> Sequence[str]:
        with self._table.lock:
            return self._table.read().port_owners()

    def is_internal(self, address: str) -> bool:
        wanted = ipaddress.ip_address(address)
        with self._table.lock:
            state = self._table.read()
            found = (state.network(network_id) for network_id in state.networks())
            networks = (elements.network_in(one) for one in found if any(key.set == "internal" for key in one))
            return any(
                wanted in ipaddress.ip_network(subnet) for rules in networks if rules for subnet in rules.subnets
            )

    def obstacles(self) -> Sequence[str]:
        with self._table.lock:
            accepted = {one.family for one in self._table.read().beside if one.whole}
            return obstacles(self._table.link, self._table.name, self._prefix, accepted)

    def _end_flows(self, before: dict[Key, Value], after: dict[Key, Value], begun: Set[Translation]) -> None:
        """Those of ports that are withdrawn. A port that has another target now lets TCP connections go on to the one they
        began with; UDP has no end to wait for. And who sent to a UDP port before it was published is heard from now on."""
        stay, gone = set(elements.translations(after)), set(elements.translations(before))
        made = stay - (gone - begun)
        kept = {_place(one) for one in stay if one.protocol == TCP}
        ended = {one for one in gone | begun if one not in stay and _place(one) not in kept}
        if ended:
            targets = {str(ipaddress.ip_address(one.target)) for one in ended}
            conntrack.forget_of(self._table.link, targets, lambda flow: not ended.isdisjoint(_translations_of(flow)))
        if udp := {one.host for one in made if one.protocol == UDP}:
            conntrack.forget_udp(self._table.link, udp)


def _place(one: Translation) -> tuple[int, int, bytes, int]:
    return one.protocol, one.host, one.at, len(one.target)


def _translations_of(flow: Flow) -> tuple[Translation, ...]:
    """The rules it can have come by."""
    sent, answered = flow.original, flow.reply
    return tuple(
        Translation(sent.protocol, sent.destination_port, answered.source, answered.source_port, at)
        for at in (b"", sent.destination)
    )


def _taking(state: State, before: dict[Key, Value], after: dict[Key, Value]) -> Change:
    """`after` in place of `before`, and of what is nobody's. Raises: Conflict."""
    change = replacing(before, after)
    strangers = {key: state.elements[key] for key in change.added if key in state.elements and key not in before}
    for key, value in strangers.items():
        if holder := elements.owner(value):
            raise Conflict(f"the firewall has this of {holder} already: {elements.described(key)}")
    return Change(change.removed | strangers.keys(), change.added)


def _with_proxied(state: State, change: Change, ports: Sequence[PublishedPort]) -> Change:
    wanted = {key for port in ports if (key := elements.proxied(port))}
    removed = Counter(elements.proxied_like(key) for key in change.removed if key.set == "ports")
    withdrawn = {
        key
        for key, count in removed.items()
        if key in state.elements and key not in wanted and state.alike(key) == count
    }
    missing = {key: Value("") for key in wanted if key not in state.elements}
    return Change(change.removed | withdrawn, {**change.added, **missing})
