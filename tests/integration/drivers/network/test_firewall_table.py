"""The firewall's table itself: whole or not, mended, owned, beside those of others."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from drivers.network.firewall.interface import NetworkRules
from drivers.network.firewall.nft import NftFirewall
from drivers.network.netlink.messages import Reply, Request
from drivers.network.ports.interface import PublishedPort
from resources.errors import Conflict, InvalidArgument, PermissionDenied
from tests.engines import CHECKOUT
from tests.machines import Machine, Machines
from tests.tasks import until

pytestmark = pytest.mark.host

ONE = NetworkRules("1" * 32, "ld-one", ("10.42.1.0/24", "fd42:1::/64"))
TWO = NetworkRules("2" * 32, "ld-two", ("fd42:2::/64", "10.42.2.0/25", "10.42.2.128/25"), internal=True, isolated=True)
WEB = "a" * 32
PORTS = (
    PublishedPort(53, 53, "", "udp", "10.42.1.2", "fd42:1::2"),
    PublishedPort(8080, 80, "", "tcp", "10.42.1.2", "fd42:1::2"),
    PublishedPort(8080, 80, "192.0.2.1", "tcp", "10.42.1.3", ""),
    PublishedPort(8080, 80, "2001:db8::1", "tcp", "10.42.1.3", "fd42:1::3"),
    PublishedPort(8081, 80, "::", "tcp", "10.42.1.3", ""),
)


@pytest.fixture
def host(machines: Machines) -> Machine:
    return machines.host


@pytest.fixture
def firewalls(host: Machine, instance: str) -> Iterator[Callable[..., NftFirewall]]:
    made = []

    def make(name: str = instance, *, owned: bool = False) -> NftFirewall:
        made.append(NftFirewall(name, "ld-", owned=owned))
        host.run(made[-1].networks)
        return made[-1]

    yield make
    for one in made:
        one.close()


def tables(host: Machine) -> list[str]:
    return host("nft", "list", "tables").split("\n")[:-1]


def filled(firewall: NftFirewall) -> NftFirewall:
    firewall.set_network(ONE)
    firewall.set_network(TWO)
    firewall.set_ports(WEB, PORTS)
    return firewall


def whole(firewall: NftFirewall) -> bool:
    networks = {one.id: firewall.network(one.id) for one in (ONE, TWO)}
    return networks == {ONE.id: ONE, TWO.id: TWO} and set(firewall.ports(WEB)) == set(PORTS)


@pytest.mark.parametrize("owned", [False, True])
def test_what_is_set_is_read_by_the_next_engine_and_the_last_takes_the_table(
    host: Machine, firewalls: Callable[..., NftFirewall], instance: str, owned: bool
) -> None:
    first = filled(firewalls(owned=owned))
    assert whole(first)
    first.close()
    second = firewalls(owned=owned)
    generation = second._table.link.generation()
    assert whole(second)
    assert second.networks() == [ONE.id, TWO.id]
    assert second.port_owners() == [WEB]
    filled(second)
    assert second._table.link.generation() == generation, "nothing is written that is there"
    second.remove_network(ONE.id)
    second.remove_network(ONE.id)
    second.set_ports(WEB, ())
    assert tables(host) == [f"table inet {instance}"]
    second.remove_network(TWO.id)
    second.set_ports(WEB, ())
    assert tables(host) == []
    assert second.networks() == second.port_owners() == []


BREAKS = {
    "table": ("delete", "table", "inet", "{0}"),
    "ruleset": ("flush", "ruleset"),
    "rules": ("flush", "table", "inet", "{0}"),
    "chain": ("flush", "chain", "inet", "{0}", "passing"),
    "policy": ("add", "chain", "inet", "{0}", "forwarded", "{{ policy drop; }}"),
    "added rule": ("insert", "rule", "inet", "{0}", "passing", "accept"),
    "bridge": ("delete", "element", "inet", "{0}", "bridges", "{{ ld-one }}"),
    "pair": ("delete", "element", "inet", "{0}", "isolated", "{{ ld-two . ld-two }}"),
    "all pairs": ("flush", "set", "inet", "{0}", "same"),
    "subnet": ("delete", "element", "inet", "{0}", "subnets4", "{{ 10.42.2.0/25 }}"),
    "masquerade": ("delete", "element", "inet", "{0}", "masquerade6", "{{ fd42:1::/64 }}"),
    "internal": ("flush", "set", "inet", "{0}", "internal"),
    "port": ("delete", "element", "inet", "{0}", "any4", "{{ tcp . 8080 }}"),
    "port of an address": ("flush", "map", "inet", "{0}", "at6"),
    "record of a port": ("delete", "element", "inet", "{0}", "ports", "{{ udp . 53 . :: }}"),
    "proxied": ("flush", "set", "inet", "{0}", "proxied"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_others_break_is_told_and_mended(
    host: Machine, firewalls: Callable[..., NftFirewall], instance: str, what: str
) -> None:
    firewall = filled(firewalls())
    told = host("nft", "-s", "list", "ruleset")
    host("nft", *(word.format(instance) for word in BREAKS[what]))
    assert not whole(firewall)
    before = firewall._table.link.generation()
    filled(firewall)
    assert whole(firewall)
    assert firewall._table.link.generation() - before <= (3 if what in ("table", "ruleset") else 1)
    assert sorted(host("nft", "-s", "list", "ruleset").split()) == sorted(told.split())
    again = firewalls()
    assert whole(again)


@pytest.mark.parametrize("what", ["rule", "element", "set"])
def test_what_others_alter_is_told_and_mended(
    host: Machine, firewalls: Callable[..., NftFirewall], instance: str, what: str
) -> None:
    firewall = filled(firewalls())
    if what == "rule":
        listed = host("nft", "-a", "list", "chain", "inet", instance, "guard")
        handle = next(line.split()[-1] for line in listed.splitlines() if "127.0.0.0/8" in line)
        host(
            "nft", "replace", "rule", "inet", instance, "guard", "handle", handle, "ip", "daddr", "127.0.0.0/9", "drop"
        )
    elif what == "element":
        host("nft", "delete", "element", "inet", instance, "any4", "{ tcp . 8080 }")
        host("nft", "add", "element", "inet", instance, "any4", "{ tcp . 8080 : 10.42.9.9 . 22 }")
    else:
        host("nft", "delete", "table", "inet", instance)
        host("nft", "add", "table", "inet", instance)
        host("nft", "add", "map", "inet", instance, "any4", "{ type inet_service : ipv4_addr; }")
        host("nft", "add", "element", "inet", instance, "any4", "{ 8080 : 10.42.9.9 }")
    assert not whole(firewall)
    filled(firewall)
    assert whole(firewall)
    assert "10.42.9.9" not in host("nft", "list", "ruleset")


def test_a_table_that_is_owned_is_nobody_elses_and_stays_when_its_owner_dies(
    host: Machine, firewalls: Callable[..., NftFirewall], instance: str
) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import time\n"
        "from drivers.network.firewall.nft import NftFirewall\n"
        "from tests.integration.drivers.network.test_firewall_table import filled\n"
        f"kept = filled(NftFirewall({instance!r}, 'ld-')); print('done', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([*host.prefix, sys.executable, "-c", script], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        heir = firewalls(owned=True)
        assert whole(heir), "it may be read"
        with pytest.raises(PermissionDenied, match="held by another process"):
            heir.remove_network(ONE.id)
        host("nft", "flush", "ruleset")
        with pytest.raises(AssertionError, match="Operation not permitted"):
            host("nft", "delete", "table", "inet", instance)
        with pytest.raises(AssertionError, match="Operation not permitted"):
            host("nft", "flush", "chain", "inet", instance, "passing")
        assert whole(heir)
        os.kill(process.pid, signal.SIGKILL)
    assert tables(host) == [f"table inet {instance}"]
    until(lambda: whole(heir))
    host("nft", "flush", "ruleset")
    assert whole(heir), "it has been taken over by looking at it"
    heir.set_network(ONE)
    heir.remove_network(ONE.id)
    heir.remove_network(TWO.id)
    heir.set_ports(WEB, ())
    assert tables(host) == []


def test_a_table_made_without_an_owner_becomes_one_that_has(
    host: Machine, firewalls: Callable[..., NftFirewall], instance: str
) -> None:
    filled(firewalls())
    owner = firewalls(owned=True)
    assert owner.network(ONE.id) is None
    owner.set_network(ONE)
    assert whole(owner)
    host("nft", "flush", "ruleset")
    assert whole(owner)


def test_a_kernel_that_knows_no_owners_is_content_without(
    host: Machine, firewalls: Callable[..., NftFirewall], instance: str
) -> None:
    firewall = firewalls(owned=True)
    firewall._table._flags |= 0x80  # a flag that this one does not know
    filled(firewall)
    assert whole(firewall)
    assert "owner" not in host("nft", "list", "table", "inet", instance)
    host("nft", "flush", "ruleset")
    assert not whole(firewall)
    filled(firewall)
    assert whole(firewall)


def test_tables_of_others_are_not_touched(host: Machine, firewalls: Callable[..., NftFirewall], instance: str) -> None:
    host("nft", "add table inet mine; add chain inet mine c { type filter hook forward priority 0; policy accept; }")
    before = host("nft", "list", "table", "inet", "mine")
    first, second = filled(firewalls()), firewalls(f"{instance}-b")
    second.set_network(ONE)
    assert first.networks() == [ONE.id, TWO.id]
    assert second.networks() == [ONE.id]
    for one in (ONE, TWO):
        first.remove_network(one.id)
    first.set_ports(WEB, ())
    assert second.network(ONE.id) == ONE
    second.remove_network(ONE.id)
    assert host("nft", "list", "ruleset") == before


def test_reading_costs_one_question_as_long_as_nobody_changed_anything(
    host: Machine, firewalls: Callable[..., NftFirewall], monkeypatch: pytest.MonkeyPatch
) -> None:
    firewall = filled(firewalls())
    assert whole(firewall)
    asked: list[str] = []
    link = firewall._table.link
    dump = link.dump

    def noted(doing: str, request: Request) -> list[Reply]:
        asked.append(doing)
        return dump(doing, request)

    monkeypatch.setattr(link, "dump", noted)
    assert whole(firewall)
    firewall.set_ports(WEB, PORTS[:2])
    firewall.set_ports(WEB, PORTS)
    assert whole(firewall)
    assert [doing for doing in asked if "tracked" not in doing] == [], "nor after changes of its own"
    host("nft", "add", "table", "inet", "other")
    assert whole(firewall)
    assert asked


@pytest.mark.parametrize("count", [1000, 4000])
def test_thousands_of_ports_are_one_quick_transaction(firewalls: Callable[..., NftFirewall], count: int) -> None:
    firewall = filled(firewalls())
    many = [PublishedPort(10000 + number, 80, "", "tcp", "10.42.1.9", "fd42:1::9") for number in range(count)]
    before = firewall._table.link.generation()
    for wanted in (many, many[1:], many[:1], []):
        begin = time.process_time()  # the machine may be busy with other things
        firewall.set_ports("b" * 32, wanted)
        assert time.process_time() - begin < 0.1 * count / 1000, f"{len(wanted)}: 25 ms a thousand"
        assert set(firewall.ports("b" * 32)) == set(wanted)
    assert firewall._table.link.generation() == before + 4
    # One more of many costs no more than one of few.
    firewall.set_ports("b" * 32, many)
    one, other = replace(many[0], host=9), "c" * 32
    begin = time.process_time()
    for _ in range(50):
        firewall.set_ports(other, [one])
        firewall.set_ports(other, [])
    assert time.process_time() - begin < 100 * 0.002
    assert whole(firewall)


def test_writers_at_the_same_time_lose_nothing(host: Machine, firewalls: Callable[..., NftFirewall]) -> None:
    one, other = firewalls(), firewalls()
    stranger = host.start("sh", "-c", "while :; do nft add table ip t; nft delete table ip t; done")

    def publish(number: int) -> None:
        (one, other)[number % 2].set_ports(f"{number:032x}", [PublishedPort(8000 + number, 80, "", "tcp", "10.42.1.2")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(60)))
    stranger.kill()
    stranger.wait()
    for number in range(60):
        assert [port.host for port in one.ports(f"{number:032x}")] == [8000 + number]
    assert one.port_owners() == other.port_owners()


def test_a_port_and_a_subnet_have_one_holder(firewalls: Callable[..., NftFirewall]) -> None:
    firewall = filled(firewalls())
    with pytest.raises(Conflict, match=f"{WEB}.*port 8080/tcp"):
        firewall.set_ports("b" * 32, [PublishedPort(8080, 80, "", "tcp", "10.42.1.9")])
    overlapping = NetworkRules("3" * 32, "ld-three", ("10.42.0.0/16",))
    with pytest.raises(Conflict, match="overlaps"):
        firewall.set_network(overlapping)
    assert whole(firewall)
    assert firewall.networks() == [ONE.id, TWO.id]


@pytest.mark.parametrize("evil", ["", "x y", "a\nb", 'a" drop', "é", "a" * 65, "A", "a-b"])
def test_no_word_of_a_user_gets_into_the_ruleset(firewalls: Callable[..., NftFirewall], evil: str) -> None:
    firewall = firewalls()
    for call in (firewall.network, firewall.remove_network, firewall.ports, lambda uid: firewall.set_ports(uid, PORTS)):
        with pytest.raises(InvalidArgument):
            call(evil)
    for rules in (
        NetworkRules(evil, "ld-one", ONE.subnets),
        NetworkRules(ONE.id, f"{evil} x", ONE.subnets),
        NetworkRules(ONE.id, "ld-one", (evil,)),
        NetworkRules(ONE.id, "docker0", ONE.subnets),
    ):
        with pytest.raises(InvalidArgument):
            firewall.set_network(rules)
    with pytest.raises(InvalidArgument):
        NftFirewall(evil + "_", "ld-")
    assert firewall.networks() == []


def test_who_may_not_is_told_so(host: Machine) -> None:
    script = (
        f"import sys, os; sys.path.insert(0, {str(CHECKOUT)!r})\n"
        "from drivers.network.firewall.nft import NftFirewall\n"
        "from resources.errors import PermissionDenied\n"
        "os.setuid(65534)\n"
        "try:\n    NftFirewall('x', 'ld-').networks()\n"
        "except PermissionDenied as error:\n    print(error)"
    )
    assert "cannot look at the firewall" in host(sys.executable, "-c", script)
