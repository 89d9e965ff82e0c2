"""The verbs of networks on a real engine."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.integration.command.client import Client, container, document
from tests.integration.command.outside import until
from tests.machines import Machines

SERVE = "mkdir /tmp/www && echo hello >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"
pytestmark = pytest.mark.host


def test_networks_are_listed_inspected_and_pruned(client: Client) -> None:
    client.apply(document("Network", "quiet", driver="none"), document("Network", "loud", driver="host"))
    lines = [line.split() for line in client("network", "ls").stdout.splitlines()]
    assert lines[0] == ["NAME", "DRIVER", "SUBNETS", "INTERNAL", "STATE", "CONTAINERS"]
    assert [line[:2] for line in lines[1:]] == [["loud", "host"], ["quiet", "none"]]
    [found] = json.loads(client("network", "inspect", "quiet").stdout)
    assert (found["kind"], found["metadata"]["name"], found["containers"]) == ("Network", "quiet", [])
    refused = client("network", "prune", check=False)
    assert refused.returncode == 1
    assert "would delete network/loud, network/quiet" in refused.stderr
    client("network", "prune", "-f")
    assert client("network", "ls", "-o", "name").stdout == ""


def test_what_has_no_network_of_its_own_joins_none(client: Client) -> None:
    client.apply(document("Network", "back", driver="none"), container("web"))
    before = client.process("web")
    for verb in ("connect", "disconnect"):
        refused = client("network", verb, "back", "web", check=False)
        assert refused.returncode == 1
        assert "container/web has no networks of its own: it is on the network none" in refused.stderr
    assert client.process("web") == before


def test_what_is_not_there_is_named(client: Client) -> None:
    client.apply(container("web"))
    for argv, said in (
        (("connect", "none-such", "web"), "there is no network/none-such"),
        (("connect", "none-such", "nobody"), "there is no container/nobody"),
        (("inspect", "none-such"), "there is no network/none-such"),
    ):
        refused = client("network", *argv, check=False)
        assert refused.returncode == 1
        assert said in refused.stderr


@pytest.fixture
def apart(machines: Machines, engine: Callable[..., Engine], images: Path) -> Client:
    """A client of an engine in a network namespace of its own: it makes bridges there."""
    return Client(engine(machines.host.prefix), "default")


def test_a_container_joins_and_leaves_networks_while_it_runs(apart: Client) -> None:
    back = document("Network", "back", subnets=["10.42.7.0/24"])
    documents = (
        back,
        document("Network", "front"),
        container("web", SERVE, networks=["front"]),
        container("db", networks=["back"]),
    )
    apart.apply(*documents)
    before = apart.process("web")

    apart("network", "connect", "--alias", "www", "--ip", "10.42.7.9", "back", "web")
    [found] = json.loads(apart("network", "inspect", "back").stdout)
    members = {one["name"]: one for one in found["containers"]}
    assert (found["subnets"], members["web"]["addresses"]) == (["10.42.7.0/24"], ["10.42.7.9"])
    assert members["web"]["aliases"] == ["www"]
    assert "10.42.7.9" in apart.inside("web", "ip -4 addr")
    # Without the right to ping, which is enough to see who is meant.
    assert "www (10.42.7.9)" in apart.inside("db", "ping -c1 www 2>&1 || true")
    assert "hello" in apart.inside("db", r"printf 'GET / HTTP/1.0\r\n\r\n' | nc 10.42.7.9 8080")
    assert "web (10.42.7.9)" in apart("network", "ls", "-o", "wide").stdout

    apart("network", "disconnect", "back", "web")
    assert "10.42.7.9" not in apart.inside("web", "ip -4 addr")
    apart("network", "connect", "back", "web")
    assert apart.process("web") == before
    planned = apart.plan(*documents)["Container/web"]
    assert {kind for kind, _, _ in planned.values()} == {"hot"}
    assert any(path.startswith("spec.networks") for path in planned)
    apart.apply(*documents)
    assert apart.plan(*documents) == {}
    assert apart.process("web") == before


def test_the_implied_network_is_joined_and_goes_with_its_last_user(apart: Client) -> None:
    apart.apply(document("Network", "front"), container("web", networks=["front"]))
    apart("network", "connect", "bridge", "web")
    assert sorted(apart("network", "ls", "-o", "name").stdout.split()) == ["bridge", "front"]
    apart("network", "disconnect", "bridge", "web")
    until(lambda: apart("network", "ls", "-o", "name").stdout.split() == ["front"], what="the bridge is gone")
