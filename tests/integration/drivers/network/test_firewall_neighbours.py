"""The firewall beside those of others: Docker's rules as dockerd makes them with iptables-nft, and chains that drop."""

from collections.abc import Iterator

import pytest

from drivers.network.firewall.docker import wanted
from drivers.network.firewall.interface import NetworkRules
from drivers.network.ports.interface import PublishedPort
from tests.integration.drivers.network.site import PREFIX, Site
from tests.machines import Answer, Machine, Machines

pytestmark = pytest.mark.host

SHORT = 0.15
DOCKER = """
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 7070 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
"""
OURS = [
    f"-A DOCKER-USER -o {PREFIX}+ -m comment --comment {{0}} -j ACCEPT",
    f"-A DOCKER-USER -i {PREFIX}+ -m comment --comment {{0}} -j ACCEPT",
]


@pytest.fixture(params=[True, False], ids=["owned", "open"])
def site(request: pytest.FixtureRequest, machines: Machines, instance: str) -> Iterator[Site]:
    made = Site(machines, instance, bridged=1, owned=request.param)
    yield made
    made.close()


def start_docker(site: Site) -> Machine:
    site.host("iptables-nft-restore", "--noflush", stdin=DOCKER)
    return behind(site, "docker0", "whale", 17)


def behind(site: Site, bridge: str, name: str, number: int) -> Machine:
    """A machine at a bridge that is made for it."""
    host, machine = site.host, site.machines.add(name, wired=False)
    host("ip", "link", "add", bridge, "type", "bridge")
    host("ip", "addr", "add", f"172.{number}.0.1/16", "dev", bridge)
    host("ip", "link", "set", bridge, "up")
    site.machines.veth(host, f"v{name}", machine, "eth0")
    host("ip", "link", "set", f"v{name}", "master", bridge)
    machine.ipv4 = f"172.{number}.0.2"
    machine("ip", "addr", "add", f"{machine.ipv4}/16", "dev", "eth0")
    machine("ip", "route", "add", "default", "via", f"172.{number}.0.1")
    machine.serve(80, 81)
    return machine


def rules_there(site: Site) -> list[str]:
    return [line for line in site.host("iptables-nft", "-S", "DOCKER-USER").splitlines() if line.startswith("-A")]


def test_docker_and_we_work_side_by_side(site: Site) -> None:
    whale = start_docker(site)
    one, two = site.network(), site.network()
    web, other = site.container("web", one), site.container("other", two)
    web.serve(80, 81)
    site.publish(web, 8080, 80)
    site.lan.serve(53)
    host, lan = site.host.ipv4, site.lan
    site.routed(lan)
    lan("ip", "route", "add", "172.17.0.0/16", "via", host)
    assert lan.ask(host, 8080) == Answer("web", lan.ipv4)
    assert lan.ask(site.host.ipv6, 8080) == Answer("web", lan.ipv6)
    assert lan.ask(host, 7070) == Answer("whale", lan.ipv4)
    for box in (web, whale):
        assert box.ask(lan.ipv4, 53) == Answer("lan", host)
    assert whale.ask(host, 8080), "a container of Docker's by our published port"
    for box in (web, other):
        assert box.ask(host, 7070), "and one of ours by Docker's"
    assert other.ask(host, 8080)
    assert site.host.ask("127.0.0.1", 8080)
    # Nobody gets past the other's rules.
    for source in (web, other, lan):
        assert source.ask("172.17.0.2", 81, timeout=SHORT) is None
    for source in (whale, other, lan):
        for port in (80, 81):
            assert source.ask(web.ipv4, port, timeout=SHORT) is None


def test_docker_that_comes_later_is_told_of_us(site: Site, instance: str) -> None:
    rules = site.network()
    web = site.container("web", rules)
    web.serve(80)
    site.publish(web, 8080, 80)
    assert site.lan.ask(site.host.ipv4, 8080)
    start_docker(site)
    assert site.lan.ask(site.host.ipv4, 8080, timeout=SHORT) is None
    assert site.firewall.network(rules.id) is None
    assert site.ports.published("web") == ()
    site.firewall.set_network(rules)
    assert site.firewall.network(rules.id) == rules
    assert len(site.ports.published("web")) == 1
    assert site.lan.ask(site.host.ipv4, 8080)
    assert rules_there(site) == [*(line.format(instance) for line in OURS), "-A DOCKER-USER -j RETURN"]


BREAKS: dict[str, list[tuple[str, ...]]] = {
    "flushed": [("-F", "DOCKER-USER"), ("-A", "DOCKER-USER", "-j", "RETURN")],
    "one gone": [("-D", "DOCKER-USER", "2")],
    "shadowed": [("-I", "DOCKER-USER", "-j", "RETURN")],
}


@pytest.mark.parametrize("what", BREAKS)
def test_our_rules_in_dockers_chain_are_mended(site: Site, instance: str, what: str) -> None:
    start_docker(site)
    rules = site.network()
    ours = [line.format(instance) for line in OURS]
    assert rules_there(site) == [*ours, "-A DOCKER-USER -j RETURN"]
    site.host("iptables-nft", "-I", "DOCKER-USER", "-s", "10.66.0.0/16", "-j", "DROP")
    assert site.firewall.network(rules.id) == rules, "a rule of somebody's own is left where it is"
    for words in BREAKS[what]:
        site.host("iptables-nft", *words)
    assert site.firewall.network(rules.id) is None
    site.firewall.set_network(rules)
    assert site.firewall.network(rules.id) == rules
    assert [line for line in rules_there(site) if instance in line] == ours


def reaches(box: Machine, *others: Machine) -> list[str]:
    return [other.name for other in others if box.ask(other.ipv4, 81, timeout=SHORT)]


def mended(site: Site, rules: NetworkRules) -> bool:
    """Whether there was something to mend."""
    spoiled = site.firewall.network(rules.id) is None
    site.firewall.set_network(rules)
    assert site.firewall.network(rules.id) == rules
    return spoiled


def test_bridges_are_open_but_for_those_that_are_or_may_be_dockers(site: Site) -> None:
    """Whatever Docker does with packets it does not know."""
    host = site.host
    office = behind(site, "br-lan", "office", 20)
    shed = behind(site, "docker-shed", "shed", 21)
    rules = site.network()
    box = site.container("box", rules)
    assert reaches(box, office, shed) == ["office", "shed"], "without Docker all are"
    whale = start_docker(site)
    host("iptables-nft", "-P", "FORWARD", "ACCEPT")
    # The first name is one that Docker gives, the others are a user's: of a network, of one without a way out.
    named = [behind(site, name, f"m{at}", 22 + at) for at, name in enumerate(("br-0123456789ab", "mine", "inner"))]
    host("iptables-nft", "-A", "FORWARD", "-o", "mine", "-j", "DOCKER")
    host("iptables-nft", "-I", "DOCKER-ISOLATION-STAGE-1", "!", "-s", "172.24.0.0/16", "-o", "inner", "-j", "DROP")
    host("iptables-nft", "-I", "DOCKER-USER", "-o", "br-lan", "-j", "RETURN")
    host("iptables-nft", "-A", "FORWARD", "-i", "docker0", "-o", "docker-shed", "-j", "ACCEPT")
    host("iptables-nft", "-A", "FORWARD", "-o", "docker+", "-j", "DOCKER")
    assert mended(site, rules)
    host("iptables-nft", "-F", "DOCKER-ISOLATION-STAGE-1")
    host("iptables-nft", "-A", "DOCKER-ISOLATION-STAGE-1", "-o", "inner", "-j", "RETURN")
    assert not mended(site, rules)
    others = (office, shed, whale, *named)
    assert reaches(box, *others) == ["office", "shed"]
    assert reaches(site.lan, *others) == []
    assert box.ask(host.ipv4, 7070), "published"

    late = behind(site, "br-late", "late", 26)
    assert reaches(box, late) == [], "it may be Docker's"
    assert mended(site, rules)
    assert reaches(box, *others, late) == ["office", "shed", "late"]
    host("iptables-nft", "-I", "DOCKER", "!", "-i", "br-late", "-o", "br-late", "-j", "RETURN")
    assert mended(site, rules)
    assert reaches(box, *others, late) == ["office", "shed"]
    host("ip", "link", "delete", "br-lan")
    assert mended(site, rules)
    assert not mended(site, rules)


@pytest.mark.parametrize("name", ["closed", "open"])
@pytest.mark.parametrize("site", [False], indirect=True, ids=["open"])
def test_what_says_which_bridges_are_open_is_mended(site: Site, name: str) -> None:
    office, whale = behind(site, "br-lan", "office", 20), start_docker(site)
    site.host("iptables-nft", "-P", "FORWARD", "ACCEPT")
    rules = site.network()
    box = site.container("box", rules)
    site.host("nft", "flush", "set", "inet", site.instance, name)
    assert reaches(box, office, whale) == (["office", "whale"] if name == "closed" else [])
    assert mended(site, rules)
    assert reaches(box, office, whale) == ["office"]


def test_without_docker_nothing_is_closed(site: Site) -> None:
    start_docker(site)
    rules = site.network()
    box = site.container("box", rules)
    late = behind(site, "br-late", "late", 26)
    assert reaches(box, late) == []
    site.host("nft", "flush", "table", "ip", "filter")
    site.host("nft", "delete", "table", "ip", "filter")
    assert site.firewall.network(rules.id) == rules, "what is left of then keeps nobody in"
    site.firewall.set_network(rules)
    assert reaches(box, late) == ["late"]


def test_a_docker_that_lets_everybody_in_is_told(site: Site) -> None:
    start_docker(site)
    site.network()
    assert site.firewall.obstacles() == []
    site.host("iptables-nft", "-P", "FORWARD", "ACCEPT")
    (told,) = site.firewall.obstacles()
    assert "`FORWARD` of the firewall table `ip filter` lets pass" in told
    assert told.endswith(": `iptables -P FORWARD DROP`")
    site.host("iptables-nft", "-N", "DOCKER-FORWARD")
    assert site.firewall.obstacles() == [], "as later releases are, which see to it"


def test_docker_keeps_what_is_its_own_when_we_go(site: Site) -> None:
    start_docker(site)
    before = site.host("iptables-nft", "-S"), site.host("iptables-nft", "-t", "nat", "-S")
    rules = site.network()
    assert site.host("iptables-nft", "-S") != before[0]
    site.firewall.remove_network(rules.id)
    assert (site.host("iptables-nft", "-S"), site.host("iptables-nft", "-t", "nat", "-S")) == before
    site.host("iptables-nft", "-F", "DOCKER-USER")
    site.host("iptables-nft", "-D", "FORWARD", "1")
    site.host("iptables-nft", "-X", "DOCKER-USER")


def test_our_rules_look_as_iptables_writes_them(site: Site) -> None:
    site.host("iptables-nft", "-N", "DOCKER-USER")
    rules = site.network()
    for target, words in (("ACCEPT", ["-o", f"{PREFIX}+"]), ("ACCEPT", ["-i", f"{PREFIX}+"])):
        site.host("iptables-nft", "-A", "DOCKER-USER", *words, "-j", target)
    listed = site.host("nft", "--debug=netlink", "list", "chain", "ip", "filter", "DOCKER-USER").splitlines()
    packed = [line.strip() for line in listed if line.strip().startswith("[ ") and "comment" not in line]
    size = sum(len(rule) for rule in wanted(PREFIX))
    ours, theirs = packed[:size], packed[size:]
    assert [line for line in theirs if "counter" not in line] == [line for line in ours if "counter" not in line]
    site.firewall.remove_network(rules.id)
    site.host("iptables-nft", "-D", "DOCKER-USER", "-o", f"{PREFIX}+", "-j", "ACCEPT")
    site.host("iptables-nft", "-D", "DOCKER-USER", "-i", f"{PREFIX}+", "-j", "ACCEPT")


def test_both_families_are_seen_to(site: Site) -> None:
    site.host("ip6tables-nft", "-P", "FORWARD", "DROP")
    site.host("ip6tables-nft", "-N", "DOCKER-USER")
    site.host("ip6tables-nft", "-A", "FORWARD", "-j", "DOCKER-USER")
    web = site.container("web", site.network())
    web.serve(80)
    site.publish(web, 8080, 80)
    assert site.lan.ask(site.host.ipv6, 8080)
    site.host("ip6tables-nft", "-F", "DOCKER-USER")
    assert site.lan.ask(site.host.ipv6, 8080, timeout=SHORT) is None


def test_chains_that_drop_what_is_forwarded_are_told(site: Site) -> None:
    host = site.host
    site.network()
    assert site.firewall.obstacles() == []
    host("nft", "add table inet fw; add chain inet fw f { type filter hook forward priority 0; policy drop; }")
    host("nft", "add chain inet fw i { type filter hook input priority 0; policy drop; }")
    (told,) = site.firewall.obstacles()
    assert "`f` of the firewall table `inet fw` drops" in told
    assert f"`{PREFIX}*`" in told
    host("nft", "delete", "table", "inet", "fw")
    start_docker(site)
    assert len(site.firewall.obstacles()) == 1, "not told of us yet"
    site.network()
    assert site.firewall.obstacles() == []
    host("ip6tables-nft", "-N", "ufw6-before-forward")
    host("ip6tables-nft", "-P", "FORWARD", "DROP")
    (told,) = site.firewall.obstacles()
    assert "ufw route allow" in told
    host("ip6tables-nft", "-P", "FORWARD", "ACCEPT")
    host(
        "nft",
        "add table inet firewalld; add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; }",
    )
    (told,) = site.firewall.obstacles()
    assert "firewall-cmd" in told


def test_a_port_beside_dockers_own_goes_to_ours_first(site: Site) -> None:
    """That nobody publishes what another listens on is seen to elsewhere; what happens then shall not be chance."""
    start_docker(site)
    web = site.container("web", site.network())
    web.serve(80)
    site.ports.publish("web", [PublishedPort(7070, 80, "", "tcp", web.ipv4)])
    assert site.lan.ask(site.host.ipv4, 7070) == Answer("web", site.lan.ipv4)
