"""Short forms stand for long ones; what comes of them keeps its place."""

from typing import Any

import pytest

from manifests.node import ListNode, MapNode, Node
from manifests.normalize import Normalizer
from manifests.parse import parse
from manifests.problems import Report
from manifests.shapes import form
from resources.container import ContainerSpec
from resources.network import NetworkSpec


def normal(text: str, model: Any = ContainerSpec) -> tuple[Any, list[str]]:
    nodes, problems = parse("m.yaml", text)
    assert problems == []
    report = Report()
    node = Normalizer(report).normalize(nodes[0], form(model), ("spec",))
    return plain(node), [str(problem) for problem in report.problems]


def plain(node: Node) -> Any:
    if isinstance(node, MapNode):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    return [plain(item) for item in node.items] if isinstance(node, ListNode) else node.value


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("networks: [host]", {"networks": [{"name": "host"}]}),
        ("networks: [a, {name: b, aliases: [c]}]", {"networks": [{"name": "a"}, {"name": "b", "aliases": ["c"]}]}),
        ("dependsOn: [a, {container: b}]", {"dependsOn": [{"container": "a"}, {"container": "b"}]}),
        ("restart: always", {"restart": {"policy": "always"}}),
        ("restart: {policy: always}", {"restart": {"policy": "always"}}),
        ("health: none", {"health": "none"}),
        ("image: nginx", {"image": "nginx"}),
    ],
)
def test_of_a_container(written: str, expected: Any) -> None:
    assert normal(written) == (expected, [])


def test_subnets() -> None:
    found = normal('subnets: [10.42.0.0/24, {subnet: "fd00:42::/64"}]', NetworkSpec)
    assert found == ({"subnets": [{"subnet": "10.42.0.0/24"}, {"subnet": "fd00:42::/64"}]}, [])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"8080:80"', [{"container": 80, "host": 8080}]),
        ("8080:80", [{"container": 80, "host": 8080}]),
        ("22:22", [{"container": 22, "host": 22}]),
        ('"80"', [{"container": 80}]),
        ("80", [{"container": 80}]),
        ("53/udp", [{"container": 53, "protocol": "udp"}]),
        ("80-81", [{"container": 80}, {"container": 81}]),
        ('"8000-8001:80-81"', [{"container": 80, "host": 8000}, {"container": 81, "host": 8001}]),
        ('"127.0.0.1:5353:53/udp"', [{"container": 53, "host": 5353, "address": "127.0.0.1", "protocol": "udp"}]),
        ('"127.0.0.1::53"', [{"container": 53, "address": "127.0.0.1"}]),
        ('"[::1]:8443:443"', [{"container": 443, "host": 8443, "address": "::1"}]),
        ('"[::1]:8443:443/TCP"', [{"container": 443, "host": 8443, "address": "::1", "protocol": "tcp"}]),
        ("{container: 443, host: 8443}", [{"container": 443, "host": 8443}]),
    ],
)
def test_ports(written: str, expected: Any) -> None:
    assert normal(f"ports: [{written}]") == ({"ports": expected}, [])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"8000-8009:80"', "10 ports of the host cannot stand for 1 of the container"),
        ('"8000:80-81"', "1 ports of the host cannot stand for 2 of the container"),
        ('"90-80"', "the range 90-80 runs backwards"),
        ('"0-1:80-81"', "0 is not a port; there are 1 to 65535"),
        ('"0:80/udp"', "'0:80/udp': 0 is no port; for a free one of the host write \"80/udp\""),
        ('"127.0.0.1:0:80"', 'for a free one of the host write "127.0.0.1::80"'),
        ('"[::1]:0:80"', 'for a free one of the host write "[::1]::80"'),
        ('"127.0.0.1:80"', '53/udp"; "127.0.0.1::80" asks for a free port of the host at this address'),
        ('"[::1]:80-81"', '"[::1]::80-81" asks for a free port'),
        ('"localhost:8080:80"', '; write "127.0.0.1:8080:80"'),
        ('"localhost:80/udp"', '; write "127.0.0.1::80/udp"'),
        ('"web.example:80:80"', "; an address of the host stands before its port, never a name"),
        ('"65536"', "65536 is not a port; there are 1 to 65535"),
        ('"-80:80"', "a range has a beginning"),
        ('"localhost:80:80"', "'localhost:80:80' is not a port such as"),
        ('"::1:80:80"', "is not a port such as"),
        ('"80:80:80:80"', "is not a port such as"),
        ('"٨٠"', "is not a port such as"),
        ('""', "'' is not a port such as"),
    ],
)
def test_wrong_ports(written: str, expected: str) -> None:
    _, problems = normal(f"ports: [{written}]")
    assert len(problems) == 1
    assert problems[0].startswith("m.yaml:1:9: spec.ports[0]: ")
    assert expected in problems[0]


def test_ranges_are_bounded_over_all() -> None:
    found, problems = normal("ports: [" + ", ".join(['"1-65535"'] * 50) + "]")
    assert len(found["ports"]) <= 70_000
    assert "the ranges stand for more than 70000 ports" in problems[0]


def test_what_comes_of_a_short_form_stands_where_it_was_written() -> None:
    nodes, _ = parse("m.yaml", "ports:\n  - '80-81'\n  - '90'")
    node = Normalizer(Report()).normalize(nodes[0], form(ContainerSpec), ("spec",))
    assert isinstance(node, MapNode)
    ports = node.get("ports")
    assert isinstance(ports, ListNode)
    assert [item.position.line for item in ports.items] == [2, 2, 3]


@pytest.mark.parametrize(
    "written", ["networks: [1]", "networks: host", "ports: {a: b}", "restart: [x]", "nothing: 1", "env: {}"]
)
def test_what_does_not_fit_is_left_for_the_decoder(written: str) -> None:
    nodes, _ = parse("m.yaml", written)
    found, problems = normal(written)
    assert (found, problems) == (plain(nodes[0]), [])
