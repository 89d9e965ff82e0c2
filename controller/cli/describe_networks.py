"""What `describe` says of networks (PURE): a container's on each, its ports, and who is on a network."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from controller.cli import views
from resources.meta import Status
from resources.object import Object

Row = tuple[str, str]


def of_container(item: Object, status: Status) -> Iterator[Row]:
    reported = views.endpoints(status)
    for attachment in item.effective.networks:
        if attachment.special:
            yield "network", attachment.name or f"that of container/{attachment.container}"
        else:
            yield (
                "network",
                _endpoint(attachment.name or "", reported.get(attachment.name or "", {}), attachment.aliases),
            )
    for port in views.ports(item, status):
        yield "port", port


def of_network(item: Object, status: Status, members: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    gateways = {one["subnet"]: one.get("gateway") for one in status.fields.get("subnets") or ()}
    for subnet in views.subnets(item, status):
        gateway = gateways.get(subnet)
        yield "subnet", f"{subnet}, gateway {gateway}" if gateway else subnet
    spec = item.effective
    said = {
        "internal": spec.internal,
        "isolated": spec.isolated,
        "not masqueraded": not spec.masquerade,
        "without names": not spec.dns,
    }
    if words := [word for word, so in said.items() if so]:
        yield "kind", ", ".join(words)
    for member in members:
        yield "container", _endpoint(member["name"], member, member["aliases"])


def _endpoint(name: str, endpoint: Mapping[str, Any], aliases: Sequence[str]) -> str:
    """`web: 10.42.0.5, fd00:42::5 (eth1, 02:42:0a:2a:00:05), also called api`."""
    addresses = ", ".join(endpoint.get("addresses") or ())
    link = ", ".join(filter(None, (endpoint.get("interface"), endpoint.get("mac"))))
    where = f": {addresses}" if addresses else ""
    where += f" ({link})" if addresses and link else ""
    return f"{name}{where}, also called {', '.join(aliases)}" if aliases else f"{name}{where}"
