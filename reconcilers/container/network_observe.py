"""Read what is there of a container's networks. Of one that is on none, and holds nothing, nothing is read but that."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from drivers.network.interface import EndpointState, PublishedPort
from drivers.network.names.interface import SandboxNames
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
        held = drivers.ipam.addresses(uid)
        if not held and not own_networks(spec):
            return Networking()
        wanted = ports.requests(spec)
        # Who holds a port holds an address, and nothing is published that is not held.
        holds = bool(held) and drivers.host_ports.holds(uid)
        if desired.deleting:
            return Networking(held=held, publishes=holds)
        found = Networking(
            views=self._views(desired, context),
            drivers=frozenset(drivers.networks),
            held=held,
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
        return Networking(held=self._drivers.ipam.addresses(uid), publishes=uid in self.publishing())

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
