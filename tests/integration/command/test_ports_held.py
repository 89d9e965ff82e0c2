"""Published ports are the host's own: no program gets one of them, and none is robbed of one."""

import json
import os
import signal
import socket
from collections.abc import Callable

import pytest

from tests.engines import Engine
from tests.integration.command.client import Client, document
from tests.integration.command.outside import process, running, until
from tests.integration.command.test_bridge_networks import V6, fetch, get, got, server
from tests.machines import KINDS, TRANSPORTS, Machine, Machines

pytestmark = [pytest.mark.host, pytest.mark.timeout(180), pytest.mark.usefixtures("images")]


@pytest.fixture
def client(machines: Machines, engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> Client:
    """Of an engine that soon looks at everything again."""
    monkeypatch.setenv("LADING_RESYNC_SECONDS", "5")
    return Client(engine(machines.host.prefix), "default")


def binds(machine: Machine, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    """Whether another program could listen there."""

    def tried() -> bool:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ":" in address:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                made.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    made.listen()
            except OSError:
                return False
            return True

    return machine.run(tried)


def resolver(client: Client) -> int:
    [found] = running("names/process.py", str(client.engine.run_root))
    return found.pid


def test_no_program_gets_a_published_port_while_its_container_runs(client: Client, machines: Machines) -> None:
    host = machines.host
    ports = [f"8080:80/{protocol}" for protocol in TRANSPORTS] + ["127.0.0.1:8081:80", f"{host.ipv4}:8082:80"]
    client.apply(document("Network", "net", **V6), server("web", "net", ports=ports), server("four", ports=["8083:80"]))
    got(machines.lan, host.ipv4, 8080, "web")
    for kind in KINDS.values():
        for address in ("0.0.0.0", "127.0.0.1", "::", "::1", host.ipv4, host.ipv6):
            assert not binds(host, address, 8080, kind), (kind, address)
    for address, port in (("127.0.0.1", 8081), ("0.0.0.0", 8081), (host.ipv4, 8082), ("0.0.0.0", 8083), ("::", 8083)):
        assert not binds(host, address, port), (address, port)
    assert binds(host, host.ipv4, 8081), "which is not published there"
    for address in (host.ipv4, host.ipv6, "127.0.0.1", "::1"):
        got(host, address, 8080, "web")
    client("stop", "web")
    for kind in KINDS.values():
        assert binds(host, "0.0.0.0", 8080, kind), "as its rules, its ports are given back"
    client("start", "web")
    assert not binds(host, "0.0.0.0", 8080)
    client("delete", "container/web")
    assert binds(host, "0.0.0.0", 8080)


@pytest.mark.parametrize("protocol", TRANSPORTS)
def test_who_took_the_port_of_a_stopped_container_keeps_it(client: Client, machines: Machines, protocol: str) -> None:
    host = machines.host
    client.apply(server("web", ports=[f"8080:80/{protocol}"]))
    client("stop", "web")
    taken = host.serve(8080, address="127.0.0.1", protocol=protocol)  # type: ignore[arg-type]
    assert client("start", "web", "--timeout", "2s", check=False).returncode != 0
    described = client("describe", "container/web").stdout
    assert f"the host's port 8080/{protocol} is in use: " in described
    assert f"(pid {os.getpid()})" in described
    answered = host.ask("127.0.0.1", 8080, protocol)  # type: ignore[arg-type]
    assert answered is not None
    assert answered.server == "host", "and nothing is led away from it"
    assert "8080" not in host("nft", "list", "ruleset")
    taken.stop()
    until(lambda: client.phase("web") == "Running", within=40, what="the container gets its port back")
    assert not binds(host, "0.0.0.0", 8080, KINDS[protocol])  # type: ignore[index]


@pytest.mark.parametrize("end", ["killed", "shutdown"])
def test_ports_are_held_without_the_engine_and_again_after_the_resolver_was_killed(
    client: Client, machines: Machines, end: str
) -> None:
    host, lan = machines.host, machines.lan
    client.apply(document("Network", "net", **V6), server("web", "net", ports=["8080:80"]))
    got(lan, host.ipv4, 8080, "web")
    pid = client.engine.pid
    assert pid is not None
    if end == "killed":
        os.kill(pid, signal.SIGKILL)
    else:
        client("shutdown")
    until(lambda: process(pid) is None, what="the engine is gone")
    assert not binds(host, "0.0.0.0", 8080)
    host("nft", "flush", "ruleset")
    assert get(lan, host.ipv4, 8080) == "web", "its firewall is nobody else's, engine or no engine"
    address = client.status("web")["networks"]["net"]["addresses"][0].partition("/")[0]
    lan("ip", "route", "add", address, "via", host.ipv4)
    assert get(lan, address, 80, timeout=1) == ""
    os.kill(resolver(client), signal.SIGKILL)
    until(lambda: binds(host, "0.0.0.0", 8080), what="the resolver is dead")
    assert client("plan", "-f", "-", stdin=json.dumps(document("Network", "net", **V6))).returncode == 0
    until(lambda: not binds(host, "0.0.0.0", 8080), within=90, what="the port is held again")
    assert get(lan, host.ipv4, 8080) == "web"
    assert get(host, "::1", 8080) == "web"


def test_who_was_quicker_than_the_resolver_keeps_the_port(client: Client, machines: Machines) -> None:
    host, lan = machines.host, machines.lan
    client.apply(server("web", ports=["8080:80", "8081:80"]))
    before = client.process("web")
    got(lan, host.ipv4, 8080, "web")
    os.kill(resolver(client), signal.SIGKILL)
    until(lambda: binds(host, "127.0.0.1", 8080), what="the resolver is dead")
    taken = host.serve(8080)
    until(lambda: (host.ask("127.0.0.1", 8080) or ("",))[0] == "host", within=60, what="nothing shadows the program")
    got(lan, host.ipv4, 8081, "web")
    until(lambda: "is in use" in client("describe", "container/web").stdout, what="the container says so")
    assert client.process("web") == before
    taken.stop()
    until(lambda: get(lan, host.ipv4, 8080, timeout=1) == "web", within=60, what="the port is the container's again")
    assert client.process("web") == before


def test_a_host_without_ipv6_publishes_by_ipv4(client: Client, machines: Machines) -> None:
    host, lan = machines.host, machines.lan
    for at in ("all", "default", "lo"):
        host.set(f"net.ipv6.conf.{at}.disable_ipv6", 1)
    client.apply(server("web", ports=["8080:80", "127.0.0.1:8081:80"]))
    got(lan, host.ipv4, 8080, "web")
    got(host, "127.0.0.1", 8081, "web")
    assert not binds(host, "0.0.0.0", 8080)


def test_an_address_that_the_host_has_no_more_is_told(client: Client, machines: Machines) -> None:
    host = machines.host
    host("ip", "addr", "add", "198.51.100.7/32", "dev", "lo")
    client.apply(server("web", ports=["198.51.100.7:8080:80"]))
    client("stop", "web")
    host("ip", "addr", "del", "198.51.100.7/32", "dev", "lo")
    assert client("start", "web", "--timeout", "2s", check=False).returncode != 0
    assert "the host has no such address" in client("describe", "container/web").stdout
    host("ip", "addr", "add", "198.51.100.7/32", "dev", "lo")
    until(lambda: client.phase("web") == "Running", within=40, what="it has it now")
    machines.lan("ip", "route", "add", "198.51.100.7/32", "via", host.ipv4)
    got(machines.lan, "198.51.100.7", 8080, "web")


def test_containers_that_change_ports_with_each_other(client: Client, machines: Machines) -> None:
    client.apply(server("one", ports=["8080:80"]), server("two", ports=["8081:80"]))
    client.apply(server("one", ports=["8081:80"]), server("two", ports=["8080:80"]))
    for port, name in ((8081, "one"), (8080, "two")):
        got(machines.lan, machines.host.ipv4, port, name)
    assert fetch(client, "one", f"http://{machines.host.ipv4}:8080/") == "two"


def test_nothing_is_left_of_an_instance_without_containers(client: Client, machines: Machines) -> None:
    client.apply(document("Network", "net", **V6), server("web", "net", ports=["8080:80"]))
    client("delete", "container/web")
    client("delete", "network/net")
    client("shutdown")
    until(lambda: not running("names/process.py", str(client.engine.run_root)), what="the resolver has ended")
    assert machines.host.made() == []
