"""Rules as expressions: what is written is told from what was altered."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.network.firewall import expressions, layout
from drivers.network.firewall.expressions import Rule, same, shown
from drivers.network.firewall.messages import comment_in, everything, whole_chains, whole_rules, whole_sets
from drivers.network.netlink.messages import Reply, attribute
from resources.errors import Unavailable

CHAINS = layout.chains("ld-")
RULES = [(chain.name, rule) for chain in CHAINS for rule in chain.rules]


@pytest.mark.parametrize(("chain", "rule"), RULES)
def test_a_rule_is_itself_and_no_other(chain: str, rule: Rule) -> None:
    assert same(rule, b"".join(rule))
    assert not same(rule, b"".join(rule[:-1]))
    assert not same(rule, b"".join((*rule, expressions.counter())))
    assert not same(rule, b"")
    others = [other for _, other in RULES if other != rule]
    assert not any(same(rule, b"".join(other)) for other in others)


@given(st.sampled_from([rule for _, rule in RULES]), st.data())
def test_no_byte_of_a_rule_can_be_another(rule: Rule, data: st.DataObject) -> None:
    packed = bytearray(b"".join(rule))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(Unavailable):  # not even a message any more
        if same(rule, bytes(packed)):
            assert shown(bytes(packed)) == shown(b"".join(rule)), "the bytes between attributes say nothing"


def test_what_the_kernel_adds_does_not_matter_and_counts_neither() -> None:
    rule = (expressions.counter(), expressions.masquerade())
    counted = expressions._expression("counter", attribute(1, b"\1" * 8), attribute(2, b"\2" * 8))
    flagged = expressions._expression("masq", attribute(1, bytes(4)))
    assert same(rule, counted + flagged)


def test_registers_of_16_bytes_and_of_4() -> None:
    assert [expressions.register(word) for word in (0, 1, 2, 3, 4, 5, 8)] == [1, 9, 10, 11, 2, 13, 3]


def test_the_whole_layout_is_told_whole_and_every_part_of_it_counts() -> None:
    requests = list(everything("t", 0, CHAINS))
    replies = [Reply(one.kind, one.body) for one in requests]

    def whole(found: list[Reply], table: str = "t") -> bool:
        kinds = {number: [one for one in found if one.kind & 0xFF == number] for number in (3, 6, 9)}
        return (
            whole_chains(kinds[3], table, CHAINS)
            and whole_rules(kinds[6], table, CHAINS)
            and whole_sets(kinds[9], table)
        )

    assert whole(replies)
    assert not whole(replies, "u")
    for at, one in enumerate(replies):
        if one.kind & 0xFF:
            assert not whole([*replies[:at], *replies[at + 1 :]])
    assert whole([*replies, *(Reply(one.kind, one.body) for one in everything("u", 0, CHAINS))])


def test_rules_name_sets_and_chains_that_there_are() -> None:
    known = {one.name for one in layout.SETS} | {one.name for one in CHAINS}
    names = {
        attrs[kind].rstrip(b"\0").decode()
        for _, rule in RULES
        for name, attrs in shown(b"".join(rule))
        for kind in (1,)
        if name == "lookup"
    }
    assert names <= known
    assert {one.name for one in layout.SETS} - names == {"ports"}, "which is a record alone"
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in known)
    seen: set[str] = set()
    for chain in CHAINS:
        targets = set(re.findall(rb"passing", b"".join(b"".join(rule) for rule in chain.rules)))
        assert not targets or "passing" in seen or chain.name == "passing"
        seen.add(chain.name)


@given(st.binary(max_size=300))
def test_what_others_put_into_a_comment_never_raises(data: bytes) -> None:
    comment_in(data)
    said = data.replace(b"\0", b"").decode("ascii", "ignore")[:200]
    assert comment_in(b"\7\1x\0" + bytes([len(said) + 1]) + said.encode() + b"\0") == said
