"""PURE: whether containers can have the ports of the host that they ask for."""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address

from controller.admission.addresses import said_pools
from controller.admission.host import Host, HostAddresses
from controller.admission.places import place
from controller.store.snapshot import Snapshot
from manifests.interface import Located
from manifests.problems import Problem
from resources.container_parts import Port
from resources.kinds import Kind
from resources.meta import Ref
from resources.network import NetworkSpec
from resources.object import Object
from resources.ports import canonical, overlap

_SHOWN = 8
_UNASKED = ", which has it without asking for it: take another"


def port_problems(
    located: Mapping[Ref, Located], containers: Sequence[Object], before: Snapshot, after: Snapshot, host: Host
) -> Iterator[Problem]:
    """Of containers in the order in which they get what only one can have."""
    yield from _apart(located, containers, host)
    for item in containers:
        manifest = located.get(item.ref)
        if manifest is None or not item.effective.ports:
            continue
        yield from _unreached(item, manifest, after)
        old = before.get(item.key)
        # What is published already is ours, whoever listens behind it, and wherever its address has gone since.
        known = set(old.effective.ports) if old is not None else set()
        new = [(number, port) for number, port in enumerate(item.effective.ports) if port not in known]
        yield from _in_use(new, manifest, host)
        yield from _elsewhere(new, manifest, after, host)


def _apart(located: Mapping[Ref, Located], containers: Sequence[Object], host: Host) -> Iterator[Problem]:
    """One port of the host is one container's, unless each has an address of its own."""
    held: dict[tuple[str, int], list[tuple[Object, str, Port]]] = {}
    if any(port.host is not None for item in containers if item.ref in located for port in item.effective.ports):
        for item, port in _given(containers, host):
            held.setdefault((port.protocol, port.host or 0), []).append((item, "", port))
    for item in containers:
        for number, port in enumerate(item.effective.ports):
            if port.host is None:
                continue
            path = f"spec.ports[{number}]"
            others = held.setdefault((port.protocol, port.host), [])
            met = (found for found in others if overlap(port.address, found[2].address))
            # What it was given itself it gives back.
            other = next((found for found in met if found[1] or found[0].key != item.key), None)
            others.append((item, path, port))
            if other is None or item.ref not in located:
                continue
            where = place(other[0], other[1], located) if other[1] else _UNASKED
            holder = other[0].ref.seen_from(item.metadata.namespace)
            message = f"the host's port {port.host}/{port.protocol} belongs to {holder} already{where}"
            yield Problem(located[item.ref].where(path), path, message)


def _given(containers: Sequence[Object], host: Host) -> Iterator[tuple[Object, Port]]:
    """Ports that containers have without asking for them, and keep."""
    for item in containers:
        if any(port.host is None for port in item.effective.ports):
            for port, number in zip(item.effective.ports, host.published(item), strict=False):
                if port.host is None:
                    yield item, port.model_copy(update={"host": number})


def _unreached(item: Object, manifest: Located, after: Snapshot) -> Iterator[Problem]:
    """Ports that would lead nowhere."""
    refs = [
        Ref(kind=Kind.NETWORK, namespace=item.metadata.namespace, name=attachment.name or "")
        for attachment in item.effective.networks
    ]
    if not refs:
        yield Problem(manifest.where("spec.ports"), "spec.ports", "on no network nothing is reached from outside")
    networks = [network.effective for ref in refs if (network := after.find(ref)) is not None]
    if not networks or len(networks) < len(refs):
        return
    outward = [network for network in networks if not network.internal]
    if not outward:
        message = "all its networks are internal: nothing on them is reached from outside"
        yield Problem(manifest.where("spec.ports"), "spec.ports", message)
    elif not any(map(_has_ipv4, outward)):
        for number, port in enumerate(item.effective.ports):
            if port.address is not None and ":" not in canonical(port.address):
                path = f"spec.ports[{number}].address"
                message = f"{port.address} is of IPv4, and the container's networks have IPv6 alone: say one of IPv6"
                yield Problem(manifest.where(path), path, message)


def _has_ipv4(network: NetworkSpec) -> bool:
    """One that says no subnets gets one of IPv4."""
    return not network.subnets or any(":" not in one.subnet for one in network.subnets)


def _in_use(new: Sequence[tuple[int, Port]], manifest: Located, host: Host) -> Iterator[Problem]:
    for number, port in new:
        found = None if port.host is None else host.taken(port)
        if found is not None:
            path = f"spec.ports[{number}]"
            what = f"{found.what} listens on it" if found.what else "something listens on it"
            at = found.address or "every address"
            message = f"the host's port {port.host}/{port.protocol} is in use: {what} at {at}"
            yield Problem(manifest.where(path), path, message)


def _elsewhere(new: Sequence[tuple[int, Port]], manifest: Located, after: Snapshot, host: Host) -> Iterator[Problem]:
    """Ports at addresses that are none of this host's."""
    asked = {number: canonical(port.address) for number, port in new if port.address is not None}
    beyond = {number: address for number, address in asked.items() if not _always_there(address)}
    there = host.addresses() if beyond else None
    if there is None:
        return
    own = {*there.own, *_gateways(after)}
    for number, address in beyond.items():
        if address not in own and ip_address(address).version not in there.others:
            path = f"spec.ports[{number}].address"
            message = f"cannot assign requested address: {address} is none of this host's, which are {_shown(there)}"
            yield Problem(manifest.where(path), path, message)


def _always_there(address: str) -> bool:
    parsed = ip_address(address)
    return parsed.is_unspecified or parsed.is_loopback


def _gateways(after: Snapshot) -> Iterator[str]:
    """Addresses the host has, or will have, in networks."""
    for network in after.list(Kind.NETWORK):
        if not network.deleting:
            yield from (pool.gateway for pool in said_pools(network))


def _shown(there: HostAddresses) -> str:
    """Those that others may know it by come first."""
    known = [one for one in there.own if not (ip_address(one).is_loopback or ip_address(one).is_link_local)]
    rest = ["…"] if len(known) > _SHOWN else []
    return ", ".join([*known[:_SHOWN], *rest, "127.0.0.1 and ::1"])
