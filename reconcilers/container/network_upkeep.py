"""What the networks of a running container need (PURE): its namespace, endpoints, files, names and ports."""

from collections.abc import Set

from drivers.network.interface import Fault
from reconcilers.container import create, network_steps
from reconcilers.container.endpoints import Endpoint
from reconcilers.container.hardening import capabilities
from reconcilers.container.healing import Healing
from reconcilers.container.intent import Intent
from reconcilers.container.model import Incarnation, Observed
from reconcilers.container.network_actions import AttachEndpoint, shown
from resources.container_parts import Security

MISSING = "missing"
_NETWORKS = ("spec.networks", "endpoint.")
_FILES = ("spec.dns", "spec.extraHosts", "metadata.name", *_NETWORKS)
_NAMES = ("spec.dns", "metadata.name", *_NETWORKS)
_PORTS = ("spec.ports", *_NETWORKS)
"""The changes that make each of them another."""


def mend_networks(asked: Intent, observed: Observed, life: Incarnation, changed: Set[str], healing: Healing) -> None:
    if observed.files is None:
        return
    # What a process may do to its own sandbox is its own, unless the manifest says otherwise in so many words.
    told = "lading/drift" in asked.object.metadata.annotations
    own = "report" if may_change_network(asked.spec.security) and not told else ""
    _namespace(asked, life, healing, own)
    healing.do(asked.networks.allocations)
    healing.do(network_steps.detach(asked, observed, life))
    if life.sandbox is not None and life.sandbox.netns is not None:
        for one in asked.networks.endpoints:
            if one.network not in asked.networks.pending:  # it is another in a moment
                _endpoint(observed, life, one, healing, own)
    _files(observed, life, changed, healing)
    _names(asked, observed, changed, healing)
    _ports(asked, observed, changed, healing)
    healing.do(network_steps.release(asked, observed))


def may_change_network(security: Security) -> bool:
    return security.privileged or "CAP_NET_ADMIN" in capabilities(security)


def _namespace(asked: Intent, life: Incarnation, healing: Healing, own: str) -> None:
    made = create.namespace(asked, life, life.task.pid if life.task else None)
    if made:
        lost = life.sandbox is None or life.sandbox.netns is None
        path, old, new = (
            ("namespace", MISSING, "there") if lost else ("loopback", "down or without its addresses", "up")
        )
        healing.found(f"sandbox.{path}", old, new, made, own)


def _endpoint(observed: Observed, life: Incarnation, one: Endpoint, healing: Healing, own: str) -> None:
    if network_steps.whole(observed, one):
        return
    action = [AttachEndpoint(life.id, one)]
    path = f"endpoint.{one.network}"
    state = observed.network.states.get(one.network_id)
    old = life.applied.get("endpoints", {}).get(one.network)
    if old is None or old != one.record():
        healing.do(action)
    elif state is None:
        healing.found(path, MISSING, "attached", action, own)
    else:
        for fault in state.faults:
            healing.found(f"{path}.{fault.field}", fault.actual, fault.expected, action, _mode(fault, own))


def _mode(fault: Fault, own: str) -> str:
    if fault.field == "way":
        return "report"  # a route of the host is nobody's of ours
    return "" if fault.field.split(".")[0] == "link" else own


def _files(observed: Observed, life: Incarnation, changed: Set[str], healing: Healing) -> None:
    files = create.files(observed, life)
    if files and _asked(changed, _FILES):
        healing.do(files)
    elif files:
        healing.found("sandbox.files", "altered", "as written", files)


def _names(asked: Intent, observed: Observed, changed: Set[str], healing: Healing) -> None:
    actions = list(network_steps.serve_names(asked, observed))
    if actions and _asked(changed, _NAMES):
        healing.do(actions)
    elif actions:
        served = observed.network.names is not None
        healing.found("sandbox.names", "altered" if served else MISSING, "as written", actions)


def _ports(asked: Intent, observed: Observed, changed: Set[str], healing: Healing) -> None:
    actions = list(network_steps.publish(asked, observed))
    if actions and _asked(changed, _PORTS):
        healing.do(actions)
    elif actions:
        now, wanted = observed.network.published, asked.networks.published or ()
        healing.found("ports", list(map(shown, now)), list(map(shown, wanted)), actions)


def _asked(changed: Set[str], prefixes: tuple[str, ...]) -> bool:
    return any(path.startswith(prefixes) for path in changed)
