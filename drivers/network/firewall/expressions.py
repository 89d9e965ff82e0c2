"""Rules, as the kernel takes them: lists of expressions on registers. Pure.

A register is told by the 32-bit word it begins with; what is compared with a set of concatenated keys lies in words one
after the other. Nothing is flagged as nested, since the kernel does not do so when it shows a rule either: what is read
back can be compared byte by byte.
"""

import ipaddress
import struct
from collections.abc import Sequence

from drivers.network.firewall.nfnetlink import IPV4, be32, be64
from drivers.network.netlink.messages import attribute, attributes, every_attribute, text

Expression = bytes
Rule = tuple[Expression, ...]

NFPROTO, L4PROTO, IIFNAME, OIFNAME, OIFKIND = 15, 16, 6, 7, 27
LINK_NAME = 16
"""Bytes of the name of a link."""
EQUAL, DIFFERENT = 0, 1
NETWORK, TRANSPORT = 1, 2
DROP, ACCEPT, JUMP, GOTO, RETURN = 0, 1, -3, -4, -5
INVALID, ESTABLISHED, RELATED = 1, 2, 4
ICMPV6 = 58

_LIST_ELEMENT, _NAME, _DATA = 1, 1, 2
_VALUE, _VERDICT = 1, 2
_CT_STATE, _CT_STATUS, _DESTINATION_TRANSLATED = 0, 2, 0x20
_FIB_OIF, _FIB_TYPE, _FIB_SADDR, _FIB_DADDR, _FIB_IIF = 1, 3, 1, 2, 8
_LOCAL = 2
_COUNTER = "counter"


def register(word: int) -> int:
    return 8 + word if word % 4 else 1 + word // 4


def meta(key: int, word: int = 0) -> Expression:
    return _expression("meta", be32(2, key), be32(1, register(word)))


def payload(base: int, offset: int, size: int, word: int = 0) -> Expression:
    return _expression("payload", be32(1, register(word)), be32(2, base), be32(3, offset), be32(4, size))


def compare(value: bytes, op: int = EQUAL, word: int = 0) -> Expression:
    return _expression("cmp", be32(1, register(word)), be32(2, op), attribute(3, attribute(_VALUE, value)))


def masked(mask: bytes, word: int = 0) -> Expression:
    at = register(word)
    return _expression(
        "bitwise",
        be32(1, at),
        be32(2, at),
        be32(3, len(mask)),
        attribute(4, attribute(_VALUE, mask)),
        attribute(5, attribute(_VALUE, bytes(len(mask)))),
    )


def lookup(name: str, word: int = 0, *, into: int | None = None, absent: bool = False) -> Expression:
    """Whether the key is in a set; of a map, its value `into` the words from there."""
    result = () if into is None else (be32(3, register(into)),)
    return _expression("lookup", text(1, name), be32(2, register(word)), *result, be32(5, int(absent)))


def verdict(code: int, chain: str = "") -> Expression:
    said = be32(1, code) + (text(2, chain) if chain else b"")
    return _expression("immediate", be32(1, 0), attribute(2, attribute(_VERDICT, said)))


def dnat(family: int, address: int, port: int) -> Expression:
    at, to = register(address), register(port)
    return _expression("nat", be32(1, 1), be32(2, family), be32(3, at), be32(4, at), be32(5, to), be32(6, to))


def masquerade() -> Expression:
    return _expression("masq")


def counter() -> Expression:
    return _expression(_COUNTER, be64(1, 0), be64(2, 0))


def protocol(value: int) -> Rule:
    return meta(L4PROTO), compare(bytes([value]))


def version(value: int) -> Rule:
    return meta(NFPROTO), compare(bytes([value]))


def link(key: int, name: str) -> Rule:
    return meta(key), compare(name.encode().ljust(LINK_NAME, b"\0"))


def links_named(key: int, prefix: str) -> Rule:
    return meta(key), compare(prefix.encode())


def links_not_named(key: int, prefix: str) -> Rule:
    return meta(key), compare(prefix.encode(), DIFFERENT)


def link_in(key: int, name: str, *, absent: bool = False) -> Rule:
    return meta(key), lookup(name, absent=absent)


def pair_in(name: str) -> Rule:
    """The link it came in by and the one it goes out by."""
    return meta(IIFNAME), meta(OIFNAME, 4), lookup(name)


def source(family: int, word: int = 0) -> Expression:
    return payload(NETWORK, 12, 4, word) if family == IPV4 else payload(NETWORK, 8, 16, word)


def destination(family: int, word: int = 0) -> Expression:
    return payload(NETWORK, 16, 4, word) if family == IPV4 else payload(NETWORK, 24, 16, word)


def source_in(family: int, name: str) -> Rule:
    return *version(family), source(family), lookup(name)


def within(subnet: str, side: int) -> Rule:
    """Whether the source (12) or destination (16) of an IPv4 packet is in the subnet."""
    network = ipaddress.IPv4Network(subnet)
    return (
        *version(IPV4),
        payload(NETWORK, side, 4),
        masked(network.netmask.packed),
        compare(network.network_address.packed),
    )


def icmpv6(kind: int) -> Rule:
    return *protocol(ICMPV6), payload(TRANSPORT, 0, 1), compare(bytes([kind]))


def state(bits: int) -> Rule:
    return _bits(_CT_STATE, bits)


def translated() -> Rule:
    """Its destination was."""
    return _bits(_CT_STATUS, _DESTINATION_TRANSLATED)


def to_the_host() -> Rule:
    return _fib(_FIB_TYPE, _FIB_DADDR), compare(struct.pack("=I", _LOCAL))


def not_to_the_host() -> Rule:
    return _fib(_FIB_TYPE, _FIB_DADDR), compare(struct.pack("=I", _LOCAL), DIFFERENT)


def source_is_elsewhere() -> Rule:
    """The way back to the source does not lead over the link it came by."""
    return _fib(_FIB_OIF, _FIB_SADDR | _FIB_IIF), compare(bytes(4))


def shown(rule: bytes) -> list[tuple[str, dict[int, bytes]]]:
    """The expressions of a rule: name and attributes each. Raises: Unavailable when one is cut."""
    found = []
    for _, one in every_attribute(rule):
        parts = attributes(one)
        name = parts.get(_NAME, b"").rstrip(b"\0").decode(errors="replace")
        found.append((name, {} if name == _COUNTER else attributes(parts.get(_DATA, b""))))
    return found


def same(wanted: Sequence[Expression], actual: bytes) -> bool:
    """Whether a rule that was read is the wanted one. The kernel adds attributes for what was not said."""
    expected, found = shown(b"".join(wanted)), shown(actual)
    return len(expected) == len(found) and all(
        one[0] == other[0] and one[1].items() <= other[1].items() for one, other in zip(expected, found, strict=True)
    )


def _bits(key: int, bits: int) -> Rule:
    loaded = _expression("ct", be32(2, key), be32(1, register(0)))
    return loaded, masked(struct.pack("=I", bits)), compare(bytes(4), DIFFERENT)


def _fib(result: int, flags: int) -> Expression:
    return _expression("fib", be32(1, register(0)), be32(2, result), be32(3, flags))


def _expression(name: str, *attrs: bytes) -> Expression:
    return attribute(_LIST_ELEMENT, text(_NAME, name) + attribute(_DATA, b"".join(attrs)))
