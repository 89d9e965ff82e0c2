"""Docker's firewall beside ours: it drops what it does not know of forwarded packets, and a drop anywhere counts.

It leaves the chain `DOCKER-USER` of `ip filter` (and `ip6 filter`) to others. There we accept what comes from or goes to our
bridges. The rules look as iptables writes them, which shows them and can delete them.

So our own table has the say, and there what our containers send to a bridge of Docker's is dropped unless Docker translated
it: its published ports are reached by the host's addresses, and no others, whatever Docker's own chains do with the rest.
Before version 28 they drop it only where Docker itself turned forwarding on: where packets were forwarded before it came,
for a network of ours too, Docker leaves the policy of `FORWARD` at accept, and other machines that route to this one reach
all ports of its containers. It does so on every host that forwards already; that is told, and not changed.

Which bridges are Docker's is not asked: where its chain is, each bridge is closed to our containers, also one that is made
while no engine runs. Open are those which by their names, and by all rules of Docker's, are none of its.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from drivers.network.firewall.expressions import (
    ACCEPT,
    EQUAL,
    IIFNAME,
    OIFNAME,
    Rule,
    counter,
    links_named,
    same,
    shown,
    verdict,
)
from drivers.network.firewall.messages import chains, comment_in, delete_rule, new_rule, rules
from drivers.network.firewall.nfnetlink import IPV4, IPV6, Nfnetlink, body, number, word
from drivers.network.netlink.messages import Request, attributes

TABLE, CHAIN = "filter", "DOCKER-USER"
_FORWARD, _CHAINS, _PORTS = "FORWARD", "DOCKER", "DOCKER"
"""The chain that leads to those of Docker, how their names begin, and the one with a rule for each port."""
DROPPING = "DOCKER-FORWARD"
"""Where there is this chain, what goes to its containers and was not published is dropped whatever the policy says."""
_BRIDGE = re.compile(rb"docker0|docker_gwbridge|br-[0-9a-f]{12}")
"""How its bridges are called, but for one that the user gave a name."""


@dataclass(frozen=True, slots=True)
class Accepts:
    """What of ours is in one such chain."""

    family: int
    handles: tuple[bytes, ...]
    whole: bool
    bridges: frozenset[bytes]
    """The links that rules of Docker's name."""


def wanted(prefix: str) -> tuple[Rule, ...]:
    out, come = links_named(OIFNAME, prefix), links_named(IIFNAME, prefix)
    return (
        (*out, counter(), verdict(ACCEPT)),
        (*come, counter(), verdict(ACCEPT)),
    )


def accepts(link: Nfnetlink, prefix: str, comment: str) -> tuple[Accepts, ...]:
    """One a chain there is."""
    found = []
    for family in (IPV4, IPV6):
        listed = [body(one) for one in link.dump("cannot list the firewall's chains", chains(family))]
        names = {word(one.get(3, b"")) for one in listed if word(one.get(1, b"")) == TABLE}
        if CHAIN in names:
            there = _rules_in(link, family, CHAIN)
            ours = [one for one in there if comment in _comments(one)]
            handles = tuple(one[3] for one in ours)
            others = [name for name in names - {CHAIN} if name == _FORWARD or name.startswith(_CHAINS)]
            bridges = {
                name for chain in others for rule in _rules_in(link, family, chain) for name in _bridges_in(rule)
            }
            found.append(Accepts(family, handles, _whole(there, ours, wanted(prefix)), frozenset(bridges)))
    return tuple(found)


def has_bridge(found: Iterable[Accepts], name: bytes) -> bool:
    return bool(_BRIDGE.fullmatch(name)) or any(name in one.bridges for one in found)


def mending(found: Accepts, prefix: str, comment: str) -> Iterator[Request]:
    yield from removal(found)
    for rule in reversed(wanted(prefix)):
        yield new_rule(found.family, TABLE, CHAIN, rule, comment, first=True)


def removal(found: Accepts) -> Iterator[Request]:
    for handle in found.handles:
        yield delete_rule(found.family, TABLE, CHAIN, handle)


def _whole(there: list[dict[int, bytes]], ours: list[dict[int, bytes]], rules: tuple[Rule, ...]) -> bool:
    """All in their order, and none behind a rule that ends the chain for every packet."""
    if len(ours) != len(rules) or not all(same(rule, one.get(4, b"")) for rule, one in zip(rules, ours, strict=True)):
        return False
    return not any(_ends(one) for one in there[: there.index(ours[-1])])


def _rules_in(link: Nfnetlink, family: int, chain: str) -> list[dict[int, bytes]]:
    return [body(one) for one in link.dump("cannot list Docker's rules", rules(TABLE, family, chain))]


def _bridges_in(rule: Mapping[int, bytes]) -> Iterator[bytes]:
    """The links that packets go out by, if it is Docker's: in a chain of its own, or on the way to one."""
    packed, chain = rule.get(4, b""), word(rule.get(2, b""))
    if chain == _PORTS and b"payload" in packed:
        return  # of one port, of which there may be many
    parts = shown(packed)
    if chain == _FORWARD and not any(_is_jump(name, attrs) for name, attrs in parts):
        return
    for (name, attrs), (then, compared) in pairwise(parts):
        if (name, then, number(attrs.get(2, b""))) == ("meta", "cmp", OIFNAME):
            value = attributes(compared.get(3, b"")).get(1, b"")
            # Without an end it is how names begin.
            if value.endswith(b"\0") and number(compared.get(2, b"")) == EQUAL:
                yield value.rstrip(b"\0")


def _is_jump(name: str, attrs: Mapping[int, bytes]) -> bool:
    said = attributes(attributes(attrs.get(2, b"")).get(2, b"")) if name == "immediate" else {}
    chain = word(said.get(2, b""))
    return chain.startswith(_CHAINS) and chain != CHAIN


def _comments(rule: Mapping[int, bytes]) -> Iterator[str]:
    """As `nft` keeps them, and as iptables does: a rule of ours that was saved and restored has that kind."""
    yield comment_in(rule.get(7, b""))
    for name, attrs in shown(rule.get(4, b"")):
        if (name, word(attrs.get(1, b""))) == ("match", "comment"):
            yield word(attrs.get(3, b""))


def _ends(rule: Mapping[int, bytes]) -> bool:
    names = [name for name, _ in shown(rule.get(4, b"")) if name != "counter"]
    return names == ["immediate"]
