"""Decide what a Network needs (PURE): its subnets first, then the network that has them."""

from collections.abc import Iterator, Sequence
from typing import Any

from drivers.network.interface import NetworkConfig, Pool
from drivers.network.ipam.interface import SubnetClaim
from reconcilers.conditions import Decision, blocked, failure, refused
from reconcilers.interface import ChangeKind, Context, Diff, FieldChange
from reconcilers.network.model import (
    AllocateSubnets,
    ApplyNetwork,
    AwaitSubnets,
    DeleteNetwork,
    LetSubnetsGo,
    NetworkAction,
    ObservedNetwork,
    VacateSubnets,
    subnet_requests,
)
from resources.errors import Conflict, EngineError, FailedPrecondition, InvalidArgument, Unsupported
from resources.network import NetworkSpec
from resources.object import Object

DECLARED = ("host", "none")
"""Drivers that need nothing."""
UNKNOWN = "(known after apply)"


def decide(desired: Object | None, observed: ObservedNetwork, context: Context) -> Decision[NetworkAction]:
    if desired is None or desired.deleting:
        waiting = blocked(context, "Deleting")
        actions = tuple(DeleteNetwork(driver, observed.uid) for driver in observed.held)
        return waiting or Decision(Diff(actions), "Deleting", "Deleting")
    spec: NetworkSpec = desired.effective
    error, changes = _refusal(spec, observed)
    if error is not None:
        found = refused(error)
        return Decision(_diff((), changes, found.diff.waiting), found.phase, found.reason, found.message)
    if spec.driver in DECLARED:
        return Decision(Diff())
    return _made(spec, observed, context)


def _refusal(spec: NetworkSpec, observed: ObservedNetwork) -> tuple[EngineError | None, tuple[FieldChange, ...]]:
    if observed.held:
        kept = observed.held[0]
        changes = (FieldChange("spec.driver", kept, spec.driver, ChangeKind.RECREATE),)
        hint = "delete it first, or take the change back"
        return FailedPrecondition(
            f"spec.driver: the network is one of the driver {kept} and stays so", hint=hint
        ), changes
    if spec.driver in DECLARED:
        return None, ()
    if spec.driver not in observed.drivers:
        message = f"spec.driver: this version makes no networks of the driver {spec.driver}"
        return Unsupported(message, hint=f"one of {', '.join((*observed.drivers, *DECLARED))}"), ()
    if spec.ipam.driver != "default" or spec.ipam.options:
        return Unsupported("spec.ipam: this version gives addresses by itself alone", hint="leave ipam out"), ()
    if spec.options:
        named = ", ".join(sorted(spec.options))
        return InvalidArgument(f"spec.options: the driver {spec.driver} has no option {named}"), ()
    return None, ()


def _made(spec: NetworkSpec, observed: ObservedNetwork, context: Context) -> Decision[NetworkAction]:
    applied, claim = observed.state.applied, observed.claim
    wanted = NetworkConfig(observed.uid, claim.pools, spec.mtu, spec.internal, spec.isolated, spec.masquerade)
    asked = subnet_requests(spec)
    changes = tuple(_changes(spec, applied, wanted))
    what = "make" if applied is None else "change" if changes else "mend"
    apply = ApplyNetwork(spec.driver, wanted, what)
    phase = "Creating" if applied is None else "Changing"
    if not claim.pools and claim.obstacle is not None and not context.planning:
        return _obstructed(spec, observed, changes, phase)
    if not claim.pools or claim.stale:
        allocate = AllocateSubnets(observed.uid, asked)
        return Decision(_diff((allocate, apply) if context.planning else (allocate,), changes), phase, phase)
    if applied != wanted:
        return Decision(_diff((apply,), changes), phase, phase)
    drift = _drift(observed)
    if drift:
        said = ", ".join(change.path for change in drift)
        return Decision(_diff((apply,), drift), "Degraded", "Drift", f"{said} is not as it was made")
    # What it moved away from is another's only once nobody has an address in it.
    left = bool(claim.had) and not claim.inhabited and not context.planning
    return Decision(Diff((LetSubnetsGo(observed.uid, claim.had),) if left else ()))


def _obstructed(
    spec: NetworkSpec, observed: ObservedNetwork, changes: tuple[FieldChange, ...], phase: str
) -> Decision[NetworkAction]:
    """Another network has the subnet: until that one has left it this one stays as it is. Where that one waits for this one in
    turn, over however many more, one of them begins: its endpoints leave it, and then it is made anew."""
    claim, uid, applied = observed.claim, observed.uid, observed.state.applied
    actions: tuple[NetworkAction, ...] = ()
    if not claim.awaits:
        actions = (AwaitSubnets(uid, subnet_requests(spec)),)
    elif claim.yields and not claim.inhabited:
        actions = (DeleteNetwork(spec.driver, uid), VacateSubnets(uid))
    elif not claim.yields and applied is not None and observed.state.faults:
        actions = (ApplyNetwork(spec.driver, applied, "mend"),)
    reason, message = _obstacle(claim)
    return Decision(_diff(actions, changes, message), phase, reason, message)


def _obstacle(claim: SubnetClaim) -> tuple[str, str]:
    """What is known to get on is waited for. Of anything else nobody knows whether it ever does."""
    obstacle = claim.obstacle
    assert obstacle is not None
    overlap = f"its subnet overlaps {obstacle.subnet} of {obstacle.network}"
    if claim.yields:
        first = ": what is attached here leaves it first" if claim.inhabited else ""
        return "Waiting", f"{overlap}, which waits for what this one has{first}"
    if obstacle.passing:
        return "Waiting", f"{obstacle.network} has not left {obstacle.subnet} yet"
    return failure(Conflict(overlap, hint="give one of the two another subnet"))


def _drift(observed: ObservedNetwork) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(fault.field, fault.actual, fault.expected, ChangeKind.HOT, drift=True)
        for fault in observed.state.faults
    )


def _changes(spec: NetworkSpec, applied: NetworkConfig | None, wanted: NetworkConfig) -> Iterator[FieldChange]:
    if applied is None:
        yield FieldChange("spec.driver", None, spec.driver, ChangeKind.NONE)
        return
    if applied.pools != wanted.pools:
        new = _shown(wanted.pools) or [one.subnet for one in spec.subnets] or UNKNOWN
        yield FieldChange("spec.subnets", _shown(applied.pools), new, ChangeKind.HOT)
    for field in ("mtu", "internal", "isolated", "masquerade"):
        old, new = getattr(applied, field), getattr(wanted, field)
        if old != new:
            yield FieldChange(f"spec.{field}", old, new, ChangeKind.HOT)


def _shown(pools: Sequence[Pool]) -> list[Any]:
    """A subnet alone, or with what was said of it."""
    found: list[Any] = []
    for pool in pools:
        rest = {"ipRange": pool.ip_range, "reserved": list(pool.reserved)}
        found.append({"subnet": pool.subnet, "gateway": pool.gateway, **{k: v for k, v in rest.items() if v}})
    return found


def _diff(
    actions: tuple[NetworkAction, ...], changes: tuple[FieldChange, ...], waiting: str = ""
) -> Diff[NetworkAction]:
    kind = max((change.kind for change in changes), default=ChangeKind.NONE)
    return Diff(actions, changes, kind, waiting=waiting)
