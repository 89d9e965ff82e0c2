"""PURE: whether containers can be on the networks they name, with the addresses they ask for."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from controller.admission.host import Host
from controller.admission.places import place
from controller.store.snapshot import Snapshot
from drivers.network.interface import Pool
from drivers.network.ipam import subnets
from drivers.network.ipam.subnets import parsed_address
from manifests.interface import Located
from manifests.problems import Problem
from reconcilers.network.model import subnet_requests
from resources.container_parts import NetworkAttachment
from resources.errors import InvalidArgument
from resources.kinds import Kind
from resources.meta import Ref
from resources.object import Object

_FAMILIES = {"ipv4": 4, "ipv6": 6}


@dataclass(frozen=True, slots=True)
class _Attachment:
    container: Object
    path: str
    asked: NetworkAttachment
    network: Ref


def attachment_problems(
    located: Mapping[Ref, Located], containers: Iterable[Object], after: Snapshot, host: Host
) -> Iterator[Problem]:
    """Of containers in the order in which they get what only one can have."""
    by_network: dict[Ref, list[_Attachment]] = {}
    for item in containers:
        for one in _attachments(item):
            by_network.setdefault(one.network, []).append(one)
    for ref, attached in by_network.items():
        network = after.find(ref)
        flaws = _Addresses(ref, network, attached, host, located)
        for one in attached:
            manifest = located.get(one.container.ref)
            for path, flaw in (*_driver_flaws(one, network), *flaws.of(one)):
                if manifest is not None:
                    yield Problem(manifest.where(path), path, flaw)


def edit_flaws(before: Object, edited: Object, snapshot: Snapshot, host: Host) -> Iterator[str]:
    """Of the attachments of one container that an edit by hand makes or changes."""
    if edited.kind is not Kind.CONTAINER or before.effective.networks == edited.effective.networks:
        return
    after = snapshot.replaced([edited])
    others = [
        item
        for item in after.list(Kind.CONTAINER, edited.metadata.namespace)
        if not (item.deleting or item.key == edited.key)
    ]
    for one in _attachments(edited):
        if one.asked in before.effective.networks:
            continue
        network = after.find(one.network)
        if network is None and (one.asked.ipv4 or one.asked.ipv6):  # it comes with this edit
            yield _of_its_own_choice(one.network)
        attached = [found for item in others for found in _attachments(item) if found.network == one.network]
        flaws = _Addresses(one.network, network, [*attached, one], host, {})
        for other in attached:
            flaws.of(other)
        yield from (flaw for _, flaw in (*_driver_flaws(one, network), *flaws.of(one)))


def _attachments(item: Object) -> Iterator[_Attachment]:
    for number, one in enumerate(item.effective.networks):
        if not one.special:
            ref = Ref(kind=Kind.NETWORK, namespace=item.metadata.namespace, name=one.name)
            yield _Attachment(item, f"spec.networks[{number}]", one, ref)


def _driver_flaws(one: _Attachment, network: Object | None) -> Iterator[tuple[str, str]]:
    driver = network.effective.driver if network is not None else ""
    if driver in ("host", "none"):
        yield one.path, f"{one.network} is of the driver {driver}, which is had by that name alone: say [{driver}]"


class _Addresses:
    """Of one network: who has which, as those that are attached are looked at one after the other."""

    def __init__(
        self,
        ref: Ref,
        network: Object | None,
        attached: Sequence[_Attachment],
        host: Host,
        located: Mapping[Ref, Located],
    ) -> None:
        """`network` None: it is not known, which is told as a reference that leads nowhere."""
        self._ref = ref
        self._network = network
        self._attached = attached
        self._host = host
        self._located = located
        self._pools = said_pools(network)
        self._fixed: dict[str, _Attachment] = {}
        self._waiting: Counter[int] = Counter()

    def of(self, one: _Attachment) -> list[tuple[str, str]]:
        """(field, what is wrong)"""
        found = []
        for name, family in _FAMILIES.items():
            address = getattr(one.asked, name)
            path = one.path if address is None else f"{one.path}.{name}"
            flaw = self._lacking(family) if address is None else self._flaw(one, name, address)
            if flaw:
                found.append((path, flaw))
        return found

    def _lacking(self, family: int) -> str:
        """Whether there is an address left for one more that asks for none."""
        pools = [pool for pool in self._pools if subnets.version(pool) == family]
        if not pools:
            return ""
        self._waiting[family] += 1
        if self._waiting[family] <= self._room[family]:
            return ""
        named = " and ".join(pool.ip_range or pool.subnet for pool in pools)
        return f"{self._ref} has no address left in {named}: give it a larger subnet, or take a container from it"

    @cached_property
    def _room(self) -> Counter[int]:
        """How many addresses are given to those that ask for none."""
        found: Counter[int] = Counter()
        for pool in self._pools:
            numbers = subnets.assignable(pool)
            never = sum(number in numbers for number in subnets.excluded(pool))
            found[subnets.version(pool)] += max(numbers.stop - numbers.start, 0) - never
        for name, family in _FAMILIES.items():
            asked = {getattr(one.asked, name) for one in self._attached} - {None}
            found[family] -= sum(self._may_be_given(address) for address in asked)
        return found

    def _flaw(self, one: _Attachment, name: str, address: str) -> str:
        flaw = self._impossible(address)
        other = self._fixed.setdefault(address, one)
        if flaw:
            return flaw
        if other is not one:
            return (
                f"{address} is {other.container.ref}'s{place(other.container, f'{other.path}.{name}', self._located)}"
            )
        holder = self._given.get(address)
        if holder is None or holder.key == one.container.key:
            return ""
        return (
            f"{address} is {holder.ref}'s, which has it without asking for one: take another, or make it one of "
            f"{self._ref}'s `reserved` addresses, and {holder.ref} gets another"
        )

    def _impossible(self, address: str) -> str:
        """Why no container of the network can have it."""
        if self._network is None:
            return ""
        if not self._network.effective.subnets:
            return _of_its_own_choice(self._ref)
        parsed = parsed_address(address)
        own = next((pool for pool in self._pools if subnets.contains(pool, parsed)), None)
        if own is None:
            return f"{address} is in no subnet of {self._ref}: {', '.join(pool.subnet for pool in self._pools)}"
        if address == own.gateway:
            said = any(one.gateway is not None and one.subnet == own.subnet for one in self._network.effective.subnets)
            return f"{address} is the gateway of {self._ref}" + ("" if said else ", which says no other one")
        flaw = subnets.unassignable(own, parsed)
        return f"{address} {flaw}" if flaw else ""

    @cached_property
    def _given(self) -> Mapping[str, Object]:
        """Addresses that containers have without asking for one, and keep."""
        if self._network is None:
            return {}
        uid = self._network.metadata.uid
        return {
            address: one.container
            for one in self._attached
            for address in self._host.held(one.container.metadata.uid).get(uid, ())
            if getattr(one.asked, "ipv6" if ":" in address else "ipv4") is None and self._may_be_given(address)
        }

    def _may_be_given(self, address: str) -> bool:
        return any(subnets.may_be_given(pool, parsed_address(address)) for pool in self._pools)


def _of_its_own_choice(network: Ref) -> str:
    return f"{network} gets a subnet of the engine's choice: say its subnets for an address to be one of them"


def said_pools(network: Object | None) -> tuple[Pool, ...]:
    """Those its manifest says."""
    try:
        return () if network is None else subnets.pools(subnet_requests(network.effective))
    except InvalidArgument:  # which is told of the network
        return ()
