"""Published ports where no rule can carry them: by the resolver process, with the real firewall."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.network.names.client import ResolverClient
from drivers.network.ports.interface import PublishedPort
from drivers.network.ports.published import PublishedPorts
from tests.integration.drivers.network.site import Site
from tests.machines import TRANSPORTS, Answer, Machines

pytestmark = pytest.mark.host

SHORT = 0.15


@pytest.fixture
def site(machines: Machines, instance: str, short_path: Path) -> Iterator[Site]:
    made = Site(machines, instance)
    resolver = ResolverClient(short_path, instance)
    made.ports = PublishedPorts(made.firewall, resolver.proxies, short_path / "publishing")
    # The process lives in the namespace of who starts it.
    made.host.run(lambda: resolver.names.list())
    yield made
    made.close()
    resolver.names.stop()
    resolver.close()


def publish(site: Site, *ports: PublishedPort) -> None:
    site.host.run(lambda: site.ports.publish("web", ports))
    assert set(site.ports.published("web")) == set(ports)


def test_localhost_by_ipv6_is_the_hosts_alone(site: Site) -> None:
    rules = site.network()
    web, peer = site.container("web", rules), site.container("peer", rules)
    for protocol in TRANSPORTS:
        web.serve(80, protocol=protocol)
    publish(
        site,
        *(PublishedPort(8080, 80, "", protocol, web.ipv4, web.ipv6) for protocol in TRANSPORTS),
        *(PublishedPort(8081, 80, "::1", protocol, web.ipv4, web.ipv6) for protocol in TRANSPORTS),
    )
    for protocol in TRANSPORTS:
        for port in (8080, 8081):
            assert site.host.ask("::1", port, protocol, 2) == Answer("web", "fd42:1::1")
        assert site.lan.ask(site.host.ipv6, 8080, protocol) == Answer("web", site.lan.ipv6)
        for machine in (site.lan, peer):
            for at in (site.host.ipv4, site.host.ipv6, "fd42:1::1"):
                assert machine.ask(at, 8081, protocol, SHORT) is None
    publish(site)
    for protocol in TRANSPORTS:
        assert site.host.ask("::1", 8080, protocol, SHORT) is None


def test_ipv6_reaches_a_container_that_has_ipv4_alone(site: Site) -> None:
    rules, closed = site.network(ipv6=False), site.network(internal=True)
    web, inside = site.container("web", rules), site.container("inside", closed)
    for protocol in TRANSPORTS:
        web.serve(80, protocol=protocol)
    publish(
        site,
        *(PublishedPort(8080, 80, "", protocol, web.ipv4) for protocol in TRANSPORTS),
        *(PublishedPort(8081, 80, site.host.ipv6, protocol, web.ipv4) for protocol in TRANSPORTS),
    )
    for protocol in TRANSPORTS:
        for port in (8080, 8081):
            assert site.lan.ask(site.host.ipv6, port, protocol, 2) == Answer("web", "10.42.1.1")
            assert inside.ask(site.host.ipv6, port, protocol, SHORT) is None
        assert site.lan.ask(site.host.ipv4, 8080, protocol) == Answer("web", site.lan.ipv4)
        assert site.host.ask("::1", 8080, protocol, 2)
        assert site.host.ask("::1", 8081, protocol, SHORT) is None
    publish(site)
    assert site.lan.ask(site.host.ipv6, 8080, timeout=SHORT) is None


def test_an_internal_container_is_proxied_for_the_host_alone(site: Site) -> None:
    box = site.container("box", site.network(internal=True, ipv6=False))
    box.serve(80)
    publish(site, PublishedPort(8080, 80, "", "tcp", box.ipv4))
    assert site.host.ask("::1", 8080, timeout=2) == Answer("box", "10.42.1.1")
    assert site.lan.ask(site.host.ipv6, 8080, timeout=SHORT) is None
    publish(site)
