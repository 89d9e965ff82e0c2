"""The resolver process, in network namespaces of the test: what is asked in sandboxes, and what it answers itself."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.network.names.interface import NAME_SERVER, MemberNames, SandboxNames
from tests.integration.drivers.network.resolving import (
    AAAA,
    PTR,
    World,
    wire_name,
    world,
)

pytestmark = pytest.mark.host
FRONT, BACK = "n-front", "n-back"
NOERROR, NXDOMAIN = 0, 3


@pytest.fixture
def net(short_path: Path, instance: str) -> Iterator[World]:
    with world(short_path, instance) as made:
        yield made


def test_names_of_two_networks(net: World) -> None:
    web = net.sandbox(
        1,
        MemberNames(FRONT, ("web", "shop.example"), ("10.0.1.2", "fd00::2")),
        MemberNames(BACK, ("web",), ("10.0.2.2",)),
    )
    db = net.sandbox(2, MemberNames(BACK, ("db", "store"), ("10.0.2.3",)))
    db2 = net.sandbox(3, MemberNames(BACK, ("db2", "store"), ("10.0.2.4",)))
    other = net.sandbox(4, MemberNames(FRONT, ("other",), ("10.0.1.9",)), forward=False)

    assert net.ask(web, "db").addresses == ["10.0.2.3"]
    assert net.ask(web, "db").records[0][1] == 5
    assert net.ask(web, "store").addresses == ["10.0.2.3", "10.0.2.4"]
    assert net.ask(db, "web").addresses == ["10.0.2.2"]
    assert net.ask(other, "web").addresses == ["10.0.1.2"]
    assert net.ask(other, "web", AAAA).addresses == ["fd00::2"]
    assert net.ask(other, "shop.example", tcp=True).addresses == ["10.0.1.2"]
    assert net.ask(other, "db").rcode == NXDOMAIN
    empty = net.ask(web, "db", AAAA)
    assert (empty.rcode, empty.records) == (NOERROR, [])
    spelled = net.ask(db2, "WeB")
    assert spelled.addresses == ["10.0.2.2"]
    assert spelled.name == wire_name("WeB")
    reverse = net.ask(other, "2.1.0.10.in-addr.arpa", PTR)
    assert reverse.records == [(PTR, 5, wire_name("web"))]
    assert net.ask(other, "3.2.0.10.in-addr.arpa", PTR).rcode == NXDOMAIN

    net.names.remove(db2)
    assert net.ask(web, "store").addresses == ["10.0.2.3"]


def test_libraries_and_tools_of_containers_understand_it(net: World, short_path: Path) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2", "fd00::2")))
    net.sandbox(2, MemberNames(FRONT, ("db", "db.lan"), ("10.0.1.3",)))
    resolv_conf = short_path / "resolv.conf"
    resolv_conf.write_text(f"nameserver {NAME_SERVER}\noptions ndots:0\n")

    def contained(script: str) -> str:
        bind = f'mount --bind {resolv_conf} /etc/resolv.conf && exec python3 -c "$0"'
        return net.run("unshare", "-m", "sh", "-c", bind, script, sandbox=web)

    addresses = "import socket; print(sorted({r[4][0] for r in socket.getaddrinfo(%r, 80)}))"
    assert contained(addresses % "web").strip() == "['10.0.1.2', 'fd00::2']"
    assert contained(addresses % "db").strip() == "['10.0.1.3']"
    assert contained("import socket; print(socket.gethostbyaddr('10.0.1.3')[0])").strip() == "db"
    unknown = (
        "import socket, time\nbefore = time.monotonic()\ntry: socket.getaddrinfo('nobody', 80)\n"
        "except socket.gaierror as e: print(e.errno, time.monotonic() - before < 2)"
    )
    assert contained(unknown).split() == [str(socket.EAI_NONAME), "True"]

    looked_up = net.run("busybox", "nslookup", "db.lan", NAME_SERVER, sandbox=web)
    assert "10.0.1.3" in looked_up
    assert net.run("dig", f"@{NAME_SERVER}", "+short", "web", "AAAA", sandbox=web).strip() == "fd00::2"
    assert net.run("dig", f"@{NAME_SERVER}", "+short", "+tcp", "-x", "10.0.1.3", sandbox=web).strip() == "db."


def test_many_members_are_cut_and_tcp_has_them_all(net: World) -> None:
    ids = [net.sandbox(n, MemberNames(FRONT, ("web",), (f"10.0.1.{n}",))) for n in range(1, 41)]
    short = net.ask(ids[0], "web")
    assert short.truncated
    assert len(short.records) == 16
    assert len(short.data) <= 512
    first = {net.ask(ids[0], "web").records[0] for _ in range(40)}
    assert len(first) > 5  # not always the same one
    full = net.ask(ids[0], "web", tcp=True)
    assert not full.truncated
    assert full.addresses == sorted(f"10.0.1.{n}" for n in range(1, 41))
    assert len(net.run("dig", f"@{NAME_SERVER}", "+short", "web", sandbox=ids[0]).split()) == 40


def test_changes_are_answered_at_once(net: World) -> None:
    asker = net.sandbox(1, MemberNames(FRONT, ("asker",), ("10.0.1.1",)))
    changing = net.sandbox(2, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    took = []
    for number in range(3, 60):
        before = time.monotonic()
        members = (MemberNames(FRONT, ("web",), (f"10.0.1.{number}",)),)
        net.names.set(SandboxNames(changing, net.netns(changing), members))
        assert net.ask(asker, "web").addresses == [f"10.0.1.{number}"]
        took.append(time.monotonic() - before)
    assert sorted(took)[len(took) // 2] < 0.1


@pytest.mark.parametrize("first", [True, False])
def test_a_container_may_have_port_53_itself(net: World, first: bool) -> None:
    web = f"{1:064x}"
    net.sandboxes.create(web)
    theirs: list[socket.socket] = []

    def bind() -> None:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            one = net.socket(web, kind)
            one.bind(("0.0.0.0", 53))
            theirs.append(one)
        theirs[1].listen()

    if first:
        bind()
    net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    if not first:
        bind()
    assert net.ask(web, "web").addresses == ["10.0.1.2"]
    assert net.ask(web, "web", tcp=True).addresses == ["10.0.1.2"]
    client = net.socket(web)
    client.sendto(b"yours", ("127.0.0.1", 53))
    assert theirs[0].recvfrom(100)[0] == b"yours"
    stream = net.socket(web, socket.SOCK_STREAM)
    stream.connect(("127.0.0.1", 53))
    accepted, _ = theirs[1].accept()
    with accepted:
        accepted.sendall(b"mine")
        assert stream.recv(10) == b"mine"


def test_a_sandbox_may_have_its_loopback_down_for_a_while(net: World) -> None:
    web = f"{1:064x}"
    net.sandboxes.create(web)
    net.run("ip", "link", "set", "lo", "down", sandbox=web)
    net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    net.run("ip", "link", "set", "lo", "up", sandbox=web)
    assert net.ask(web, "web").addresses == ["10.0.1.2"]


def test_a_container_may_have_our_own_ports_too(net: World) -> None:
    web = f"{1:064x}"
    net.sandboxes.create(web)
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        for port in (1021, 1022) if kind == socket.SOCK_DGRAM else (1021,):
            one = net.socket(web, kind)
            one.bind(("0.0.0.0", port))
    net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    assert net.ask(web, "web").addresses == ["10.0.1.2"]
    assert net.ask(web, "web", tcp=True).addresses == ["10.0.1.2"]


def test_it_asks_from_port_53_for_all_that_a_firewall_in_the_container_sees(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    net.run(
        "nft",
        "add table ip strict; add chain ip strict out { type filter hook output priority 0; policy drop; };"
        "add rule ip strict out ip daddr 127.0.0.11 udp dport 53 accept;"
        "add rule ip strict out ct state established accept;"
        "add chain ip strict in { type filter hook input priority 0; policy drop; };"
        "add rule ip strict in udp dport 53 ct state new accept; add rule ip strict in ct state established accept",
        sandbox=web,
    )
    assert net.ask(web, "web").addresses == ["10.0.1.2"]
    listing = SandboxNames(web, net.netns(web), (MemberNames(FRONT, ("web",), ("10.0.1.2",)),))
    assert net.names.get(web) == listing  # rules of others are no drift


def test_what_the_tools_say_of_the_table_is_what_was_meant(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ()))
    listing = subprocess.run(
        ["nsenter", f"--net={net.netns(web)}", "nft", "list", "table", "ip", "lading_names"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for rule in (
        "ip daddr 127.0.0.11 udp dport 53 udp dport set 1021",
        "ip daddr 127.0.0.11 tcp dport 53 tcp dport set 1021",
        "ip saddr 127.0.0.11 udp sport 1021 udp sport set 53",
        "ip saddr 127.0.0.11 tcp sport 1021 tcp sport set 53",
    ):
        assert rule in listing
    assert "ct " not in listing
