"""What is asked of nftables and what it shows: tables, chains, rules, sets and elements as messages. Pure."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from drivers.network.firewall import layout
from drivers.network.firewall.expressions import ACCEPT, Rule, same
from drivers.network.firewall.nfnetlink import INET, be32, body, family, message, number, word
from drivers.network.netlink.messages import (
    APPEND,
    CREATE,
    Reply,
    Request,
    attribute,
    attributes,
    every_attribute,
    text,
)

NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2
NEW_CHAIN, GET_CHAIN = 3, 4
NEW_RULE, GET_RULE, DELETE_RULE = 6, 7, 8
NEW_SET, GET_SET = 9, 10
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = 12, 13, 14

OWNER, PERSIST = 2, 4
"""Flags of a table: nobody but the socket that made it changes it, and it stays when that socket is closed."""
_LIST_ELEMENT, _VALUE = 1, 1
_COMMENT = 0
_INTERVAL, _MAP, _CONCATENATED_BITS = 4, 8, 6
_INTERVAL_END = 1
_HOST_ORDER = b"\0\4" + struct.pack("=I", 1)
"""Of keys, for `nft`."""
_ELEMENTS_PER_MESSAGE = 200
"""Of less than 300 bytes each: a list holds less than 64 KiB."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One element of one set. The kernel has two for an interval, of which the second has no comment."""

    set: str
    value: bytes
    end: bytes = b""
    """Of an interval: the first value after it; b"" when there is none."""


@dataclass(frozen=True, slots=True)
class Value:
    comment: str
    data: bytes = b""


Elements = Mapping[Key, Value]


def new_table(table: str, flags: int) -> Request:
    return message(NEW_TABLE, INET, text(1, table), be32(2, flags), flags=CREATE)


def delete_table(table: str) -> Request:
    return message(DELETE_TABLE, INET, text(1, table))


def everything(table: str, flags: int, chains: Sequence[layout.Chain]) -> Iterator[Request]:
    """The table with all sets, chains and rules of the layout, without elements."""
    yield new_table(table, flags)
    for at, one in enumerate(layout.SETS):
        yield message(NEW_SET, INET, text(1, table), text(2, one.name), *_shape(one), be32(10, at + 1), flags=CREATE)
    for chain in chains:
        yield message(NEW_CHAIN, INET, text(1, table), text(3, chain.name), *_place(chain), flags=CREATE)
    for chain in chains:
        for rule in chain.rules:
            yield new_rule(INET, table, chain.name, rule)


def new_rule(family: int, table: str, chain: str, rule: Rule, comment: str = "", *, first: bool = False) -> Request:
    said = (attribute(7, _comment(comment)),) if comment else ()
    return message(
        NEW_RULE,
        family,
        text(1, table),
        text(2, chain),
        attribute(4, b"".join(rule)),
        *said,
        flags=CREATE if first else CREATE | APPEND,
    )


def delete_rule(family: int, table: str, chain: str, handle: bytes) -> Request:
    return message(DELETE_RULE, family, text(1, table), text(2, chain), attribute(3, handle))


def change(table: str, removed: Iterable[Key], added: Elements) -> list[Request]:
    """Elements go before others come, which may take their place."""
    return [
        *_element_messages(table, DELETE_ELEMENT, 0, {key: Value("") for key in removed}),
        *_element_messages(table, NEW_ELEMENT, CREATE, added),
    ]


def tables() -> Request:
    return message(GET_TABLE, INET)


def chains(family: int = INET) -> Request:
    return message(GET_CHAIN, family)


def rules(table: str, family: int = INET, chain: str = "") -> Request:
    return message(GET_RULE, family, text(1, table), *((text(2, chain),) if chain else ()))


def sets(table: str) -> Request:
    return message(GET_SET, INET, text(1, table))


def elements(table: str, name: str) -> Request:
    return message(GET_ELEMENT, INET, text(1, table), text(2, name))


def flags_of(found: Iterable[Reply], table: str) -> tuple[int, int] | None:
    """Those of the table, and the number of the socket that owns it, or 0; None when there is none of that name."""
    for one in found:
        attrs = body(one)
        if family(one) == INET and word(attrs.get(1, b"")) == table:
            return number(attrs.get(2, b"")), number(attrs.get(7, b""))
    return None


def names_of(found: Iterable[Reply], table: str) -> set[str]:
    """Of sets."""
    return {word(attrs.get(2, b"")) for one in found if _of(attrs := body(one), table)}


def whole_sets(found: Iterable[Reply], table: str) -> bool:
    shown = {word(attrs.get(2, b"")): attrs for one in found if _of(attrs := body(one), table)}
    return all(
        one.name in shown and attributes(b"".join(_shape(one))).items() <= shown[one.name].items()
        for one in layout.SETS
    )


def whole_chains(found: Iterable[Reply], table: str, chains: Sequence[layout.Chain]) -> bool:
    shown = {word(attrs.get(3, b"")): attrs for one in found if _of(attrs := body(one), table)}
    return all(chain.name in shown and _is(chain, shown[chain.name]) for chain in chains)


def whole_rules(found: Iterable[Reply], table: str, chains: Sequence[layout.Chain]) -> bool:
    """Each chain has its rules in their order, and no other."""
    shown: dict[str, list[bytes]] = {}
    for one in found:
        if _of(attrs := body(one), table):
            shown.setdefault(word(attrs.get(2, b"")), []).append(attrs.get(4, b""))
    return all(
        len(chain.rules) == len(actual := shown.get(chain.name, []))
        and all(same(wanted, rule) for wanted, rule in zip(chain.rules, actual, strict=True))
        for chain in chains
    )


def elements_in(found: Iterable[Reply], name: str) -> Iterator[tuple[Key, Value]]:
    listed = [_shown(one) for reply in found for _, one in every_attribute(body(reply).get(3, b""))]
    # Where one interval ends and another begins, the end comes first.
    listed.sort(key=lambda one: (one[0], not one[1]))
    for at, (first, ends, value) in enumerate(listed):
        if not ends:
            after, closes, _ = listed[at + 1] if at + 1 < len(listed) else (b"", False, value)
            yield Key(name, first, after if closes else b""), value


@lru_cache(maxsize=1 << 14)
def _shown(element: bytes) -> tuple[bytes, bool, Value]:
    """Its key, whether it ends an interval, and its value. Most are as they were when the table was last read."""
    attrs = attributes(element)
    ends = bool(number(attrs.get(3, b"")) & _INTERVAL_END)
    return _inner(attrs.get(1, b"")), ends, Value(comment_in(attrs.get(6, b"")), _inner(attrs.get(2, b"")))


def comment_in(userdata: bytes) -> str:
    """What `nft` shows as a comment; whoever wrote it."""
    while len(userdata) >= 2:
        kind, size = userdata[0], userdata[1]
        if kind == _COMMENT:
            return word(userdata[2 : 2 + size])
        userdata = userdata[2 + size :]
    return ""


def _comment(said: str) -> bytes:
    value = said.encode("ascii") + b"\0"
    return bytes((_COMMENT, len(value))) + value


def _element_messages(table: str, kind: int, flags: int, elements: Elements) -> Iterator[Request]:
    by_set: dict[str, list[bytes]] = {}
    for key, value in sorted(elements.items(), key=lambda item: item[0]):
        by_set.setdefault(key.set, []).append(_element(key, value))
    for name, packed in by_set.items():
        for start in range(0, len(packed), _ELEMENTS_PER_MESSAGE):
            some = b"".join(packed[start : start + _ELEMENTS_PER_MESSAGE])
            yield message(kind, INET, text(1, table), text(2, name), attribute(3, some), flags=flags)


def _element(key: Key, value: Value) -> bytes:
    first = attribute(
        _LIST_ELEMENT,
        attribute(1, attribute(_VALUE, key.value))
        + (attribute(2, attribute(_VALUE, value.data)) if value.data else b"")
        + (attribute(6, _comment(value.comment)) if value.comment else b""),
    )
    if not key.end:
        return first
    return first + attribute(_LIST_ELEMENT, attribute(1, attribute(_VALUE, key.end)) + be32(3, _INTERVAL_END))


def _shape(one: layout.Set) -> tuple[bytes, ...]:
    flags = (_INTERVAL if one.interval else 0) | (_MAP if one.data else 0)
    # The kernel shows no flags when there are none.
    flagged = (be32(3, flags),) if flags else ()
    data = (be32(6, _concatenated(one.data)), be32(7, one.data_size)) if one.data else ()
    # So that `nft` shows the names of links.
    order = (attribute(13, _HOST_ORDER),) if one.key == (layout.LINK,) else ()
    return *flagged, *order, be32(4, _concatenated(one.key)), be32(5, one.key_size), *data


def _concatenated(types: tuple[int, ...]) -> int:
    found = 0
    for one in types:
        found = found << _CONCATENATED_BITS | one
    return found


def _place(chain: layout.Chain) -> tuple[bytes, ...]:
    if not chain.type:
        return ()
    hook = be32(1, chain.hook) + be32(2, chain.priority)
    return attribute(4, hook), be32(5, ACCEPT), text(7, chain.type)


def _is(chain: layout.Chain, shown: Mapping[int, bytes]) -> bool:
    return attributes(b"".join(_place(chain))).items() <= shown.items() and (bool(chain.type) == (4 in shown))


def _of(attrs: Mapping[int, bytes], table: str) -> bool:
    return word(attrs.get(1, b"")) == table


def _inner(data: bytes) -> bytes:
    return attributes(data).get(_VALUE, b"")
