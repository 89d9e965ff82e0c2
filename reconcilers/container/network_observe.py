"""Read what is there of a container's networks. Of one that is on none, and holds nothing, nothing is read but that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from drivers.network.interface import EndpointState
from drivers.network.ipam.subnets import contains, parsed_address
from drivers.network.names.interface import SandboxNames
from drivers.network.ports.interface import PublishedPort
from reconcilers.container import ports
from reconcilers.container.drivers import ContainerDrivers
from reconcilers.container.endpoints import own_networks
from reconcilers.container.intent import STOPPED, asked_state
from reconcilers.container.model import Incarnation
from reconcilers.container.network_model import Networking, NetworkView
from reconcilers.container.networks import networks
from reconcilers.interface import Context
from reconcilers.network.model import subnet_requests
from resources.errors import EngineError
from resources.kinds import Kind
from resources.meta import Ref
from resources.object import Object


class NetworkObserver:
    def __init__(self, drivers: ContainerDrivers) -> None:
        self._drivers = drivers

    def observe(self, desired: Object, lives: Sequence[Incarnation], context: Context) -> Networking:
        drivers, uid, spec = self._drivers, desired.metadata.uid, desired.effective
        life = lives[-1] if lives else None
        claimed = self._claimed(uid)
        held = bool(claimed.claimed)
        if not held and not own_networks(spec):
            return claimed
        wanted = ports.requests(spec)
        # Who holds a port holds an address, and nothing is published that is not held.
        holds = held and drivers.host_ports.holds(uid)
        if desired.deleting:
            return replace(claimed, publishes=holds)
        views = self._views(desired, context)
        found = replace(
            claimed,
            views=views,
            drivers=frozenset(drivers.networks),
            obstacles=self._obstacles(desired, views, claimed),
            yields=claimed.yields | frozenset(self._left(views, claimed, blocked=bool(context.blockers))),
            ports=drivers.host_ports.held(uid, wanted) if holds and wanted else (),
            holds_ports=holds,
            published=self._published(uid) if holds else (),
            publishes=holds,
            names=self._names(life.id) if held and life is not None else None,
        )
        if life is None or life.sandbox is None or life.sandbox.netns is None:
            return found
        found = replace(found, attached=self._attached(life, found))
        if not life.alive or asked_state(desired) == STOPPED:
            return found
        return replace(found, states=self._states(desired, life, found, context))

    def leftover(self, uid: str) -> Networking:
        """Of an object that is gone: the store has freed what it held."""
        return replace(self._claimed(uid), publishes=uid in self.publishing())

    def publishing(self) -> Sequence[str]:
        """Who has ports. What does not answer is asked again by the next sweep, as with names."""
        try:
            return self._drivers.publisher.list()
        except EngineError:
            return ()

    def named(self) -> Sequence[str]:
        """Sandboxes that the resolver knows of."""
        try:
            return self._drivers.names.list()
        except EngineError:
            return ()

    def _published(self, uid: str) -> tuple[PublishedPort, ...]:
        """As with names: what does not answer publishes nothing."""
        try:
            return self._drivers.publisher.published(uid)
        except EngineError:
            return ()

    def _names(self, sandbox_id: str) -> SandboxNames | None:
        """A resolver that does not answer serves nothing: what is wrong with it is said by the act that tells it names."""
        try:
            return self._drivers.names.get(sandbox_id)
        except EngineError:
            return None

    def _views(self, desired: Object, context: Context) -> Mapping[str, NetworkView]:
        found = {}
        for name, _ in own_networks(desired.effective):
            network = context.dependencies.get(Ref(kind=Kind.NETWORK, namespace=desired.metadata.namespace, name=name))
            if network is not None:
                spec, uid = network.effective, network.metadata.uid
                pools = self._drivers.ipam.pools(uid, subnet_requests(spec))
                found[name] = NetworkView(uid, spec.driver, pools, spec.internal, spec.dns, spec.mtu)
        return found

    def _claimed(self, uid: str) -> Networking:
        claims = self._drivers.ipam.claims(uid)
        return Networking(
            held={network: one.addresses for network, one in claims.items() if one.addresses},
            had={network: one.had for network, one in claims.items() if one.had},
            awaits={network: one.awaits for network, one in claims.items() if one.awaits},
            yields=frozenset(network for network, one in claims.items() if one.yields),
        )

    def _obstacles(self, desired: Object, views: Mapping[str, NetworkView], claimed: Networking) -> Mapping[str, str]:
        found = {}
        for name, asked in own_networks(desired.effective):
            view = views.get(name)
            if view is not None and view.pools:
                wanted = [fixed for fixed in (asked.ipv4, asked.ipv6) if fixed]
                lacking = [fixed for fixed in wanted if fixed not in claimed.own(view.uid)]
                found[view.uid] = self._drivers.ipam.obstacle(view.uid, desired.metadata.uid, lacking)
        return {network: words for network, words in found.items() if words}

    def _left(self, views: Mapping[str, NetworkView], claimed: Networking, *, blocked: bool) -> Iterator[str]:
        """Networks that give up their subnets once nobody has an address there; and those that have moved on already, where
        it cannot follow now: what it has there leads nowhere, and another network may wait for it."""
        for view in views.values():
            own = [parsed_address(address) for address in claimed.own(view.uid)]
            if not own:
                continue
            if not view.pools and self._drivers.ipam.yields_subnets(view.uid):
                yield view.uid
            if view.pools and blocked and not all(any(contains(p, one) for p in view.pools) for one in own):
                yield view.uid

    def _attached(self, life: Incarnation, found: Networking) -> Mapping[str, str]:
        """Only looked for where the record does not say it: a life that was cut short, a network that is new."""
        recorded = {one["network"] for one in life.applied.get("endpoints", {}).values()}
        wanted = {view.uid for view in found.views.values()}
        if not found.held or wanted <= recorded:
            return {}
        return {
            network: interface
            for driver in self._drivers.networks.values()
            for network, interface in driver.attached(life.id).items()
        }

    def _states(
        self, desired: Object, life: Incarnation, found: Networking, context: Context
    ) -> Mapping[str, EndpointState | None]:
        netns = life.sandbox.netns if life.sandbox else None
        if netns is None:
            return {}
        return {
            one.network_id: self._drivers.networks[one.driver].endpoint(one.config(life.id, netns))
            for one in networks(desired, found, life, life.id, context).endpoints
            if one.addresses and one.driver in self._drivers.networks
        }
