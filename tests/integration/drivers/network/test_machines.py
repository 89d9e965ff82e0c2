"""The machines that tests of networks are made of."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.machines import Answer, Machines

pytestmark = pytest.mark.host


def test_machines_on_one_wire_reach_each_other(machines: Machines) -> None:
    host, lan = machines.host, machines.lan
    for protocol in ("tcp", "udp"):
        host.serve(80, protocol=protocol)
        assert lan.ask(host.ipv4, 80, protocol) == Answer("host", lan.ipv4)
        assert lan.ask(host.ipv6, 80, protocol) == Answer("host", lan.ipv6)
        assert host.ask("127.0.0.1", 80, protocol) == Answer("host", "127.0.0.1")
        assert lan.ask(host.ipv4, 81, protocol) is None
    for address in (host.ipv4, host.ipv6):
        assert lan.ping(address)
    assert not lan.ping("192.0.2.99", 0.2)
    with lan.connect(host.ipv4, 80, source=(lan.ipv4, 5555)) as connection:
        assert connection.ask() == connection.ask() == Answer("host", lan.ipv4)


def test_a_machine_more_is_apart_until_it_has_a_cable(machines: Machines) -> None:
    third, box = machines.add("third"), machines.add("box", wired=False)
    assert machines.lan.ping(third.ipv4)
    machines.veth(machines.host, "v0", box, "eth0")
    machines.host("ip", "addr", "add", "10.9.0.1/24", "dev", "v0")
    box("ip", "addr", "add", "10.9.0.2/24", "dev", "eth0")
    box.serve(1, 2)
    assert machines.host.ask("10.9.0.2", 2) == Answer("box", "10.9.0.1")
    machines.host.set("net.ipv4.ip_forward", 1)
    assert box("cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"
    assert box.start("sleep", "100").poll() is None


def test_a_whole_engine_runs_on_one(machines: Machines, engine: Callable[..., Engine]) -> None:
    there = engine(machines.host.prefix)
    there("get", "containers")
    assert there.pid is not None
    assert machines.host.made() == []
    machines.host("nft", "add", "table", "inet", "theirs")
    machines.host("ip", "link", "add", "theirs", "type", "bridge")
    assert machines.host.made() == ["theirs", "table inet theirs"]
    assert Path(f"/proc/{there.pid}/ns/net").stat().st_ino == machines.host.path.stat().st_ino
