"""Addresses and subnets that change hands between running containers, in one apply of a whole engine; and what is done to their
links and networks by others, and put back. Their processes are never touched."""

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from drivers.kernel.namespaces import Namespace, run_in
from drivers.network.netlink.links import list_links
from drivers.network.netlink.messages import Netlink
from drivers.network.netlink.routes import addresses_of
from resources.errors import NotFound
from tests.engines import Engine
from tests.integration.command.client import Client, Document, container, document
from tests.integration.command.outside import Process, process, until
from tests.machines import Machine, Machines

pytestmark = [pytest.mark.host, pytest.mark.timeout(180), pytest.mark.usefixtures("images")]
NET = document("Network", "net", subnets=["10.77.0.0/24"])
ADMIN = {"security": {"capabilities": {"add": ["NET_ADMIN"]}}}


@pytest.fixture
def client(machines: Machines, engine: Callable[..., Engine]) -> Client:
    return Client(engine(machines.host.prefix), "default")


def server(name: str, *networks: Any, **spec: Any) -> Document:
    """A web server that answers with its name."""
    script = f"mkdir /w; echo {name} >/w/index.html; exec httpd -f -p 80 -h /w"
    return container(name, script, networks=list(networks), **spec)


def at(number: int, network: str = "net", subnet: str = "10.77.0") -> dict[str, str]:
    return {"name": network, "ipv4": f"{subnet}.{number}"}


def address(client: Client, name: str, network: str = "net") -> str:
    """ "" while it has none, or an engine that has just begun has not looked."""
    attached = client.status(name).get("networks", {}).get(network, {})
    return ", ".join(attached.get("addresses", []))


def fetch(client: Client, name: str, url: str) -> str:
    found = client("exec", name, "--", "timeout", "3", "wget", "-q", "-O-", url, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""


def entered(one: Process, *command: str) -> tuple[str, ...]:
    return ("nsenter", f"--net=/proc/{one.pid}/ns/net", "--", *command)


@contextmanager
def watched(ones: Sequence[Process]) -> Iterator[list[Counter[str]]]:
    """Look again and again at the addresses of all their links; what was seen at two at once."""
    twice: list[Counter[str]] = []
    over = threading.Event()
    namespaces = [os.open(f"/proc/{one.pid}/ns/net", os.O_RDONLY) for one in ones]

    def look() -> list[str]:
        with Netlink() as kernel:
            found: list[str] = []
            for link in list_links(kernel, kind="veth"):
                with suppress(NotFound):  # it is gone by now
                    found += [one.value.partition("/")[0] for one in addresses_of(kernel, link.index)]
            return found

    def watch() -> None:
        while not over.wait(0.001):
            # Seen where it came before it was seen where it went is no proof: look where it may be twice, once more.
            seen = [set(run_in(fd, Namespace.NETWORK, look)) for fd in namespaces]
            again = [set(run_in(fd, Namespace.NETWORK, look)) for fd in reversed(namespaces)][::-1]
            counted = Counter(value for one, other in zip(seen, again, strict=True) for value in one & other)
            found = Counter({v: n for v, n in counted.items() if n > 1 and ":" not in v})
            twice.extend([found] if found else [])

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield twice
        finally:
            over.set()
            watching.exception()
            for fd in namespaces:
                os.close(fd)
        watching.result()  # it has looked to the end


def swap(client: Client, before: Sequence[Document], after: Sequence[Document], seconds: float = 8) -> None:
    """Apply one and then the other; no process is touched, and no address ever at two links."""
    client.apply(*before)
    names = [one["metadata"]["name"] for one in after if one["kind"] == "Container"]
    ones = [client.process(name) for name in names]
    plan = client.plan(*after)
    assert plan
    assert {kind for fields in plan.values() for kind, _, _ in fields.values()} == {"hot"}
    with watched(ones) as twice:
        begin = time.monotonic()
        client.apply(*after)
        took = time.monotonic() - begin
    assert [client.process(name) for name in names] == ones
    assert twice == []
    assert took < seconds
    assert client.apply(*after) == "nothing to change\n"
    assert client("plan", "-f", "-", "--exit-code=drift", stdin=json.dumps(after[0]), check=False).returncode == 0


def test_two_exchange_their_addresses(client: Client, machines: Machines) -> None:
    one, two = {"ports": ["8081:80"]}, {"ports": ["8082:80"]}
    swap(
        client,
        [NET, server("one", at(5), **one), server("two", at(6), **two)],
        [NET, server("one", at(6), **one), server("two", at(5), **two)],
    )
    assert (address(client, "one"), address(client, "two")) == ("10.77.0.6", "10.77.0.5")
    assert fetch(client, "one", "http://10.77.0.5/") == fetch(client, "one", "http://two/") == "two"
    assert fetch(client, "two", "http://10.77.0.6/") == fetch(client, "two", "http://one/") == "one"
    for port, name in ((8081, "one"), (8082, "two")):
        got = machines.lan("curl", "-s", "--max-time", "3", f"http://{machines.host.ipv4}:{port}/", check=False)
        assert got.strip() == name


def test_three_in_a_ring(client: Client, machines: Machines) -> None:
    names = ("one", "two", "three")
    swap(
        client,
        [NET, *(server(name, at(5 + number)) for number, name in enumerate(names))],
        [NET, *(server(name, at(5 + (number + 1) % 3)) for number, name in enumerate(names))],
    )
    assert [address(client, name) for name in names] == ["10.77.0.6", "10.77.0.7", "10.77.0.5"]
    assert fetch(client, "one", "http://10.77.0.7/") == "two"


def test_two_networks_exchange_their_subnets(client: Client, machines: Machines) -> None:
    def networks(red: str, blue: str) -> list[Document]:
        return [document("Network", "red", subnets=[red]), document("Network", "blue", subnets=[blue])]

    both = [server("one", "red"), server("two", "blue"), server("both", "red", "blue", ports=["8080:80"])]
    swap(
        client,
        [*networks("10.77.0.0/24", "10.78.0.0/24"), *both],
        [*networks("10.78.0.0/24", "10.77.0.0/24"), *both],
        seconds=12,
    )
    assert address(client, "one", "red").startswith("10.78.0.")
    assert address(client, "two", "blue").startswith("10.77.0.")
    assert fetch(client, "both", f"http://{address(client, 'one', 'red')}/") == "one"
    assert fetch(client, "both", "http://two/") == "two"
    assert fetch(client, "one", "http://two/") == ""
    got = machines.lan("curl", "-s", "--max-time", "3", f"http://{machines.host.ipv4}:8080/", check=False)
    assert got.strip() == "both"


@pytest.mark.parametrize("after", [0.02, 0.06, 0.12, 0.25])
def test_the_engine_dies_in_the_middle(client: Client, machines: Machines, after: float) -> None:
    client.apply(NET, server("one", at(5)), server("two", at(6)))
    ones = [client.process("one"), client.process("two")]
    client.apply(NET, server("one", at(6)), server("two", at(5)), flags=("--no-wait",))
    time.sleep(after)
    pid = client.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: process(pid) is None, what="the engine is dead")
    assert client("get", "container").returncode == 0
    until(lambda: (address(client, "one"), address(client, "two")) == ("10.77.0.6", "10.77.0.5"), within=20)
    assert [client.process("one"), client.process("two")] == ones
    until(lambda: fetch(client, "one", "http://10.77.0.5/") == "two")


def test_lost_records_of_networks_are_no_reason_to_wait(client: Client, machines: Machines) -> None:
    client.apply(NET, server("one", at(5)), server("two", at(6)))
    one = client.process("one")
    shutil.rmtree(client.engine.run_root / "networks")
    for link in links(machines.host):
        machines.host("ip", "link", "delete", link)
    begin = time.monotonic()
    client.apply(
        document("Network", "net", subnets=["10.77.0.0/24"], mtu=1400), server("one", at(5)), server("two", at(6))
    )
    until(lambda: fetch(client, "one", "http://10.77.0.6/") == "two", within=20)
    assert time.monotonic() - begin < 8
    assert client.process("one") == one


def links(machine: Machine) -> list[str]:
    return [one["ifname"] for one in json.loads(machine("ip", "-j", "link")) if one["ifname"].startswith("ld")]


def mended(client: Client) -> None:
    """What the next resync would find, found now."""
    pid = client.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: process(pid) is None, what="the engine is dead")
    assert client("get", "container").returncode == 0


def test_a_renamed_interface_is_called_as_before(client: Client, machines: Machines) -> None:
    client.apply(NET, server("one", at(5)), server("two", at(6), **ADMIN))
    ones = [client.process("one"), client.process("two")]
    for one in ones:
        machines.host(*entered(one, "ip", "link", "set", "eth0", "name", "foo"))
    mended(client)
    until(lambda: "eth0" in client.inside("one", "ip -o link"), what="it is mended")
    assert "default via 10.77.0.1 dev eth0" in client.inside("one", "ip route")
    told = "endpoint.net.interface.name is 'foo' on the host"
    until(lambda: told in client("events").stdout, what="it is told")
    assert "foo" in client.inside("two", "ip -o link")
    assert [client.process("one"), client.process("two")] == ones


def test_the_mtu_of_another_uplink_is_taken(client: Client, machines: Machines) -> None:
    client.apply(NET, server("one", at(5)))
    one = client.process("one")
    assert "mtu 1500" in client.inside("one", "ip link show eth0")
    machines.host("ip", "link", "set", "up0", "mtu", "1400")
    mended(client)
    until(lambda: "mtu 1400" in client.inside("one", "ip link show eth0"), what="it has the MTU of the uplink")
    assert client.process("one") == one


def test_a_flushed_loopback_is_whole_after_a_restart(client: Client, machines: Machines) -> None:
    client.apply(NET, server("one", at(5), **ADMIN))
    machines.host(*entered(client.process("one"), "ip", "address", "flush", "dev", "lo"))
    client("restart", "one")
    client.process("one")
    found = client.inside("one", "ip address show lo")
    assert "127.0.0.1/8" in found
    assert "::1/128" in found
    assert fetch(client, "one", "http://127.0.0.1/") == "one"
