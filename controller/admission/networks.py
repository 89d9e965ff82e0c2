"""PURE: whether the networks, addresses and ports of objects that are to be stored fit together, and fit the host."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from controller.admission.addresses import attachment_problems
from controller.admission.host import Host
from controller.admission.places import place
from controller.admission.ports import port_problems
from controller.store.snapshot import Snapshot
from manifests.interface import Located
from manifests.problems import Problem
from resources import subnets
from resources.kinds import Kind
from resources.meta import Ref
from resources.object import Object
from resources.subnets import Network

_HOSTS_OWN = ("host", "none")
_GIVEN = -2


def asked_subnets(networks: Iterable[Object]) -> Mapping[str, Sequence[str]]:
    """By uid, of those that stay; none where the choice is the engine's."""
    staying = (item for item in networks if not item.deleting)
    return {item.metadata.uid: [one.subnet for one in item.effective.subnets] for item in staying}


def network_problems(
    located: Mapping[Ref, Located], before: Snapshot, after: Snapshot, host: Host
) -> Iterator[Problem]:
    """`located`: the manifests of this apply; `before` and `after`: all objects as they are and as they would be."""
    yield from _names(located, after)
    yield from _subnets(located, after, host)
    yield from _beside(located, before, after, host)
    containers = [item for item in after.list(Kind.CONTAINER) if not item.deleting]
    # Those that are there already come first, and then those of the manifests in their order.
    order = {ref: number for number, ref in enumerate(located)}
    containers.sort(key=lambda item: order.get(item.ref, -1))
    yield from attachment_problems(located, containers, after, host)
    yield from port_problems(located, containers, before, after, host)


def _names(located: Mapping[Ref, Located], after: Snapshot) -> Iterator[Problem]:
    for ref, manifest in located.items():
        item = after.find(ref)
        if ref.kind is Kind.NETWORK and ref.name in _HOSTS_OWN and item and item.effective.driver != ref.name:
            message = f"containers that say {ref.name} are on no network of this driver: give it another name"
            yield Problem(manifest.where("metadata.name"), "metadata.name", message)


@dataclass(frozen=True, slots=True)
class _Asked:
    subnet: Network
    network: Object
    path: str
    rank: int
    """Where its manifest stands in this apply; -1 of one that is there already, and less of one that nobody asked for."""

    @property
    def given(self) -> bool:
        return self.rank == _GIVEN

    def told(self, of: Object, located: Mapping[Ref, Located]) -> str:
        """That what is asked of another network meets it."""
        ref = self.network.ref.seen_from(of.metadata.namespace)
        if self.given:
            said = f"{self.subnet} of {ref}, which has it without asking for one"
            return f"overlaps {said}: give this network another subnet, or say another one as that of {ref}"
        return f"overlaps {self.subnet} of {ref}{place(self.network, self.path, located)}"


def _subnets(located: Mapping[Ref, Located], after: Snapshot, host: Host) -> Iterator[Problem]:
    """Two networks of one host cannot have the same addresses, whatever their namespaces."""
    order = {ref: number for number, ref in enumerate(located)}
    networks = [item for item in after.list(Kind.NETWORK) if not item.deleting]
    asked = [
        _Asked(ip_network(subnet.subnet), item, f"spec.subnets[{number}]", order.get(item.ref, -1))
        for item in networks
        for number, subnet in enumerate(item.effective.subnets)
    ]
    if any(one.network.ref in located for one in asked):
        asked += [
            _Asked(ip_network(subnet), item, "", _GIVEN)
            for item in networks
            if not item.effective.subnets
            for subnet in host.given(item.metadata.uid)
        ]
    told: set[tuple[Ref, str]] = set()
    for pair in _overlaps(asked):
        # The later one is told.
        other, one = sorted(pair, key=lambda each: each.rank)
        manifest = located.get(one.network.ref)
        if manifest is not None and not one.given and (one.network.ref, one.path) not in told:
            told.add((one.network.ref, one.path))
            yield Problem(manifest.where(one.path), one.path, other.told(one.network, located))


def _beside(located: Mapping[Ref, Located], before: Snapshot, after: Snapshot, host: Host) -> Iterator[Problem]:
    """Subnets that are new and meet what the host itself is attached to."""
    for ref, manifest in located.items():
        item = after.find(ref)
        if ref.kind is not Kind.NETWORK or item is None:
            continue
        old = before.get(item.key)
        known = set() if old is None else {one.subnet for one in old.effective.subnets}
        for number, one in enumerate(item.effective.subnets):
            if one.subnet in known:
                continue
            subnet, path = ip_network(one.subnet), f"spec.subnets[{number}]"
            met = next((near for near in host.neighbours() if subnets.overlap(near.subnet, subnet)), None)
            if met is not None:
                message = (
                    f"overlaps {met.subnet}, which this host reaches over {met.link}: give the network another subnet"
                )
                yield Problem(manifest.where(path), path, message)


def _overlaps(asked: Iterable[_Asked]) -> Iterator[tuple[_Asked, _Asked]]:
    """Of two networks each. One subnet lies in another or apart from it, so those around one are few."""

    def order(one: _Asked) -> tuple[int, int, int, int]:
        return one.subnet.version, subnets.first(one.subnet), -subnets.last(one.subnet), one.rank

    around: list[_Asked] = []
    for one in sorted(asked, key=order):
        while around and not subnets.overlap(around[-1].subnet, one.subnet):
            around.pop()
        yield from ((other, one) for other in around if other.network is not one.network)
        if not around or around[-1].subnet != one.subnet:
            around.append(one)
