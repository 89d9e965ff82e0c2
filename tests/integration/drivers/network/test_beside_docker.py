"""Networks and published ports beside a dockerd that runs: whoever was there first, neither is in the other's way."""

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drivers.network.bridge.link_names import link_prefix
from drivers.network.ipam.interface import SubnetRequest
from drivers.network.names.interface import NAME_SERVER, MemberNames, SandboxNames
from resources.errors import Conflict
from tests.integration.drivers.network.beside import OUTSIDE, Ours, Scene, assert_from
from tests.integration.drivers.network.dockerd import Dockerd
from tests.integration.drivers.network.resolving import Reply, Upstream, World, answer, question
from tests.machines import Answer, Machine, Machines

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

SHORT = 0.15


@pytest.fixture(autouse=True)
def nothing_is_forwarded(machines: Machines) -> None:
    """Until somebody turns it on: a new namespace begins with what this machine has."""
    for name in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
        machines.host.set(f"net.{name}", 0)


@pytest.fixture
def make_ours(machines: Machines, short_path: Path, instance: str) -> Iterator[Callable[..., Ours]]:
    made: list[Ours] = []

    def make(**options: Any) -> Ours:
        made.append(Ours(machines.host, short_path / "r", instance, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def ours(make_ours: Callable[..., Ours]) -> Ours:
    return make_ours()


@pytest.fixture
def make_dockerd(machines: Machines, short_path: Path, instance: str, images: Path) -> Iterator[Callable[..., Dockerd]]:
    """Started, and with the image `whale`."""
    made: list[Dockerd] = []

    def make(*options: str, tools: Path | None = None) -> Dockerd:
        made.append(Dockerd(machines.host, short_path / "d", instance, *options, tools=tools))
        made[-1].start()
        made[-1].load(images / "busybox.tar", "whale")
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def scene(machines: Machines, ours: Ours) -> Scene:
    return Scene(machines, ours)


def rules(host: Machine) -> dict[str, list[str]]:
    """As iptables lists them, by table."""
    tables = ("filter", "nat")
    listed = {table: host("iptables", "-t", table, "-S").splitlines() for table in tables}
    return {table: [line for line in lines if not line.startswith("#")] for table, lines in listed.items()}


def read_cleanly(host: Machine) -> None:
    for command in ("iptables-save", "ip6tables-save"):
        written = host("sh", "-c", f"{command} 2>&1")
        assert "incompatible" not in written
        assert "nft" not in written.replace("(nf_tables)", "")
        host(f"{command.removesuffix('-save')}-restore", "--test", stdin=written)


def test_ours_come_to_a_dockerd_and_go_again(scene: Scene, ours: Ours, make_dockerd: Callable[..., Dockerd]) -> None:
    dockerd, host = make_dockerd(), scene.host
    scene.start_whale(dockerd)
    scene.dockers_work()
    before = rules(host)
    assert "-P FORWARD DROP" in before["filter"]
    scene.start_ours()
    assert ours.faults() == []
    assert ours.obstacles() == []
    scene.all_is_well()

    prefix, comment = link_prefix(ours.instance), f"-m comment --comment {ours.instance}"
    listed = rules(host)
    assert [line for line in listed["filter"] if ours.instance in line] == [
        f"-A DOCKER-USER -o {prefix}+ {comment} -j ACCEPT",
        f"-A DOCKER-USER -i {prefix}+ {comment} -j ACCEPT",
    ]
    assert listed["nat"] == before["nat"]
    read_cleanly(host)

    ours.remove()
    assert rules(host) == before
    scene.dockers_work()


def test_a_dockerd_comes_to_ours(scene: Scene, ours: Ours, make_dockerd: Callable[..., Dockerd]) -> None:
    scene.start_ours()
    scene.ours_work()
    with scene.lan.connect(scene.host.ipv4, 8080) as connection:
        assert connection.ask()
        dockerd = make_dockerd()
        # Packets were forwarded before it came, and then it does not say what shall become of those it does not know.
        scene.ours_work()
        assert connection.ask()
        assert set(ours.faults()) == {"firewall", "ports"}, "it would not be told of us when it does"
        scene.host("iptables", "-P", "FORWARD", "DROP")
        assert scene.lan.ask(scene.host.ipv4, 8080, timeout=SHORT) is None
        assert scene.web.ask(scene.lan.ipv4, OUTSIDE, timeout=SHORT) is None
        (told,) = ours.obstacles()
        assert "`FORWARD` of the firewall table `ip filter`" in told
        ours.mend()
        assert ours.obstacles() == []
        assert connection.ask()
    scene.start_whale(dockerd)
    scene.all_is_well()
    scene.host("iptables", "-P", "FORWARD", "ACCEPT")
    scene.dockers_are_closed_to_ours()
    assert_from(scene.lan.ask(scene.whale.ipv4, 81), "whale")
    (told,) = ours.obstacles()
    assert told.endswith("ports of Docker's containers that are not published: `iptables -P FORWARD DROP`")


def test_docker_starts_again_and_makes_networks_while_ours_are_up(
    scene: Scene, ours: Ours, make_dockerd: Callable[..., Dockerd]
) -> None:
    dockerd = make_dockerd()
    scene.start_ours()
    scene.start_whale(dockerd)
    with scene.lan.connect(scene.host.ipv4, 8080) as connection, scene.web.connect(scene.lan.ipv4, OUTSIDE) as out:

        def nothing_happened() -> None:
            assert ours.faults() == []
            assert connection.ask()
            assert out.ask()

        dockerd("network", "create", "pod")
        nothing_happened()
        orca = dockerd.run("orca", "whale", "--network", "pod", "--publish", "7071:80")
        nothing_happened()
        assert_from(scene.lan.ask(scene.host.ipv4, 7071), "orca")
        assert orca.ask(scene.lan.ipv4, OUTSIDE) == Answer("lan", scene.host.ipv4)
        assert orca.ask(scene.web.ipv4, 80, timeout=SHORT) is None
        assert scene.web.ask(orca.ipv4, 81, timeout=SHORT) is None
        scene.dockers_are_closed()

        dockerd.stop()
        nothing_happened()
        scene.ours_work()
        dockerd.start()
        nothing_happened()
        scene.whale, orca = dockerd.joined("whale"), dockerd.joined("orca")
        assert_from(scene.lan.ask(scene.host.ipv4, 7071), "orca")
        scene.all_is_well()

        dockerd("rm", "--force", "orca")
        dockerd("network", "rm", "pod")
        nothing_happened()


def test_bridges_that_are_not_dockers_and_those_that_do_not_look_so(
    scene: Scene, ours: Ours, make_dockerd: Callable[..., Dockerd]
) -> None:
    """An uplink as routers have it, and a bridge of Docker's that was given a name."""
    scene.uplink_over("br-lan")
    dockerd = make_dockerd()
    scene.start_ours()
    scene.ours_work()
    dockerd("network", "create", "--opt", "com.docker.network.bridge.name=mine", "pod")
    orca = dockerd.run("orca", "whale", "--network", "pod", "--publish", "7071:80")
    assert ours.faults() == []
    scene.nobody_answers((scene.web, orca.ipv4, 81), (scene.other, orca.ipv4, 80))
    assert_from(scene.web.ask(scene.host.ipv4, 7071), "orca")
    scene.host("ip", "link", "add", "br-late", "type", "bridge")
    assert set(ours.faults()) == {"firewall", "ports"}
    ours.mend()
    scene.nobody_answers((scene.web, orca.ipv4, 81), (scene.other, orca.ipv4, 80))
    scene.ours_work()


def test_subnets_of_docker_and_ours_do_not_overlap(
    scene: Scene, ours: Ours, make_dockerd: Callable[..., Dockerd]
) -> None:
    dockerd = make_dockerd()
    dockerd("network", "create", "one")
    theirs = dockerd.subnets()
    for subnet in theirs:
        with pytest.raises(Conflict, match=r"which this host has a route to over (docker0|br-)"):
            ours.ipam.allocate_subnets("f" * 32, (SubnetRequest(subnet),))
    ours.network()
    ours.network()
    dockerd("network", "create", "two")
    own = [config.pools[0].subnet for config in ours.configs]
    found = [ip_network(subnet) for subnet in (*dockerd.subnets(), *own)]
    assert len(found) == 5, "two of ours, Docker's first one, `one` and `two`"
    assert not [pair for pair in combinations(found, 2) if pair[0].overlaps(pair[1])]


@pytest.mark.long
def test_a_port_has_one_of_both(scene: Scene, ours: Ours, make_dockerd: Callable[..., Dockerd]) -> None:
    dockerd = make_dockerd()
    scene.start_whale(dockerd)
    scene.start_ours()
    web = ours.boxes[0]
    with pytest.raises(Conflict, match=r"port 7070/tcp at 0\.0\.0\.0 is taken"):
        ours.publish(web, 7070, 80)
    web.ports = web.ports[:1]
    assert ours.faults() == []
    with pytest.raises(AssertionError, match=r"bind for \[?::\]?:8080 failed|address already in use"):
        dockerd.run("orca", "whale", "--publish", "8080:80")
    dockerd("rm", "--force", "orca")
    scene.all_is_well()


@pytest.mark.parametrize("owned", [True, pytest.param(False, marks=pytest.mark.long)], ids=["owned", "open"])
def test_somebody_flushes_all_rules(
    machines: Machines, make_ours: Callable[..., Ours], make_dockerd: Callable[..., Dockerd], owned: bool
) -> None:
    """As the reload of another firewall may. `owned` is what kernels from 6.9 on do."""
    dockerd, ours = make_dockerd(), make_ours(owned=owned)
    scene, host = Scene(machines, ours), machines.host
    scene.start_ours()
    scene.start_whale(dockerd)
    with scene.lan.connect(host.ipv4, 8080) as connection:
        assert connection.ask()
        host("nft", "flush", "ruleset")
        if owned:
            assert ours.faults() == []
            scene.ours_work()
            assert scene.lan.ask(scene.web.ipv4, 80, timeout=SHORT) is None
        else:
            assert set(ours.faults()) == {"firewall", "ports"}
            assert scene.lan.ask(host.ipv4, 8080, timeout=SHORT) is None
            ours.mend()
        assert connection.ask()
        scene.ours_work()
        # Docker's rules are gone until it starts again: what its containers send has their own addresses.
        assert scene.whale.ask(scene.lan.ipv4, OUTSIDE) == Answer("lan", scene.whale.ipv4)
        dockerd.stop()
        dockerd.start()
        scene.whale = dockerd.joined("whale")
        ours.mend()
        assert connection.ask()
        scene.ours_work()
        scene.dockers_work()
        scene.ours_are_closed()


CHAIN_FOR_OTHERS = """
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j RETURN
COMMIT
"""
UFW = """
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-forward - [0:0]
:ufw-before-input - [0:0]
:ufw-user-forward - [0:0]
-A INPUT -j ufw-before-input
-A FORWARD -j ufw-before-forward
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""


@pytest.fixture
def upstream(machines: Machines) -> Iterator[None]:
    """`lan` knows all names there are outside."""
    world = SimpleNamespace(inside=lambda _, work: machines.lan.run(work))
    made = Upstream(cast(World, world), lambda data, _: answer(data, "198.51.100.7"), machines.lan.ipv4)
    yield
    made.close()


def give_names(ours: Ours, lan: Machine) -> None:
    for box in ours.boxes:
        member = MemberNames(box.endpoint.network_id, (box.machine.name,), (box.machine.ipv4, box.machine.ipv6))
        ours.names.set(SandboxNames(box.endpoint.sandbox_id, box.endpoint.netns, (member,), servers=(lan.ipv4,)))


def resolved(box: Machine, name: str) -> list[str]:
    with box.connect(NAME_SERVER, 53, "udp") as connection:
        connection.socket.send(question(name))
        return Reply(connection.socket.recv(2000)).addresses


@pytest.mark.usefixtures("upstream")
def test_a_firewall_that_lets_nothing_in(scene: Scene, ours: Ours) -> None:
    """As ufw sets it up: names are none of its business, and of the rest it is told what stops."""
    host, lan = scene.host, scene.lan
    scene.start_ours()
    give_names(ours, lan)
    host("iptables-restore", "--noflush", stdin=UFW)
    assert resolved(scene.web, "web") == [scene.web.ipv4]
    assert resolved(scene.web, "example.org") == ["198.51.100.7"]
    assert ours.faults() == []
    assert scene.web.ask(lan.ipv4, OUTSIDE, timeout=SHORT) is None
    assert lan.ask(host.ipv4, 8080, timeout=SHORT) is None
    prefix = link_prefix(ours.instance)
    (told,) = ours.obstacles()
    assert "`FORWARD` of the firewall table `ip filter`" in told
    assert f"`ufw route allow in on {prefix}+`" in told
    # What it says is what ufw makes of those commands.
    for direction in ("-i", "-o"):
        host("iptables", "-A", "ufw-user-forward", direction, f"{prefix}+", "-j", "ACCEPT")
    scene.ours_work()
    read_cleanly(host)


def test_rules_that_were_saved_and_restored_are_still_ours(scene: Scene, ours: Ours) -> None:
    """As iptables-persistent does, and many a script."""
    host = scene.host
    host("iptables-restore", stdin=CHAIN_FOR_OTHERS)
    before = rules(host)
    scene.start_ours()
    scene.ours_work()
    own = [line for line in rules(host)["filter"] if ours.instance in line]
    host("iptables-restore", stdin=host("iptables-save"))
    scene.ours_work()
    ours.mend()
    assert [line for line in rules(host)["filter"] if ours.instance in line] == own
    ours.remove()
    assert rules(host) == before


@pytest.mark.long
def test_docker_with_ipv6(scene: Scene, ours: Ours, make_dockerd: Callable[..., Dockerd]) -> None:
    """Of this release: it has no chain for others there."""
    dockerd, host = (
        make_dockerd("--experimental", "--ip6tables", "--ipv6", "--fixed-cidr-v6", "fd00:17::/64"),
        scene.host,
    )
    scene.start_ours()
    scene.start_whale(dockerd)
    for command in ("iptables", "ip6tables"):
        host(command, "-P", "FORWARD", "DROP")
    assert ours.faults() == []
    (told,) = ours.obstacles()
    prefix = link_prefix(ours.instance)
    assert (
        "`FORWARD` of the firewall table `ip6 filter` drops what is forwarded and not known to it: let it accept"
        in told
    )
    assert f"`{prefix}*`" in told
    for direction in ("-i", "-o"):
        host("ip6tables", "-I", "FORWARD", direction, f"{prefix}+", "-j", "ACCEPT")
    scene.all_is_well()
    assert_from(scene.lan.ask(host.ipv6, 7070), "whale")
    assert scene.whale.ask(scene.lan.ipv6, OUTSIDE) == Answer("lan", host.ipv6)
    scene.nobody_answers((scene.lan, scene.whale.ipv6, 81), (scene.whale, scene.web.ipv6, 80))
    read_cleanly(host)


@pytest.mark.long
def test_docker_with_the_older_iptables(
    scene: Scene, ours: Ours, make_dockerd: Callable[..., Dockerd], short_path: Path
) -> None:
    """Whose rules nftables does not show: that they are there is told."""
    tools = short_path / "tools"
    tools.mkdir()
    for name in ("iptables", "ip6tables"):
        (tools / name).symlink_to(f"/usr/sbin/{name}-legacy")
    dockerd = make_dockerd(tools=tools)
    scene.start_whale(dockerd)
    scene.start_ours()
    assert ours.faults() == []
    assert scene.lan.ask(scene.host.ipv4, 8080, timeout=SHORT) is None
    (told,) = ours.obstacles()
    assert "rules of iptables-legacy for IPv4 are loaded" in told
    for direction in ("-i", "-o"):
        words = ("-I", "DOCKER-USER", direction, f"{link_prefix(ours.instance)}+", "-j", "ACCEPT")
        scene.host("iptables-legacy", *words)
    scene.ours_work()
    scene.dockers_work()
    scene.ours_are_closed()
