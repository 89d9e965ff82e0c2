"""Names that are none of ours: which servers are asked, and whose answers count."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.network.names.interface import NAME_SERVER, MemberNames
from tests.integration.drivers.network.resolving import (
    AAAA,
    HOST,
    PTR,
    UPSTREAM,
    World,
    answer,
    question,
    until,
    wire_name,
    world,
)

pytestmark = pytest.mark.host
FRONT = "n-front"
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


@pytest.fixture
def net(short_path: Path, instance: str) -> Iterator[World]:
    with world(short_path, instance) as made:
        yield made


def test_other_names_are_asked_of_servers(net: World) -> None:
    upstream = net.upstream(lambda data, _: answer(data, "203.0.113.7"))
    web = net.sandbox(1, MemberNames(FRONT, ("web", "www.ours.example"), ("10.0.1.2",)), servers=(UPSTREAM,))
    assert net.ask(web, "www.Example.org").addresses == ["203.0.113.7"]
    assert net.ask(web, "www.Example.org").name == wire_name("www.Example.org")
    assert net.ask(web, "www.example.org", tcp=True).addresses == ["203.0.113.7"]
    assert [tcp for _, tcp in upstream.asked] == [False, False, True]
    assert {name for name, _ in upstream.asked} == {wire_name("www.example.org")}

    # Ours win, and single labels are nobody else's business.
    assert net.ask(web, "www.ours.example").addresses == ["10.0.1.2"]
    assert net.ask(web, "nobody").rcode == NXDOMAIN
    assert net.ask(web, "web", AAAA).rcode == NOERROR
    assert len(upstream.asked) == 3
    assert net.ask(web, "1.1.0.10.in-addr.arpa", PTR).rcode == NOERROR
    assert upstream.asked[-1][0] == wire_name("1.1.0.10.in-addr.arpa")

    for _ in range(20):
        net.ask(web, "abcdefghij.example.org")
    assert len({data[:2] for data in upstream.raw[-20:]}) > 15  # numbers,
    assert len(set(upstream.ports[-20:])) > 15  # ports
    assert len({data[12:] for data in upstream.raw[-20:]}) > 15  # and spellings are random


def test_a_server_may_be_reached_over_ipv6(net: World) -> None:
    net.upstream(lambda data, _: answer(data, "203.0.113.7"), "::1")
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ()), servers=("::1",))
    for tcp in (False, True):
        assert net.ask(web, "www.example.org", tcp=tcp).addresses == ["203.0.113.7"]


def test_internal_networks_ask_nobody(net: World) -> None:
    upstream = net.upstream(lambda data, _: answer(data, "203.0.113.7"))
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)), forward=False, servers=(UPSTREAM,))
    before = time.monotonic()
    for name, kind in (("www.example.org", 1), ("1.2.3.4.in-addr.arpa", PTR), ("secret.data.example.org", 16)):
        assert net.ask(web, name, kind).rcode == NXDOMAIN
        assert net.ask(web, name, kind, tcp=True).rcode == NXDOMAIN
    assert time.monotonic() - before < 1
    assert upstream.asked == []


def test_a_server_that_fails_or_is_silent_is_passed_over(net: World) -> None:
    for last in (54, 55):
        net.run("ip", "addr", "add", f"192.0.2.{last}/32", "dev", "lo", sandbox=HOST)
    failing = net.upstream(lambda data, _: answer(data, rcode=SERVFAIL), "192.0.2.54")
    silent = net.upstream(lambda data, _: None, "192.0.2.55")
    good = net.upstream(lambda data, _: answer(data, "203.0.113.7"))
    nobody = "127.0.0.9"
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ()), servers=(nobody, "192.0.2.54", UPSTREAM))
    before = time.monotonic()
    assert net.ask(web, "a.example").addresses == ["203.0.113.7"]
    assert net.ask(web, "a.example", tcp=True).addresses == ["203.0.113.7"]
    assert time.monotonic() - before < 1
    assert len(failing.asked) == 2

    slow = net.sandbox(2, MemberNames(FRONT, ("slow",), ()), servers=("192.0.2.55", UPSTREAM))
    assert net.ask(slow, "b.example").addresses == ["203.0.113.7"]
    assert 1.9 < time.monotonic() - before < 4
    assert len(silent.asked) == 1
    assert len(good.asked) == 3

    bad = net.sandbox(3, MemberNames(FRONT, ("bad",), ()), servers=("192.0.2.54",))
    assert net.ask(bad, "c.example").rcode == SERVFAIL
    none = net.sandbox(4, MemberNames(FRONT, ("none",), ()), servers=(nobody,))
    assert net.ask(none, "d.example").rcode == SERVFAIL


def test_an_answer_that_is_not_to_the_question_does_not_count(net: World) -> None:
    sent: list[bytes] = []

    def forging(data: bytes, tcp: bool) -> bytes | None:
        good = answer(data, "203.0.113.7")
        wrong_number = bytes((data[0] ^ 1, data[1])) + answer(data, "6.6.6.6")[2:]
        other = question("evil.example")
        wrong_name = data[:2] + answer(other, "6.6.6.6")[2:]
        for forged in (b"", b"x", wrong_number, wrong_name, data):
            sent.append(forged)
            upstream._udp.sendto(forged, (UPSTREAM, upstream.ports[-1]))
        return good

    upstream = net.upstream(forging)
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ()), servers=(UPSTREAM,))
    assert net.ask(web, "good.example").addresses == ["203.0.113.7"]
    assert len(sent) == 5


def test_a_server_that_does_not_repeat_the_spelling_is_asked_plainly(net: World) -> None:
    def lowering(data: bytes, _tcp: bool) -> bytes:
        reply = answer(data, "203.0.113.7")
        end = reply.index(b"\0", 12)
        return reply[:12] + reply[12:end].lower() + reply[end:]

    upstream = net.upstream(lowering)
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ()), servers=(UPSTREAM,))
    before = time.monotonic()
    for _ in range(5):
        reply = net.ask(web, "Some-Long-Name.example")
        assert reply.addresses == ["203.0.113.7"]
        assert reply.name == wire_name("Some-Long-Name.example")
    assert time.monotonic() - before < 1
    assert len(upstream.asked) == 6


def test_what_is_too_long_for_the_asker_is_cut(net: World) -> None:
    many = [f"203.0.113.{n}" for n in range(1, 101)]

    def long(data: bytes, tcp: bool) -> bytes:
        return answer(data, *many)

    net.upstream(long)
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ()), servers=(UPSTREAM,))
    short = net.ask(web, "many.example")
    assert short.truncated
    assert len(short.data) <= 512
    assert net.ask(web, "many.example", payload=4096).addresses == sorted(many)
    assert net.ask(web, "many.example", tcp=True).addresses == sorted(many)
    assert len(net.run("dig", f"@{NAME_SERVER}", "+short", "many.example", sandbox=web).split()) == 100


def test_the_hosts_own_servers_are_followed(net: World, short_path: Path) -> None:
    net.run("ip", "addr", "add", "192.0.2.54/32", "dev", "lo", sandbox=HOST)
    net.upstream(lambda data, _: answer(data, "203.0.113.53"))
    net.upstream(lambda data, _: answer(data, "203.0.113.54"), "192.0.2.54")
    resolv_conf = short_path / "resolv.conf"
    resolv_conf.write_text(f"nameserver {UPSTREAM}\n")
    web = f"{1:064x}"
    net.sandboxes.create(web)
    engine = net.engine(
        f"client.names.set(SandboxNames({web!r}, run_root / 'netns' / {web!r}, (MemberNames('n', ('web',), ()),)))\n",
        resolv_conf=resolv_conf,
    )
    assert engine.wait(20) == 0
    assert net.ask(web, "a.example").addresses == ["203.0.113.53"]
    resolv_conf.write_text("nameserver 192.0.2.54\noptions edns0\n")
    until(lambda: net.ask(web, "a.example").addresses == ["203.0.113.54"], 3)
