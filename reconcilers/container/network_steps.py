"""The steps that connect a container, and those that disconnect it (PURE), each left out where it is done already."""

from collections.abc import Iterator, Sequence

from reconcilers.container import names
from reconcilers.container.endpoints import Endpoint, held_addresses, own_networks
from reconcilers.container.intent import Intent
from reconcilers.container.model import Incarnation, Observed
from reconcilers.container.network_actions import (
    AttachEndpoint,
    DetachEndpoint,
    ForgetFlows,
    LetAddressesGo,
    NetworkAction,
    PublishPorts,
    ReleaseAddresses,
    ReleasePorts,
    RemoveNames,
    SetNames,
    VacateAddresses,
)


def detach(intent: Intent, observed: Observed, life: Incarnation) -> list[NetworkAction]:
    """From the networks it left, and first of all: another may want the name of an interface. Its namespace may be lost,
    and the link there all the same."""
    seen = observed.network
    return [DetachEndpoint(life.id, network, seen.own(network)) for network in _left(intent, observed)]


def release(intent: Intent, observed: Observed) -> list[NetworkAction]:
    """The addresses in the networks it left, and those it moved away from, once nothing leads there: held, they say that
    there may be something."""
    left = _left(intent, observed)
    return [*(ReleaseAddresses(observed.uid, network) for network in left), *_moved(intent, observed, left)]


def _moved(intent: Intent, observed: Observed, left: Sequence[str]) -> Iterator[NetworkAction]:
    used = {address for one in intent.networks.endpoints for address in one.plain}
    for network, addresses in observed.network.had.items():
        if network not in left and not used & {*addresses}:
            yield ForgetFlows(addresses)
            yield LetAddressesGo(observed.uid, network, addresses)


def vacate(intent: Intent, observed: Observed, life: Incarnation) -> list[NetworkAction]:
    """Others get on only if it gives way, and then it gets on too: what it has there goes to who waits for it, once nothing
    leads there any more."""
    seen, found = observed.network, list[NetworkAction]()
    going = {address for network in seen.yields for address in seen.own(network)}
    staying = tuple(port for port in seen.published if not going & {port.ipv4, port.ipv6})
    if staying != seen.published:
        found.append(PublishPorts(observed.uid, staying))
    if seen.names is not None:
        found += serve_names(intent, observed)
    for network in sorted(seen.yields):
        found.append(DetachEndpoint(life.id, network, seen.own(network)))
        found.append(VacateAddresses(observed.uid, network, seen.own(network)))
    return found


def _left(intent: Intent, observed: Observed) -> list[str]:
    seen = observed.network
    views = [seen.views.get(name) for name, _ in own_networks(intent.spec)]
    if None in views:  # one of these might be that
        return []
    wanted = {view.uid for view in views if view is not None}
    return [network for network in seen.claimed if network not in wanted]


def attach(intent: Intent, life: Incarnation) -> list[NetworkAction]:
    """All of them: what is there already is mended, at the cost of a look."""
    return [AttachEndpoint(life.id, one) for one in intent.networks.endpoints]


def mend(intent: Intent, observed: Observed, life: Incarnation) -> list[NetworkAction]:
    """Those that are not as they shall be."""
    return [AttachEndpoint(life.id, one) for one in intent.networks.endpoints if not whole(observed, one)]


def whole(observed: Observed, one: Endpoint) -> bool:
    state = observed.network.states.get(one.network_id)
    return state is not None and not state.faults and bool(one.addresses)


def serve(intent: Intent, observed: Observed, *, anew: bool = False) -> Iterator[NetworkAction]:
    """Names and ports, before there is a process that needs them. `anew`: its namespace is another."""
    yield from serve_names(intent, observed, anew=anew)
    yield from publish(intent, observed)


def serve_names(intent: Intent, observed: Observed, *, anew: bool = False) -> Iterator[NetworkAction]:
    wanted, served = intent.networks.names, observed.network.names
    if wanted is None:
        if served is not None:
            yield RemoveNames(served.sandbox_id)
        return
    if anew and served is not None and served.sandbox_id == wanted.sandbox_id:
        yield RemoveNames(served.sandbox_id)
    if anew or not names.same(served, wanted):
        yield SetNames(wanted)


def publish(intent: Intent, observed: Observed) -> Iterator[NetworkAction]:
    wanted = intent.networks.published
    if wanted is not None and set(wanted) != set(observed.network.published):
        yield PublishPorts(observed.uid, wanted)


def at_rest(intent: Intent, observed: Observed, life: Incarnation, *, last: bool = False) -> list[NetworkAction]:
    """Nothing runs: nothing leads there. What it holds it keeps, but for what it asks for no more. `last`: what is left of
    this life goes with it."""
    seen = observed.network
    found: list[NetworkAction] = []
    others = seen.holds_ports and not seen.ports
    if seen.published or others or (last and seen.holds_ports):
        found.append(PublishPorts(observed.uid, ()))
    if seen.names is not None:
        found.append(RemoveNames(seen.names.sandbox_id))
    if others:
        found.append(ReleasePorts(observed.uid))
    left, unfit = _left(intent, observed), list(_unfit(intent, observed))
    off = [*left, *unfit, *(network for network in seen.had if network not in (*left, *unfit))]
    found += [DetachEndpoint(life.id, network, seen.own(network)) for network in off]
    found += [ReleaseAddresses(observed.uid, network) for network in (*left, *unfit)]
    return [*found, *_moved(intent, observed, (*left, *unfit))]


def _unfit(intent: Intent, observed: Observed) -> Iterator[str]:
    """Networks where what it has is not what it asks for, or is noted to wait: that is for when it is started."""
    seen = observed.network
    for name, asked in own_networks(intent.spec):
        view = seen.views.get(name)
        if view is None or not view.pools or view.uid not in seen.claimed:
            continue
        if view.uid in seen.awaits or held_addresses(asked, view, seen) is None:
            yield view.uid


def withdraw(observed: Observed) -> list[NetworkAction]:
    """It is to be gone, so nothing may lead there first."""
    return [PublishPorts(observed.uid, ())] if observed.network.publishes else []


def forget(observed: Observed) -> list[NetworkAction]:
    """After its sandbox, which took the links along."""
    addresses = observed.network.addresses
    return [ForgetFlows(addresses)] if addresses else []
