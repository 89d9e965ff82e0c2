"""network: who is on which, and edits of it."""

import json
from typing import Any

import pytest

from drivers.network.bridge.link_names import bridge_name, port_name
from resources.container_parts import NetworkAttachment
from resources.kinds import Kind
from resources.object import Object
from tests.unit.controller.cli.fakes import FakeBackend, FakeSession, ref, run, status


@pytest.fixture
def web(backend: FakeBackend) -> Object:
    for name in ("front", "back", "lonely"):
        subnets = {"back": ["10.42.0.0/24"], "lonely": ["10.43.0.0/24", "fd00::/64"]}.get(name, [])
        spec = {"subnets": [{"subnet": subnet} for subnet in subnets], "internal": name == "back"}
        backend.objects.report(backend.objects.add(Kind.NETWORK, name, spec), status(phase="Ready"))
    item = backend.objects.add(
        Kind.CONTAINER, "web", {"image": "nginx", "networks": [{"name": "front"}, {"name": "back", "aliases": ["api"]}]}
    )
    on_back = {"addresses": ["10.42.0.5", "fd00::5"], "interface": "eth1", "mac": "02:42:0a:2a:00:05"}
    backend.objects.report(item, status(networks={"front": {"addresses": ["10.192.0.2"]}, "back": on_back}))
    return item


def said(backend: FakeBackend, *argv: str, code: int = 0) -> str:
    user = FakeSession(*argv)
    assert run(backend, user) == code, user.errors
    return user.text if code == 0 else user.errors


def network(backend: FakeBackend, name: str) -> Object:
    found = backend.objects.find(ref(Kind.NETWORK, name))
    assert found is not None
    return found


def networks(backend: FakeBackend, item: Object) -> dict[str, tuple[NetworkAttachment, ...]]:
    found = backend.objects.get(item.key)
    assert found is not None
    return {"spec": found.spec.networks, "effective": found.effective.networks}


def test_ls_shows_who_is_on_them(backend: FakeBackend, web: Object) -> None:
    lines = said(backend, "network", "ls").splitlines()
    assert lines[0].split() == ["NAME", "DRIVER", "SUBNETS", "INTERNAL", "STATE", "CONTAINERS"]
    assert [line.split() for line in lines[1:]] == [
        ["back", "bridge", "10.42.0.0/24", "yes", "Ready", "web"],
        ["front", "bridge", "-", "no", "Ready", "web"],
        ["lonely", "bridge", "10.43.0.0/24,", "fd00::/64", "no", "Ready", "-"],
    ]
    assert "INTERNAL" in said(backend, "get", "network")
    assert "web (10.42.0.5, fd00::5)" in said(backend, "network", "ls", "-o", "wide")
    assert said(backend, "network", "ls", "-o", "name") == "back\nfront\nlonely\n"
    assert said(backend, "-n", "other", "network", "ls") == ""


def test_inspect_has_the_object_and_its_containers(backend: FakeBackend, web: Object) -> None:
    [found] = json.loads(said(backend, "network", "inspect", "back"))
    assert found["metadata"]["name"] == "back"
    assert found["subnets"] == ["10.42.0.0/24"]
    assert found["containers"] == [
        {
            "name": "web",
            "addresses": ["10.42.0.5", "fd00::5"],
            "aliases": ["api"],
            "interface": "eth1",
            "mac": "02:42:0a:2a:00:05",
        }
    ]
    assert "there is no network/none" in said(backend, "network", "inspect", "none", code=1)


def test_subnets_are_those_the_status_reports(backend: FakeBackend, web: Object) -> None:
    backend.objects.report(
        network(backend, "front"), status(subnets=[{"subnet": "10.192.0.0/22", "gateway": "10.192.0.1"}])
    )
    assert json.loads(said(backend, "network", "inspect", "front"))[0]["subnets"] == ["10.192.0.0/22"]
    assert "10.192.0.0/22" in said(backend, "get", "network", "front")


PORTS = [{"host": 8080, "address": address, "container": 80, "protocol": "tcp"} for address in ("0.0.0.0", "::")]


def test_containers_are_shown_with_addresses_and_ports(backend: FakeBackend, web: Object) -> None:
    assert "PORTS" not in said(backend, "get", "container", "web", "-o", "wide")
    backend.objects.report(web, status(networks={"front": {"addresses": ["10.192.0.2"]}}, ports=PORTS))
    assert "10.192.0.2" in said(backend, "get", "container", "web", "-o", "wide")
    for form in ("table", "wide"):
        assert " 0.0.0.0:8080->80/tcp,[::]:8080->80/tcp " in said(backend, "get", "container", "web", "-o", form)
    other = {**PORTS[0], "host": 53, "protocol": "udp", "address": "::1"}
    backend.objects.report(web, status(ports=[*PORTS[:1], other]))
    assert "0.0.0.0:8080->80/tcp,[::1]:53->80/udp" in said(backend, "get", "container", "web", "-o", "wide")


def test_ports_that_follow_one_another_are_one_entry(backend: FakeBackend, web: Object) -> None:
    pairs = [(8001, 81), (8000, 80), (8002, 82), (9000, 82), (8004, 84), (8005, 86)]
    ports = [{**PORTS[0], "address": "127.0.0.1", "host": host, "container": inside} for host, inside in pairs]
    backend.objects.report(web, status(ports=[*ports, {**ports[0], "host": 8003, "container": 83, "protocol": "udp"}]))
    rows = [line.split(maxsplit=1) for line in said(backend, "describe", "container/web").splitlines()]
    assert [row[1] for row in rows if row[0] == "port"] == [
        "127.0.0.1:8000-8002->80-82/tcp",
        "127.0.0.1:9000->82/tcp",
        "127.0.0.1:8003->83/udp",
        "127.0.0.1:8004->84/tcp",
        "127.0.0.1:8005->86/tcp",
    ]


def test_ports_that_are_only_asked_for_are_not_shown_as_published(backend: FakeBackend) -> None:
    ports = [{"container": 80}, {"container": 81}, {"container": 443, "host": 8443, "address": "::1"}]
    item = backend.objects.add(Kind.CONTAINER, "job", {"image": "nginx", "ports": ports})
    backend.objects.report(item, status(False, "Waiting"))
    assert "->" not in said(backend, "get", "container", "job", "-o", "wide")
    rows = [line.split(maxsplit=1) for line in said(backend, "describe", "container/job").splitlines()]
    assert [row[1] for row in rows if row[0] == "port"] == [
        "0.0.0.0:*->80/tcp, not published now",
        "[::]:*->80/tcp, not published now",
        "0.0.0.0:*->81/tcp, not published now",
        "[::]:*->81/tcp, not published now",
        "[::1]:8443->443/tcp, not published now",
    ]


def test_describe_says_where_a_container_is_and_who_is_on_a_network(backend: FakeBackend, web: Object) -> None:
    report = backend.objects.status(web.key)
    assert report is not None
    backend.objects.report(web, status(networks=report.fields["networks"], ports=PORTS))
    rows = [line.split(maxsplit=1) for line in said(backend, "describe", "container/web").splitlines()]
    assert [row for row in rows if row[0] in ("network", "port", "networks", "addresses", "ports")] == [
        ["network", "front: 10.192.0.2"],
        ["network", "back: 10.42.0.5, fd00::5 (eth1, 02:42:0a:2a:00:05), also called api"],
        ["port", "0.0.0.0:8080->80/tcp"],
        ["port", "[::]:8080->80/tcp"],
    ]
    back = network(backend, "back")
    backend.objects.report(back, status(subnets=[{"subnet": "10.42.0.0/24", "gateway": "10.42.0.1"}]))
    text = said(backend, "describe", "network/back")
    assert "  subnet     10.42.0.0/24, gateway 10.42.0.1\n" in text
    assert "  container  web: 10.42.0.5, fd00::5 (eth1, 02:42:0a:2a:00:05), also called api\n" in text
    backend.objects.add(Kind.NETWORK, "inner", {"internal": True, "dns": False})
    assert "  kind       internal, without names\n" in said(backend, "describe", "network/inner")


def test_links_on_the_host_are_named_once_they_are_there(backend: FakeBackend, web: Object) -> None:
    back = network(backend, "back")
    assert "link" not in json.loads(said(backend, "network", "inspect", "back"))[0]
    report = backend.objects.status(web.key)
    assert report is not None
    sandbox = f"{web.metadata.uid}{1:032x}"
    backend.objects.report(web, status(**report.fields, containerId=sandbox, pid=7))
    backend.objects.report(back, status(subnets=[{"subnet": "10.42.0.0/24", "gateway": "10.42.0.1"}]))
    bridge, port = bridge_name("fake", back.metadata.uid), port_name("fake", sandbox, back.metadata.uid)
    [found] = json.loads(said(backend, "network", "inspect", "back"))
    assert (found["link"], found["containers"][0]["hostLink"]) == (bridge, port)
    assert f"  link       {bridge} on the host\n" in said(backend, "describe", "network/back")
    assert bridge in said(backend, "network", "ls", "-o", "wide")
    row = f"back: 10.42.0.5, fd00::5 (eth1, 02:42:0a:2a:00:05, on the host {port}), also called api\n"
    assert row in said(backend, "describe", "web")
    none = backend.objects.add(Kind.NETWORK, "none-such", {"driver": "none"})
    backend.objects.report(none, status(subnets=[]))
    assert "link" not in json.loads(said(backend, "network", "inspect", "none-such"))[0]


@pytest.mark.parametrize(
    ("networks", "row"),
    [([{"name": "host"}], "host"), ([{"container": "web"}], "that of container/web"), ([{"name": "back"}], "back")],
)
def test_describe_of_what_has_no_addresses(
    backend: FakeBackend, web: Object, networks: list[dict[str, str]], row: str
) -> None:
    backend.objects.add(Kind.CONTAINER, "other", {"image": "nginx", "networks": networks})
    lines = said(backend, "describe", "container/other").splitlines()
    assert ["network", row] in [line.split(maxsplit=1) for line in lines]


def test_connect_edits_what_is_desired(backend: FakeBackend, web: Object) -> None:
    said(backend, "network", "connect", "--alias", "www", "--alias", "shop", "--ip", "10.43.0.9", "lonely", "web")
    for found in networks(backend, web).values():
        assert [one.name for one in found] == ["front", "back", "lonely"]
        assert (found[1].aliases, found[2].aliases, found[2].ipv4) == (("api",), ("www", "shop"), "10.43.0.9")
    before = networks(backend, web)
    said(backend, "network", "connect", "lonely", "web")
    assert networks(backend, web) == before
    said(backend, "network", "connect", "--ip6", "fd00::9", "lonely", "web")
    assert networks(backend, web)["effective"][2].ipv6 == "fd00::9"


def test_the_implied_network_can_be_joined(backend: FakeBackend, web: Object) -> None:
    said(backend, "network", "connect", "bridge", "web")
    assert networks(backend, web)["spec"][-1].name == "bridge"


def test_disconnect_edits_what_is_desired(backend: FakeBackend, web: Object) -> None:
    said(backend, "network", "disconnect", "back", "web")
    said(backend, "network", "disconnect", "front", "web")
    assert networks(backend, web) == {"spec": (), "effective": ()}
    assert "is not on the network back (it is on none)" in said(backend, "network", "disconnect", "back", "web", code=1)


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (["connect", "none-such", "web"], "there is no network/none-such"),
        (["connect", "host", "web"], "host is no network to be connected to beside others"),
        (["connect", "lonely", "none"], "there is no container/none"),
        (["connect", "--ip", "fd00::1", "lonely", "web"], "--ip 'fd00::1': is not an IPv4 address"),
        (["connect", "--alias", "ok", "--alias", "a b", "lonely", "web"], "--alias 'a b': "),
        (["connect", "--ip6", "10.0.0.1", "lonely", "web"], "--ip6 '10.0.0.1': is not an IPv6 address"),
        (["connect", "lonely", "apart"], "is on the network host"),
        (["disconnect", "host", "apart"], "is on the network host"),
        (["connect", "container/web", "web"], "container/web is not a network"),
    ],
)
def test_what_cannot_be_is_refused(backend: FakeBackend, web: Object, argv: list[str], what: str) -> None:
    backend.objects.add(Kind.CONTAINER, "apart", {"image": "nginx", "networks": [{"name": "host"}]})
    before = networks(backend, web)
    assert what in said(backend, "network", *argv, code=1)
    assert networks(backend, web) == before


def test_prune_deletes_what_nobody_names(backend: FakeBackend, web: Object) -> None:
    assert "would delete network/lonely (-f does it without asking)" in said(backend, "network", "prune", code=1)
    for answer, code in (("n", 1), ("yes", 0)):
        user = FakeSession("network", "prune", tty=True)
        user.answers = [answer]
        assert run(backend, user) == code
        assert user.asked == [("delete network/lonely? [y/N] ", False)]
    assert said(backend, "network", "ls", "-o", "name") == "back\nfront\n"
    assert said(backend, "network", "prune", "-f") == "every network in namespace default has somebody on it\n"
    assert said(backend, "-n", "bare", "network", "prune") == "there are no networks to prune in namespace bare\n"


def test_what_is_implied_goes_by_itself(backend: FakeBackend) -> None:
    backend.objects.add(Kind.NETWORK, "bridge", implied=True)
    assert said(backend, "network", "prune") == "there are no networks to prune in namespace default\n"


def test_nothing_of_other_namespaces_is_touched(backend: FakeBackend, web: Object) -> None:
    backend.objects.add(Kind.NETWORK, "theirs", namespace="other")
    said(backend, "network", "prune", "-f")
    assert said(backend, "-n", "other", "network", "ls", "-o", "name") == "theirs\n"
    everywhere: Any = json.loads(said(backend, "network", "ls", "-A", "-o", "json"))
    assert {one["metadata"]["namespace"] for one in everywhere} == {"default", "other"}
