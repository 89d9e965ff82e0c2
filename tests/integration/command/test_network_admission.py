"""What apply could not do is refused before anything is changed: looked at with a real engine on a machine of its own."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.engines import Engine
from tests.integration.command.client import Client, Document, container, document, text
from tests.integration.command.outside import until
from tests.machines import Machine, Machines

pytestmark = [pytest.mark.host, pytest.mark.timeout(180), pytest.mark.usefixtures("images")]


@pytest.fixture
def client(machines: Machines, engine: Callable[..., Engine]) -> Client:
    return Client(engine(machines.host.prefix), "default")


def server(name: str, *networks: Any, **spec: Any) -> Document:
    script = f"mkdir /w; echo {name} >/w/index.html; exec httpd -f -p 80 -h /w"
    return container(name, script, networks=list(networks), **spec)


def refused(client: Client, *documents: Document) -> str:
    """What plan and apply both say; nothing is changed."""
    before = client("get", "container", "-o", "name").stdout
    said = [client(verb, "-f", "-", check=False, stdin=text(*documents)) for verb in ("plan", "apply")]
    assert [one.returncode for one in said] == [1, 1]
    assert said[0].stderr == said[1].stderr
    assert client("get", "container", "-o", "name").stdout == before
    return said[0].stderr


def address(client: Client, name: str, network: str) -> str:
    found: str = client.status(name)["networks"][network]["addresses"][0].partition("/")[0]
    return found


def get(machine: Machine, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return machine("curl", "-s", "--max-time", "3", f"http://{shown}:{port}/", check=False).strip()


def test_a_port_is_at_an_address_that_the_host_has(client: Client, machines: Machines) -> None:
    host, floating = machines.host, "203.0.113.9"
    web = server("web", "bridge", ports=[f"{floating}:8080:80"])
    said = refused(client, web)
    assert f"spec.ports[0].address: cannot assign requested address: {floating} is none of this host's" in said
    assert f"which are {host.ipv4}, {host.ipv6}, 127.0.0.1 and ::1" in said
    refused(client, server("web", "bridge", ports=["[2001:db8:9::9]:8080:80"]))
    host("ip", "address", "add", f"{floating}/32", "dev", "lo")
    client.apply(web)
    machines.lan("ip", "route", "add", f"{floating}/32", "via", host.ipv4)
    until(lambda: get(machines.lan, floating, 8080) == "web", what="the port at the address that came")
    # The address goes elsewhere, and what is published is as it was asked for.
    host("ip", "address", "del", f"{floating}/32", "dev", "lo")
    assert client.apply(web) == "nothing to change\n"
    client("delete", "container/web")
    refused(client, web)
    host.set("net.ipv4.ip_nonlocal_bind", 1)
    client.apply(web)
    host("ip", "address", "add", f"{floating}/32", "dev", "lo")
    until(lambda: get(machines.lan, floating, 8080) == "web", what="the port at the address that came later")


def test_an_address_that_another_has_without_asking(client: Client) -> None:
    net = document("Network", "net", subnets=["10.77.0.0/24"])
    client.apply(net, server("old", "net"))
    has = address(client, "old", "net")
    new = server("new", {"name": "net", "ipv4": has})
    said = refused(client, new)
    assert f"spec.networks[0].ipv4: {has} is container/old's, which has it without asking for one" in said
    client.apply(server("new", "net"))
    edit = client("network", "connect", "net", "new", "--ip", has, check=False)
    assert edit.returncode == 1
    assert f"{has} is container/old's" in edit.stderr
    # What helps does: the other one moves in the same apply.
    reserving = document("Network", "net", subnets=[{"subnet": "10.77.0.0/24", "reserved": [has]}])
    client.apply(reserving, new)
    until(lambda: address(client, "new", "net") == has, what="it has the address")
    assert address(client, "old", "net") != has
    assert client.apply(reserving, new) == "nothing to change\n"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("10.77.0.1", "10.77.0.1 is the gateway of network/net, which says no other one"),
        ("10.77.0.0", "10.77.0.0 is the address of the subnet 10.77.0.0/24 itself"),
        ("10.77.0.255", "10.77.0.255 is the broadcast address of 10.77.0.0/24"),
    ],
)
def test_an_address_that_no_container_can_have(client: Client, asked: str, said: str) -> None:
    net = document("Network", "net", subnets=["10.77.0.0/24", "fd00:77::/64"])
    assert said in refused(client, net, server("web", {"name": "net", "ipv4": asked}))
    anycast = refused(client, net, server("web", {"name": "net", "ipv6": "fd00:77::1"}))
    assert "fd00:77::1 is the gateway of network/net" in anycast


def test_the_smallest_subnets_work(client: Client, machines: Machines) -> None:
    client.apply(document("Network", "net", subnets=["10.77.0.0/31", "fd00:77::/127"]), server("web", "net"))
    assert client.status("web")["networks"]["net"]["addresses"] == ["10.77.0.1", "fd00:77::1"]
    for one in ("10.77.0.1", "fd00:77::1"):
        until(lambda one=one: get(machines.host, one, 80) == "web", what=f"{one} answers")  # type: ignore[misc]
    both = (document("Network", "net", subnets=["10.77.0.0/31", "fd00:77::/127"]), server("more", "net"))
    assert "network/net has no address left in 10.77.0.0/31" in refused(client, *both)


def test_several_subnets_of_one_family_are_filled_one_after_the_other(client: Client, machines: Machines) -> None:
    net = document("Network", "net", subnets=["10.77.0.0/31", "10.78.0.0/24"])
    client.apply(net, server("a", "net"), server("b", "net", ports=["8080:80"]))
    found = {address(client, name, "net") for name in ("a", "b")}
    assert found == {"10.77.0.1", "10.78.0.2"}
    until(lambda: get(machines.lan, machines.host.ipv4, 8080) == "b", what="the published one")
    name, other = ("a", "b") if address(client, "a", "net") == "10.77.0.1" else ("b", "a")
    answer = client("exec", name, "--", "timeout", "3", "wget", "-q", "-O-", f"http://{other}/").stdout
    assert answer.strip() == other


def test_a_port_of_ipv4_on_networks_of_ipv6_alone(client: Client, machines: Machines) -> None:
    net = document("Network", "net", subnets=["fd00:77::/64"])
    said = refused(client, net, server("web", "net", ports=[f"{machines.host.ipv4}:8080:80"]))
    assert "is of IPv4, and the container's networks have IPv6 alone: say one of IPv6" in said
    client.apply(net, server("web", "net", ports=[f"[{machines.host.ipv6}]:8080:80", "8081:80"]))
    for port in (8080, 8081):
        until(lambda port=port: get(machines.lan, machines.host.ipv6, port) == "web", what=str(port))  # type: ignore[misc]


def test_who_joins_and_leaves_by_hand_is_as_its_manifest_says(client: Client) -> None:
    net, more = document("Network", "net"), document("Network", "more")
    web = server("web", "net", ports=["127.0.0.1:19080:80", "8000-8001:80-81"])
    client.apply(net, more, web)
    client("network", "connect", "more", "web", "--alias", "www")
    client("network", "disconnect", "more", "web")
    assert client("plan", "-f", "-", "--exit-code", stdin=text(net, more, web)).stdout == "nothing to change\n"
    fewer = server("web", "net", ports=["127.0.0.1:19081:80"])
    planned = client("plan", "-f", "-", stdin=text(net, more, fewer)).stdout
    assert "spec.ports[0]: 127.0.0.1:19080:80/tcp → 127.0.0.1:19081:80/tcp\n" in planned
    assert "spec.ports[1]: 8000-8001:80-81/tcp → (none)\n" in planned


def test_a_subnet_of_the_hosts_own_links_is_refused(client: Client, machines: Machines) -> None:
    said = refused(client, document("Network", "net", subnets=["192.0.2.128/25"]), server("web", "net"))
    assert "spec.subnets[0]: overlaps 192.0.2.0/24, which this host reaches over up0" in said
    # Its own networks are in nobody's way, also not in their own.
    client.apply(document("Network", "net", subnets=["10.77.0.0/24"]))
    client.apply(document("Network", "net", subnets=["10.77.0.0/25"]))
    assert "10.77.0.1/25" in machines.host("ip", "-4", "addr")
    # One that came later is told by the network; what is there stays as it was asked for.
    machines.host("ip", "addr", "add", "10.77.0.200/25", "dev", "up0")
    assert client.apply(document("Network", "net", subnets=["10.77.0.0/25"])) == "nothing to change\n"
    machines.host("ip", "addr", "del", "10.77.0.200/25", "dev", "up0")


def test_a_subnet_that_another_network_was_given_is_refused_and_can_be_had_once_it_leaves(client: Client) -> None:
    front, pool = document("Network", "front"), "10.192.0.0/22"
    client.apply(front, server("web", "front"))
    assert client.json("get", "network", "front")["status"]["subnets"][0]["subnet"] == pool
    edge, shop = document("Network", "edge", subnets=[pool]), Client(client.engine, "shop")
    said = "which has it without asking for one: give this network another subnet, or say another one as that of"
    assert f"spec.subnets[0]: overlaps {pool} of network/front, {said} network/front\n" in refused(client, edge, front)
    other = "network/front of namespace default"
    assert f"spec.subnets[0]: overlaps {pool} of {other}, {said} {other}\n" in refused(shop, edge)
    client.apply(edge, document("Network", "front", subnets=["10.77.0.0/24"]))
    assert client.json("get", "network", "edge")["status"]["subnets"][0]["subnet"] == pool
    assert address(client, "web", "front").startswith("10.77.0.")


def test_what_is_in_the_way_of_another_namespace_is_named_with_its_own(client: Client) -> None:
    shop = Client(client.engine, "shop")
    client.apply(document("Network", "net", subnets=["10.77.0.0/24"]), server("web", "net", ports=["8080:80"]))
    said = refused(shop, document("Network", "net", subnets=["10.77.0.0/25"]))
    assert "overlaps 10.77.0.0/24 of network/net of namespace default" in said
    said = refused(shop, server("web", "bridge", ports=["8080:80"]))
    assert "the host's port 8080/tcp belongs to container/web of namespace default already" in said


def test_a_port_that_another_was_given_is_refused(client: Client) -> None:
    client.apply(server("old", "bridge", ports=["80"]))
    given = client.status("old")["ports"][0]["host"]
    said = refused(client, server("new", "bridge", ports=[f"{given}:80"]))
    assert f"{given}/tcp belongs to container/old already, which has it without asking for it: take" in said
    client.apply(server("old", "bridge"), server("new", "bridge", ports=[f"{given}:80"]))


def test_what_is_declared_is_given_to_no_other_network_of_the_same_apply(client: Client) -> None:
    given = [document("Network", f"a{number}") for number in range(3)]
    edge = document("Network", "edge", subnets=["10.192.0.0/22"])
    client.apply(*given, edge, server("web", "bridge"))
    shown = {name: client.json("get", "network", name)["status"]["subnets"][0]["subnet"] for name in ("a0", "edge")}
    assert shown["edge"] == "10.192.0.0/22" != shown["a0"]
