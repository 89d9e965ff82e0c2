"""Networks, names and ports of a real engine on a machine of its own, looked at from other machines on the wire."""

import ipaddress
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.kernel.namespaces import Namespace, run_in
from tests.engines import Engine
from tests.integration.command.client import Client, Document, container, document
from tests.integration.command.outside import process, until
from tests.machines import Machine, Machines

pytestmark = [pytest.mark.host, pytest.mark.timeout(180), pytest.mark.usefixtures("images")]
V6 = {"subnets": ["10.77.0.0/24", "fd00:77::/64"]}


@pytest.fixture
def client(machines: Machines, engine: Callable[..., Engine]) -> Client:
    return Client(engine(machines.host.prefix), "default")


def server(name: str, *networks: Any, **spec: Any) -> Document:
    """A web server that answers with its name."""
    script = f"mkdir /w; echo {name} >/w/index.html; exec httpd -f -p 80 -h /w"
    return container(name, script, networks=list(networks) or ["bridge"], **spec)


def get(machine: Machine, address: str, port: int, timeout: float = 3) -> str:
    """What a web server says; "" when there is none, or no way to it."""
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{port}/"
    words = ("curl", "-s", "--max-time", str(timeout), "--retry", "0", url)
    return machine(*words, check=False).strip()


def got(machine: Machine, address: str, port: int, text: str) -> None:
    until(lambda: get(machine, address, port) == text, what=f"{address}:{port} answers {text}")


def addresses(client: Client, name: str, network: str) -> list[str]:
    return [one.partition("/")[0] for one in client.status(name)["networks"][network]["addresses"]]


def fetch(client: Client, name: str, url: str) -> str:
    """What a container gets of a web server."""
    found = client("exec", name, "--", "timeout", "2", "wget", "-q", "-O-", url, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""


def links(machine: Machine) -> list[str]:
    return [one["ifname"] for one in json.loads(machine("ip", "-j", "link")) if one["ifname"].startswith("ld")]


def test_the_network_nobody_declares_comes_with_its_first_user_and_goes_with_its_last(
    client: Client, machines: Machines
) -> None:
    client.apply(server("one"), server("two"))
    assert client("get", "network", "-o", "name").stdout == "network/bridge\n"
    assert fetch(client, "one", "http://two/") == "two"
    assert fetch(client, "two", f"http://{addresses(client, 'one', 'bridge')[0]}/") == "one"
    assert client.apply(server("one"), server("two")) == "nothing to change\n"
    client("delete", "container/one")
    assert client("get", "network", "-o", "name").stdout == "network/bridge\n"
    client("delete", "container/two")
    until(lambda: client("get", "network", "-o", "name").stdout == "", what="the network is gone")
    assert links(machines.host) == []


def test_a_published_port_is_reached_from_everywhere(client: Client, machines: Machines) -> None:
    host, lan = machines.host, machines.lan
    client.apply(document("Network", "net", **V6), server("web", "net", ports=["8080:80"]), server("other", "net"))
    for machine, address in (
        (lan, host.ipv4), (lan, host.ipv6), (host, host.ipv4), (host, host.ipv6), (host, "127.0.0.1"), (host, "::1"),
    ):  # fmt: skip
        got(machine, address, 8080, "web")
    for name in ("web", "other"):
        assert fetch(client, name, f"http://{host.ipv4}:8080/") == "web", name
    client.apply(document("Network", "net", **V6), server("web", "net"), server("other", "net"))
    for address in (host.ipv4, host.ipv6):
        assert get(lan, address, 8080, timeout=1) == ""


def test_an_ipv4_container_is_reached_by_ipv6_too(client: Client, machines: Machines) -> None:
    client.apply(server("web", ports=["8080:80"]))
    for machine, address in ((machines.lan, machines.host.ipv6), (machines.host, "::1"), (machines.host, "127.0.0.1")):
        got(machine, address, 8080, "web")


def test_a_port_at_localhost_is_the_hosts_alone(client: Client, machines: Machines) -> None:
    host, lan = machines.host, machines.lan
    client.apply(
        server("web", ports=["127.0.0.1:8080:80", "127.0.0.2:8081:80", "[::1]:8082:80", f"{host.ipv4}:8083:80"]),
        document("Network", "apart"),
        server("other", "apart"),
    )
    got(host, "127.0.0.1", 8080, "web")
    got(host, "127.0.0.2", 8081, "web")
    got(host, "::1", 8082, "web")
    got(lan, host.ipv4, 8083, "web")
    lan("ip", "route", "add", "127.0.0.2/32", "via", host.ipv4)
    for port in (8080, 8081, 8082):
        assert get(lan, host.ipv4, port, timeout=1) == ""
        assert fetch(client, "other", f"http://{host.ipv4}:{port}/") == ""
    assert get(host, "127.0.0.1", 8083, timeout=1) == ""


def test_what_is_not_published_is_not_reached_by_a_route_either(client: Client, machines: Machines) -> None:
    host, lan = machines.host, machines.lan
    client.apply(document("Network", "net", **V6), server("web", "net", ports=["8080:80"]))
    got(lan, host.ipv4, 8080, "web")
    for family, address, via in zip(("-4", "-6"), addresses(client, "web", "net"), (host.ipv4, host.ipv6), strict=True):
        lan("ip", family, "route", "add", address, "via", via)
        assert get(lan, address, 80, timeout=1) == ""
        assert get(host, address, 80) == "web"
        assert not lan.ping(address, timeout=1)


def test_networks_do_not_reach_each_other_nor_the_hosts_loopback(client: Client, machines: Machines) -> None:
    host = machines.host
    client.apply(
        document("Network", "red", **V6), document("Network", "blue", subnets=["10.78.0.0/24", "fd00:78::/64"]),
        server("red", "red", ports=["8080:80"]), server("blue", "blue"), server("both", "red", "blue"),
    )  # fmt: skip
    host.serve(9000, address="127.0.0.1")
    for address in addresses(client, "red", "red"):
        shown = f"[{address}]" if ":" in address else address
        assert fetch(client, "blue", f"http://{shown}/") == ""
        assert fetch(client, "both", f"http://{shown}/") == "red"
    assert fetch(client, "blue", "http://red/") == ""
    assert fetch(client, "blue", f"http://{host.ipv4}:8080/") == "red"
    assert fetch(client, "both", "http://blue/") == "blue"
    gateway = str(next(ipaddress.ip_network("10.77.0.0/24").hosts()))
    for address in (host.ipv4, gateway, "127.0.0.1"):
        assert fetch(client, "red", f"http://{address}:9000/") == ""


def test_containers_reach_out_but_for_those_on_internal_networks(client: Client, machines: Machines) -> None:
    lan = machines.lan
    client.apply(
        document("Network", "net", **V6), document("Network", "inner", internal=True),
        server("out", "net"), server("in", "inner"), server("in2", "inner"),
    )  # fmt: skip
    lan.serve(80)
    for address in (lan.ipv4, lan.ipv6):
        shown = f"[{address}]" if ":" in address else address
        for name, reached in (("out", True), ("in", False)):
            command = f"echo | nc -w 1 {shown.strip('[]')} 80"
            assert bool(client("exec", name, "--", "sh", "-c", command, check=False).stdout) == reached, (name, shown)
    assert fetch(client, "in", "http://in2/") == "in2"
    assert client.inside("in", "ip route").count("default") == 0


def test_networks_and_ports_come_and_go_while_a_container_runs(client: Client, machines: Machines) -> None:
    host, lan = machines.host, machines.lan
    networks = (document("Network", "red", **V6), document("Network", "blue"))
    client.apply(*networks, server("web", "red"), server("peer", "blue"))
    before = client.process("web")
    changed = (
        *networks,
        server("web", "red", {"name": "blue", "aliases": ["api"]}, ports=["8080:80"]),
        server("peer", "blue"),
    )
    assert {kind for kind, _, _ in client.plan(*changed)["Container/web"].values()} == {"hot"}
    client.apply(*changed)
    got(lan, host.ipv4, 8080, "web")
    assert fetch(client, "peer", "http://api/") == "web"
    assert fetch(client, "web", "http://peer/") == "peer"
    client.apply(*networks, server("web", "blue"), server("peer", "blue"))
    assert fetch(client, "peer", "http://web/") == "web"
    assert fetch(client, "peer", "http://api/") == ""
    assert get(lan, host.ipv4, 8080, timeout=1) == ""
    assert "10.77.0." not in client.inside("web", "ip addr")
    client("network", "connect", "red", "web")
    assert "10.77.0." in client.inside("web", "ip addr")
    assert "spec.networks" in str(client.plan(*networks, server("web", "blue"))["Container/web"])
    client("network", "disconnect", "red", "web")
    assert "10.77.0." not in client.inside("web", "ip addr")
    assert client.process("web") == before


def test_addresses_macs_and_mtu_are_as_written(client: Client, machines: Machines) -> None:
    fixed = {"name": "net", "ipv4": "10.77.0.9", "ipv6": "fd00:77::9", "mac": "02:42:00:00:00:09"}
    client.apply(document("Network", "net", mtu=1400, **V6), server("web", fixed))
    shown = client.inside("web", "ip addr show eth0")
    assert "inet 10.77.0.9/24" in shown
    assert "inet6 fd00:77::9/64" in shown
    assert "fe80" not in client.inside("web", "ip -6 addr show eth0 scope global")
    assert "02:42:00:00:00:09" in shown
    assert "mtu 1400" in shown
    client.apply(document("Network", "net", mtu=1300, **V6), server("web", fixed))
    assert "mtu 1300" in client.inside("web", "ip addr show eth0")


def test_names_and_addresses_inside(client: Client, machines: Machines) -> None:
    client.apply(document("Network", "net", **V6), server("web", "net", hostname="inside"), server("other", "net"))
    four, six = addresses(client, "web", "net")
    assert client.inside("web", "cat /etc/resolv.conf").splitlines()[0] == "nameserver 127.0.0.11"
    hosts = [line.split() for line in client.inside("web", "cat /etc/hosts").splitlines()]
    assert [four, "inside"] in hosts
    assert [six, "inside"] in hosts
    found = client.inside("other", "nslookup web")
    assert four in found
    assert six in found
    assert "web" in client.inside("other", f"nslookup {four}")


def test_a_containers_network_is_shared_with_another(client: Client, machines: Machines) -> None:
    web = server("web", ports=["8080:80"])
    side = container("side", networks=[{"container": "web"}], dependsOn=["web"])
    client.apply(web, side)
    assert fetch(client, "side", "http://127.0.0.1/") == "web"
    assert client.process("web").namespace("net") == client.process("side").namespace("net")
    refused = client("delete", "container/web", check=False)
    assert refused.returncode == 1
    assert "container/side" in refused.stderr
    again = server("web", ports=["8080:80"], env={"A": "1"})
    client.apply(again, side)
    assert client.process("web").namespace("net") == client.process("side").namespace("net")
    assert fetch(client, "side", "http://127.0.0.1/") == "web"


def test_a_free_port_of_the_host_stays_the_same(client: Client, machines: Machines) -> None:
    client.apply(server("web", ports=["80"]))
    [port] = {one["host"] for one in client.status("web")["ports"]}
    got(machines.lan, machines.host.ipv4, port, "web")
    client("stop", "web")
    assert get(machines.lan, machines.host.ipv4, port, timeout=1) == ""
    client("start", "web")
    assert {one["host"] for one in client.status("web")["ports"]} == {port}
    got(machines.lan, machines.host.ipv4, port, "web")


def test_conflicts_are_told_where_they_stand_and_change_nothing(
    client: Client, machines: Machines, tmp_path: Path
) -> None:
    machines.host.serve(9999)
    client.apply(server("web", ports=["8080:80"]))
    before = client("get", "all", "-o", "json").stdout
    for ports, said in (
        (["8080:80"], "the host's port 8080/tcp belongs to container/web already"),
        (["127.0.0.1:8080:80"], "the host's port 8080/tcp belongs to container/web already"),
        (
            ["9999:80"],
            f"the host's port 9999/tcp is in use: {Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})",
        ),
    ):
        file = tmp_path / "other.yaml"
        file.write_text(json.dumps(server("other", ports=ports)))
        for verb in ("plan", "apply"):
            refused = client(verb, "-f", file, check=False)
            assert refused.returncode == 1
            assert f"{file}:1:" in refused.stderr
            assert said in refused.stderr
    assert client("get", "all", "-o", "json").stdout == before


def test_ranges_and_udp(client: Client, machines: Machines) -> None:
    host, lan = machines.host, machines.lan
    client.apply(server("web", ports=["8000-8019:80-99", "5353:53/udp"]))
    got(lan, host.ipv4, 8000, "web")
    assert "8019" in host("nft", "list", "ruleset")
    namespace = os.open(f"/proc/{client.process('web').pid}/ns/net", os.O_RDONLY)
    try:
        inside = run_in(namespace, Namespace.NETWORK, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    finally:
        os.close(namespace)
    with inside, lan.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as outside:
        inside.bind(("", 53))
        for link in (inside, outside):
            link.settimeout(3)
        outside.connect((host.ipv4, 5353))
        outside.send(b"hello")
        asked, peer = inside.recvfrom(100)
        assert (asked, peer[0]) == (b"hello", lan.ipv4)
        inside.sendto(b"well", peer)
        assert outside.recv(100) == b"well"


def ruleset(machine: Machine) -> str:
    """Without who holds the table at the moment."""
    return re.sub(r" # progname \S+", "", machine("nft", "list", "ruleset"))


def test_everything_goes_on_without_the_engine_and_is_the_same_after(client: Client, machines: Machines) -> None:
    host, lan = machines.host, machines.lan
    net = document("Network", "net", **V6)
    client.apply(net, server("web", "net", ports=["8080:80", "80"]), server("other", "net"))
    before, ports = addresses(client, "web", "net"), client.status("web")["ports"]
    one, rules = client.process("web"), ruleset(host)
    pid = client.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: process(pid) is None, what="the engine is dead")
    for address in (host.ipv4, host.ipv6):
        assert get(lan, address, 8080) == "web"
    assert get(host, "::1", 8080) == "web"
    assert client("plan", "-f", "-", "--exit-code=drift", stdin=json.dumps(net), check=False).returncode == 0
    assert addresses(client, "web", "net") == before
    assert client.status("web")["ports"] == ports
    assert fetch(client, "other", "http://web/") == "web"
    assert client.process("web") == one
    assert ruleset(host) == rules


def test_eight_clients_at_once_never_share_an_address(client: Client, machines: Machines) -> None:
    client.apply(document("Network", "net", subnets=["10.77.0.0/26"]))
    failures: list[str] = []

    def work(number: int) -> None:
        for turn in range(3):
            name = f"c{number}-{turn}"
            made = client("apply", "-f", "-", stdin=json.dumps(one(name)), check=False)
            failures.extend([made.stderr] if made.returncode else [])

    def one(name: str) -> Document:
        return container(name, image={"name": "bb"}, networks=["net"])

    client.apply(document("Network", "net", subnets=["10.77.0.0/26"]))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    held = [addresses(client, f"c{number}-{turn}", "net")[0] for number in range(8) for turn in range(3)]
    assert len(set(held)) == 24


def test_a_full_network_says_so_and_has_room_when_one_goes(client: Client, machines: Machines) -> None:
    small = document("Network", "small", subnets=["10.77.0.0/29"])
    client.apply(small, *(container(f"c{n}", networks=["small"]) for n in range(5)))
    more = container("more", networks=["small"])
    refused = client("apply", "-f", "-", stdin=json.dumps(more), check=False)
    assert refused.returncode == 1
    assert "no address left in 10.77.0.0/29" in refused.stderr
    client("delete", "container/c0")
    client.apply(more)
    assert len({addresses(client, name, "small")[0] for name in ("c1", "c2", "c3", "c4", "more")}) == 5
