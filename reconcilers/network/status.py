"""Say how a Network stands (PURE)."""

from typing import Any

from reconcilers.interface import Context
from reconcilers.network.diff import decide
from reconcilers.network.model import ObservedNetwork
from resources.meta import Status
from resources.object import Object


def network_status(desired: Object, observed: ObservedNetwork, context: Context) -> Status:
    spec = desired.effective
    fields: dict[str, Any] = {"driver": spec.driver}
    if spec.driver in observed.drivers:
        subnets = [{"subnet": pool.subnet, "gateway": pool.gateway} for pool in observed.claim.pools]
        fields |= {"subnets": subnets or None, "mtu": spec.mtu}
    return decide(desired, observed, context).status(desired, context, **fields)
