"""What `describe` says of networks: a container's on each, its ports, and who is on a network."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from controller import views
from controller.cli.verbs.host_links import HostLinks
from resources.meta import Status
from resources.object import Object

Row = tuple[str, str]


def of_container(item: Object, status: Status, links: HostLinks) -> Iterator[Row]:
    reported = views.endpoints(status)
    for attachment in item.effective.networks:
        name = attachment.name or ""
        if attachment.special:
            yield "network", name or f"that of container/{attachment.container}"
        else:
            link = links.of_endpoint(item, status, name)
            yield "network", _endpoint(name, {**reported.get(name, {}), "hostLink": link}, attachment.aliases)
    published = views.ports(status)
    for port in published:
        yield "port", port
    for port in () if published else views.asked_ports(item):
        yield "port", f"{port}, not published now"


def of_network(item: Object, status: Status, links: HostLinks, members: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    if link := links.of_network(item, status):
        yield "link", f"{link} on the host"
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
    """`web: 10.42.0.5, fd00:42::5 (eth1, 02:42:0a:2a:00:05, on the host ld1a2bv3c4d5e6f), also called api`."""
    addresses = ", ".join(endpoint.get("addresses") or ())
    link = endpoint.get("hostLink")
    parts = ", ".join(filter(None, (endpoint.get("interface"), endpoint.get("mac"), link and f"on the host {link}")))
    where = f": {addresses}" if addresses else ""
    where += f" ({parts})" if addresses and parts else ""
    return f"{name}{where}, also called {', '.join(aliases)}" if aliases else f"{name}{where}"
