"""Which bridges Docker's rules name, as they are read."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.network.firewall.docker import Accepts, accepts, has_bridge
from drivers.network.firewall.expressions import (
    ACCEPT,
    DROP,
    IIFNAME,
    JUMP,
    OIFNAME,
    RETURN,
    Rule,
    counter,
    link,
    links_named,
    payload,
    verdict,
)
from drivers.network.firewall.messages import GET_CHAIN, new_rule
from drivers.network.firewall.nfnetlink import IPV4, Nfnetlink, message
from drivers.network.netlink.messages import Reply, Request, text
from resources.errors import Unavailable

OUT, COME = link(OIFNAME, "mine"), link(IIFNAME, "mine")
DROPPED, TO_DOCKER = verdict(DROP), verdict(JUMP, "DOCKER")


class Listed:
    """A table `ip filter` with one rule, as the kernel lists it."""

    def __init__(self, chain: str, rule: Rule) -> None:
        self._chain = chain
        self._rule = new_rule(IPV4, "filter", chain, rule).body

    def dump(self, _: str, asked: Request) -> list[Reply]:
        if asked.body[0] != IPV4:
            return []
        if asked.kind & 0xFF == GET_CHAIN:
            chains = {"DOCKER-USER", self._chain}
            return [Reply(0, message(0, IPV4, text(1, "filter"), text(3, one)).body) for one in chains]
        return [Reply(0, self._rule)] if text(2, self._chain) in asked.body else []


def found(chain: str, *rule: bytes) -> tuple[Accepts, ...]:
    return accepts(cast(Nfnetlink, Listed(chain, rule)), "ld-", "us")


@pytest.mark.parametrize(
    ("chain", "rule", "named"),
    [
        ("FORWARD", (*OUT, counter(), TO_DOCKER), True),
        ("FORWARD", (*OUT, counter(), verdict(JUMP, "DOCKER-INTERNAL")), True),
        ("DOCKER-BRIDGE", (*OUT, counter(), TO_DOCKER), True),
        ("DOCKER-ISOLATION-STAGE-2", (*OUT, counter(), DROPPED), True),
        ("DOCKER", (*link(IIFNAME, "x"), *OUT, counter(), DROPPED), True),
        ("DOCKER", (payload(1, 16, 4), *OUT, counter(), verdict(ACCEPT)), False),
        ("DOCKER-ISOLATION-STAGE-1", (*COME, counter(), verdict(JUMP, "DOCKER-ISOLATION-STAGE-2")), False),
        ("FORWARD", (*links_named(OIFNAME, "mine"), counter(), TO_DOCKER), False),
        ("FORWARD", (*OUT, counter(), verdict(ACCEPT)), False),
        ("FORWARD", (*OUT, counter(), verdict(JUMP, "DOCKER-USER")), False),
        ("FORWARD", (*OUT, counter(), verdict(JUMP, "ufw-forward")), False),
        ("DOCKER-USER", (*OUT, counter(), verdict(RETURN)), False),
        ("ufw-forward", (*OUT, counter(), TO_DOCKER), False),
    ],
)
def test_a_bridge_is_dockers_when_its_rules_let_packets_out_there(chain: str, rule: Rule, named: bool) -> None:
    assert has_bridge(found(chain, *rule), b"mine") is named


def test_names_that_docker_gives_are_dockers_without_a_rule_and_others_are_not() -> None:
    assert all(has_bridge((), name) for name in (b"docker0", b"docker_gwbridge", b"br-0123456789ab"))
    others = (b"br-lan", b"br-ex", b"br-mgmt-storage", b"br-0123456789aB", b"docker1", b"xdocker0", b"")
    assert not any(has_bridge((), name) for name in others)


@given(st.binary(max_size=200))
def test_no_rule_of_others_makes_more_than_an_error_for_users(data: bytes) -> None:
    for chain in ("FORWARD", "DOCKER"):
        try:
            (one,) = found(chain, data)
        except Unavailable:
            continue
        assert one.bridges == frozenset()
