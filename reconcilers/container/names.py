"""What a container is called on its networks, and what it may ask for (PURE)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from drivers.network.names.interface import MemberNames, SandboxNames
from reconcilers.container.endpoints import Endpoint
from resources.container import ContainerSpec
from resources.words import check_dns_name

_NOWHERE = Path("/")


def sandbox_names(
    sandbox_id: str, name: str, spec: ContainerSpec, endpoints: Sequence[Endpoint]
) -> SandboxNames | None:
    """None where no network of it has names. The namespace is left out: it may be yet to be made."""
    members = tuple(
        MemberNames(one.network_id, own_names(name, one.aliases), one.plain)
        for one in sorted(endpoints, key=lambda one: one.network)
        if one.dns
    )
    if not members:
        return None
    forward = any(not one.internal for one in endpoints)
    return SandboxNames(sandbox_id, _NOWHERE, members, forward, spec.dns.servers)


def own_names(name: str, aliases: Sequence[str]) -> tuple[str, ...]:
    """The container's own name, if it is one that can be asked for, before its aliases."""
    return tuple(dict.fromkeys(one.lower() for one in (name, *aliases) if _may_be_asked(one)))


def same(served: SandboxNames | None, wanted: SandboxNames | None) -> bool:
    if served is None or wanted is None:
        return served is wanted
    return replace(served, netns=wanted.netns) == wanted


def _may_be_asked(name: str) -> bool:
    try:
        return not check_dns_name(name).endswith(".")
    except ValueError:
        return False
