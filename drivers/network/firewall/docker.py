"""Docker's firewall beside ours: it drops what it does not know of forwarded packets, and a drop anywhere counts.

It leaves the chain `DOCKER-USER` of `ip filter` (and `ip6 filter`) to others. There we accept what comes from or goes to our
bridges, where our own table has the say; but what goes on to Docker's own bridges is left to Docker. The rules look as
iptables writes them, which shows them and can delete them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from drivers.network.firewall.expressions import (
    ACCEPT,
    IIFNAME,
    OIFNAME,
    RETURN,
    Rule,
    counter,
    links_named,
    same,
    shown,
    verdict,
)
from drivers.network.firewall.messages import chains, comment_in, delete_rule, new_rule, rules
from drivers.network.firewall.nfnetlink import IPV4, IPV6, Nfnetlink, body, word
from drivers.network.netlink import Request

TABLE, CHAIN = "filter", "DOCKER-USER"
_BRIDGES = ("docker", "br-")
"""How Docker's bridges are called, but for one the user gave a name."""


@dataclass(frozen=True, slots=True)
class Accepts:
    """What of ours is in one such chain."""

    family: int
    handles: tuple[bytes, ...]
    whole: bool


def wanted(prefix: str) -> tuple[Rule, ...]:
    out, come = links_named(OIFNAME, prefix), links_named(IIFNAME, prefix)
    return (
        (*out, counter(), verdict(ACCEPT)),
        *((*come, *links_named(OIFNAME, theirs), counter(), verdict(RETURN)) for theirs in _BRIDGES),
        (*come, counter(), verdict(ACCEPT)),
    )


def accepts(link: Nfnetlink, prefix: str, comment: str) -> tuple[Accepts, ...]:
    """One a chain there is."""
    found = []
    for family in (IPV4, IPV6):
        listed = (body(one) for one in link.dump("cannot list the firewall's chains", chains(family)))
        if any((word(one.get(1, b"")), word(one.get(3, b""))) == (TABLE, CHAIN) for one in listed):
            there = [body(one) for one in link.dump("cannot list Docker's rules", rules(TABLE, family, CHAIN))]
            ours = [one for one in there if comment in _comments(one)]
            handles = tuple(one[3] for one in ours)
            found.append(Accepts(family, handles, _whole(there, ours, wanted(prefix))))
    return tuple(found)


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


def _comments(rule: Mapping[int, bytes]) -> Iterator[str]:
    """As `nft` keeps them, and as iptables does: a rule of ours that was saved and restored has that kind."""
    yield comment_in(rule.get(7, b""))
    for name, attrs in shown(rule.get(4, b"")):
        if (name, word(attrs.get(1, b""))) == ("match", "comment"):
            yield word(attrs.get(3, b""))


def _ends(rule: Mapping[int, bytes]) -> bool:
    names = [name for name, _ in shown(rule.get(4, b"")) if name != "counter"]
    return names == ["immediate"]
