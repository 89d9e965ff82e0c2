"""The rules that all networks and ports share, and the sets in which each has its elements. Pure.

A packet meets `guard` first: nothing comes to 127.0.0.0/8 but over `lo`, and nothing from a bridge with a source to which
the way is another. `published` and `published-here` put the container's address in place of the host's, `leaving` the
host's in place of the container's, and `passing` decides on what is forwarded from or to a bridge; all else is none of our
business, and is left to others. Priorities are a little before those of Docker and most other firewalls, so that a
port of ours is found first; a drop of theirs counts anyway.
"""

from dataclasses import dataclass

from drivers.network.firewall.expressions import (
    ACCEPT,
    DROP,
    ESTABLISHED,
    GOTO,
    ICMPV6,
    IIFNAME,
    INVALID,
    L4PROTO,
    LINK_NAME,
    OIFKIND,
    OIFNAME,
    RELATED,
    TRANSPORT,
    Expression,
    Rule,
    compare,
    destination,
    dnat,
    icmpv6,
    link,
    link_in,
    links_named,
    links_not_named,
    lookup,
    masquerade,
    meta,
    not_to_the_host,
    pair_in,
    payload,
    protocol,
    source,
    source_in,
    source_is_elsewhere,
    state,
    translated,
    verdict,
    version,
    within,
)
from drivers.network.firewall.nfnetlink import IPV4, IPV6

ADDRESS4, ADDRESS6, PROTOCOL, SERVICE, LINK = 7, 8, 12, 13, 41
"""Types of data, as `nft` numbers them."""
_SIZES = {ADDRESS4: 4, ADDRESS6: 16, PROTOCOL: 4, SERVICE: 4, LINK: LINK_NAME}


@dataclass(frozen=True, slots=True)
class Set:
    name: str
    key: tuple[int, ...]
    """The types of what it is concatenated of."""
    data: tuple[int, ...] = ()
    """Those of the values of a map."""
    interval: bool = False

    @property
    def key_size(self) -> int:
        return _size(self.key)

    @property
    def data_size(self) -> int:
        return _size(self.data)


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    rules: tuple[Rule, ...]
    type: str = ""
    """"": only other chains lead to it."""
    hook: int = 0
    priority: int = 0


PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)

SETS = (
    Set("bridges", (LINK,)),
    Set("internal", (LINK,)),
    Set("same", (LINK, LINK)),
    Set("isolated", (LINK, LINK)),
    Set("closed", (LINK,)),
    Set("open", (LINK,)),
    Set("subnets4", (ADDRESS4,), interval=True),
    Set("subnets6", (ADDRESS6,), interval=True),
    Set("masquerade4", (ADDRESS4,), interval=True),
    Set("masquerade6", (ADDRESS6,), interval=True),
    Set("ports", (PROTOCOL, SERVICE, ADDRESS6)),
    Set("proxied", (PROTOCOL, SERVICE)),
    Set("any4", (PROTOCOL, SERVICE), (ADDRESS4, SERVICE)),
    Set("any6", (PROTOCOL, SERVICE), (ADDRESS6, SERVICE)),
    Set("at4", (ADDRESS4, PROTOCOL, SERVICE), (ADDRESS4, SERVICE)),
    Set("at6", (ADDRESS6, PROTOCOL, SERVICE), (ADDRESS6, SERVICE)),
)

_DROP, _ACCEPT = verdict(DROP), verdict(ACCEPT)
_SOURCE, _DESTINATION = 12, 16
_ROUTER_ADVERTISEMENT = 134


def chains(prefix: str) -> tuple[Chain, ...]:
    """All links whose names begin with the prefix are bridges of ours, known or not. A chain stands before those that lead
    to it."""
    come, go = links_named(IIFNAME, prefix), links_named(OIFNAME, prefix)
    return (
        Chain("passing", _passing(come, go)),
        Chain("guard", _guard(prefix), "filter", PREROUTING, -300),
        Chain("published", ((*not_to_the_host(), _ACCEPT), *_PUBLISHED4, *_PUBLISHED6), "nat", PREROUTING, -105),
        Chain("published-here", _PUBLISHED_HERE, "nat", OUTPUT, -105),
        Chain("entering", _ENTERING, "filter", INPUT, -5),
        Chain(
            "forwarded",
            ((*come, verdict(GOTO, "passing")), (*go, verdict(GOTO, "passing"))),
            "filter",
            FORWARD,
            -5,
        ),
        Chain("leaving", _leaving(go), "nat", POSTROUTING, 95),
    )


def _guard(prefix: str) -> tuple[Rule, ...]:
    return (
        (*link(IIFNAME, "lo"), _ACCEPT),
        # Ports at 127.0.0.1 are the host's alone, also when another machine sends there, and though bridges have route_localnet.
        (*within("127.0.0.0/8", _DESTINATION), _DROP),
        (*links_not_named(IIFNAME, prefix), _ACCEPT),
        # No container is a router for the host or for its neighbours.
        (*icmpv6(_ROUTER_ADVERTISEMENT), _DROP),
        # Who looks whether an address is free has none yet.
        (*version(IPV6), *protocol(ICMPV6), source(IPV6), compare(bytes(16)), _ACCEPT),
        (*source_is_elsewhere(), _DROP),
    )


def _passing(come: Rule, go: Rule) -> tuple[Rule, ...]:
    return (
        (*pair_in("same"), _ACCEPT),
        (*link_in(IIFNAME, "internal"), _DROP),
        (*link_in(OIFNAME, "internal"), _DROP),
        (*pair_in("isolated"), _DROP),
        (*come, *link_in(IIFNAME, "bridges", absent=True), _DROP),
        (*go, *link_in(OIFNAME, "bridges", absent=True), _DROP),
        (*state(ESTABLISHED | RELATED), _ACCEPT),
        (*state(INVALID), _DROP),
        (*translated(), _ACCEPT),
        (*go, _DROP),
        # `closed` has kinds of links. To Docker's containers goes what was translated: their ports are published.
        (*link_in(OIFKIND, "closed"), *link_in(OIFNAME, "open", absent=True), _DROP),
    )


def _leaving(go: Rule) -> tuple[Rule, ...]:
    return (
        (*link(OIFNAME, "lo"), _ACCEPT),
        (*go, *within("127.0.0.0/8", _SOURCE), masquerade()),
        # A container that reaches another, or itself, through the host's address gets its answers from there.
        (*go, *translated(), *source_in(IPV4, "subnets4"), masquerade()),
        (*go, *translated(), *source_in(IPV6, "subnets6"), masquerade()),
        (*go, _ACCEPT),
        (*source_in(IPV4, "masquerade4"), masquerade()),
        (*source_in(IPV6, "masquerade6"), masquerade()),
    )


def _port(word: int) -> tuple[Expression, Expression]:
    return meta(L4PROTO, word), payload(TRANSPORT, 2, 2, word + 1)


def _published(family: int) -> tuple[Rule, ...]:
    """First those of one address."""
    number, size = (4, 1) if family == IPV4 else (6, 4)
    return (
        (*version(family), destination(family), *_port(size), lookup(f"at{number}", into=0), dnat(family, 0, size)),
        (*version(family), *_port(0), lookup(f"any{number}", into=0), dnat(family, 0, size)),
    )


_PUBLISHED4, _PUBLISHED6 = _published(IPV4), _published(IPV6)
_PUBLISHED_HERE: tuple[Rule, ...] = (
    (*not_to_the_host(), _ACCEPT),
    *_PUBLISHED4,
    # An answer to ::1 would find no way back from a bridge: a proxy listens there.
    (*version(IPV6), destination(IPV6), compare(bytes(15) + b"\1"), _ACCEPT),
    *_PUBLISHED6,
)

_ENTERING: tuple[Rule, ...] = (
    # What a proxy stands in for is closed to internal networks, as if a rule did it.
    (*link_in(IIFNAME, "internal"), *version(IPV6), *_port(0), lookup("proxied"), _DROP),
)


def _size(types: tuple[int, ...]) -> int:
    return sum(_SIZES[one] for one in types)
