"""PURE: whether the networks, addresses and ports of objects that are to be stored fit together, and fit the host."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import combinations

from controller.store.snapshot import Snapshot
from manifests.interface import Located
from manifests.problems import Position, Problem
from resources.container_parts import NetworkAttachment, Port
from resources.kinds import Kind
from resources.meta import Ref
from resources.network import Subnet
from resources.object import Object
from resources.ports import overlap

FAMILIES = ("ipv4", "ipv6")


@dataclass(frozen=True, slots=True)
class TakenPort:
    """A port of the host that some process listens on."""

    protocol: str
    address: str
    """"" for all of IPv4 and IPv6."""
    port: int
    what: str
    """Who: `nginx (pid 812)`."""


Taken = Callable[[Port], TakenPort | None]
"""What no container of ours listens on there already."""


def network_problems(
    located: Mapping[Ref, Located], before: Snapshot, after: Snapshot, taken: Taken
) -> Iterator[Problem]:
    """`located`: the manifests of this apply; `before` and `after`: all objects as they are and as they would be."""
    yield from _subnets(located, after)
    containers = [item for item in after.list(Kind.CONTAINER) if not item.deleting]
    yield from _addresses(located, containers, after)
    yield from _ports(located, containers)
    for item in containers:
        if item.ref in located:
            yield from _publishing(item, located[item.ref], after)
            yield from _listening(item, located[item.ref], before, taken)


def _subnets(located: Mapping[Ref, Located], after: Snapshot) -> Iterator[Problem]:
    """Two networks of one host cannot have the same addresses, whatever their namespaces."""
    found = [
        (item, number, ip_network(subnet.subnet))
        for item in after.list(Kind.NETWORK)
        if not item.deleting
        for number, subnet in enumerate(item.effective.subnets)
    ]
    for (one, first, its), (other, second, others) in combinations(found, 2):
        if not _overlapping(its, others):
            continue
        # The later one is told, and the earlier one where only that is applied now.
        item, number, rest = (other, second, (one, its)) if other.ref in located else (one, first, (other, others))
        if item.ref in located:
            path = f"spec.subnets[{number}]"
            where = _place(rest[0], f"spec.subnets[{first if rest[0] is one else second}]", located)
            yield Problem(located[item.ref].where(path), path, f"overlaps {rest[1]} of {rest[0].ref}{where}")


def _overlapping(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _addresses(located: Mapping[Ref, Located], containers: Sequence[Object], after: Snapshot) -> Iterator[Problem]:
    """Fixed addresses lie in subnets the network's manifest says, and each is one container's."""
    holders: dict[tuple[Ref, str], tuple[Object, str]] = {}
    for item in sorted(containers, key=lambda one: one.ref in located):  # those that are there already come first
        for number, attachment in enumerate(item.effective.networks):
            ref = Ref(kind=Kind.NETWORK, namespace=item.metadata.namespace, name=attachment.name or "")
            network = after.find(ref)
            if network is None:
                continue  # which is told as a reference that leads nowhere
            for family, address in _fixed(attachment):
                path = f"spec.networks[{number}].{family}"
                flaw = _address_flaw(address, ref, network.effective.subnets, holders.get((ref, address)), located)
                holders.setdefault((ref, address), (item, path))
                if flaw and item.ref in located:
                    yield Problem(located[item.ref].where(path), path, flaw)


def address_flaws(item: Object, network: str, subnets: Sequence[Subnet], others: Iterable[Object]) -> Iterator[str]:
    """Of the addresses a container fixes on one of its networks. `item` is the container as it would be, `others` those of
    its namespace."""
    ref = Ref(kind=Kind.NETWORK, namespace=item.metadata.namespace, name=network)
    holders = {
        address: (other, "")
        for other in others
        if other.key != item.key and not other.deleting
        for _, address in _fixed_on(other, network)
    }
    for _, address in _fixed_on(item, network):
        flaw = _address_flaw(address, ref, subnets, holders.get(address), {})
        if flaw:
            yield flaw


def _fixed_on(item: Object, network: str) -> Iterator[tuple[str, str]]:
    for attachment in item.effective.networks:
        if attachment.name == network:
            yield from _fixed(attachment)


def _fixed(attachment: NetworkAttachment) -> Iterator[tuple[str, str]]:
    for family in FAMILIES:
        address = getattr(attachment, family)
        if address is not None:
            yield family, str(ip_address(address))


def _address_flaw(
    address: str,
    ref: Ref,
    subnets: Sequence[Subnet],
    holder: tuple[Object, str] | None,
    located: Mapping[Ref, Located],
) -> str:
    if not subnets:
        return f"{ref} gets a subnet of the engine's choice: say its subnets for an address to be one of them"
    own = next((subnet for subnet in subnets if ip_address(address) in ip_network(subnet.subnet)), None)
    if own is None:
        return f"{address} is in no subnet of {ref}: {', '.join(subnet.subnet for subnet in subnets)}"
    if own.gateway is not None and ip_address(own.gateway) == ip_address(address):
        return f"{address} is the gateway of {ref}"
    if holder is not None:
        return f"{address} is {holder[0].ref}'s{_place(*holder, located)}"
    return ""


def _ports(located: Mapping[Ref, Located], containers: Sequence[Object]) -> Iterator[Problem]:
    """One port of the host is one container's, unless each has an address of its own."""
    held: dict[tuple[str, int], list[tuple[Object, str, Port]]] = {}
    for item in sorted(containers, key=lambda one: one.ref in located):
        for number, port in enumerate(item.effective.ports):
            if port.host is None:
                continue
            path = f"spec.ports[{number}]"
            others = held.setdefault((port.protocol, port.host), [])
            other = next((found for found in others if overlap(port.address, found[2].address)), None)
            others.append((item, path, port))
            if other is None or item.ref not in located:
                continue
            where = _place(other[0], other[1], located)
            message = f"the host's port {port.host}/{port.protocol} is {other[0].ref}'s already{where}"
            yield Problem(located[item.ref].where(path), path, message)


def _publishing(item: Object, manifest: Located, after: Snapshot) -> Iterator[Problem]:
    if not item.effective.ports:
        return
    refs = [
        Ref(kind=Kind.NETWORK, namespace=item.metadata.namespace, name=attachment.name or "")
        for attachment in item.effective.networks
    ]
    networks = [network for ref in refs if (network := after.find(ref)) is not None]
    if not refs:
        yield Problem(manifest.where("spec.ports"), "spec.ports", "on no network nothing is reached from outside")
    elif len(networks) == len(refs) and all(network.effective.internal for network in networks):
        message = "all its networks are internal: nothing on them is reached from outside"
        yield Problem(manifest.where("spec.ports"), "spec.ports", message)


def _listening(item: Object, manifest: Located, before: Snapshot, taken: Taken) -> Iterator[Problem]:
    """Ports that are new: one that is published already is ours, whoever listens behind it."""
    old = before.get(item.key)
    known = set(old.effective.ports) if old is not None else set()
    for number, port in enumerate(item.effective.ports):
        found = None if port.host is None or port in known else taken(port)
        if found is not None:
            path = f"spec.ports[{number}]"
            what = f"{found.what} listens on it" if found.what else "something listens on it"
            message = (
                f"the host's port {port.host}/{port.protocol} is in use: {what} at {found.address or 'every address'}"
            )
            yield Problem(manifest.where(path), path, message)


def _place(item: Object, path: str, located: Mapping[Ref, Located]) -> str:
    """Where the other one stands, if this apply says it."""
    manifest = located.get(item.ref)
    position: Position | None = None if manifest is None else manifest.where(path)
    return "" if position is None else f" ({position})"
