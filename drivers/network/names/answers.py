"""What we answer ourselves, and what is asked of others. Pure but for the order of records, which is random."""

from _random import Random  # the module around it is larger than all of ours
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from drivers.network.names import wire
from drivers.network.names.zones import Zones

MAX_UDP_ADDRESSES = 16
"""The truncation bit then tells that TCP has all of them."""

_LOOPBACK = ((wire.A, bytes((127, 0, 0, 1))), (wire.AAAA, bytes(15) + b"\1"))
"""What localhost and all below it are, whoever is called so (RFC 6761)."""

_order = Random()
T = TypeVar("T")


class Answer(NamedTuple):
    rcode: int
    records: Sequence[tuple[int, bytes]] = ()
    """Type and data."""


def own_answer(zones: Zones, sandbox_id: str, query: wire.Query, *, forward: bool) -> Answer | None:
    """None for what is to be forwarded."""
    if query.version:
        return Answer(wire.BADVERS)
    if query.klass != wire.IN:
        return Answer(wire.REFUSED)
    if query.type in (wire.AXFR, wire.IXFR):
        return Answer(wire.NOTIMP)
    if wire.is_localhost(query.name):
        return Answer(wire.NOERROR, [one for one in _LOOPBACK if query.type in (one[0], wire.ANY)])
    found = zones.addresses(sandbox_id, query.name)
    if found is not None:
        records: list[tuple[int, bytes]] = []
        if query.type in (wire.A, wire.ANY):
            records += [(wire.A, one) for one in found.ipv4]
        if query.type in (wire.AAAA, wire.ANY):
            records += [(wire.AAAA, one) for one in found.ipv6]
        return Answer(wire.NOERROR, records)
    address = wire.reverse_address(query.name) if query.type in (wire.PTR, wire.ANY) else None
    if address is not None and (names := zones.names_at(sandbox_id, address)):
        return Answer(wire.NOERROR, [(wire.PTR, name) for name in names])
    if query.single_label or not forward:
        # Not REFUSED: musl takes that for no answer at all, and waits until its time is up.
        return Answer(wire.NXDOMAIN)
    return None


def packed(query: wire.Query, answer: Answer, *, udp: bool) -> bytes:
    """In random order, and over UDP some of many."""
    limit = query.udp_limit if udp else 65535
    chosen = drawn(answer.records, MAX_UDP_ADDRESSES if udp else len(answer.records))
    records = [wire.record(kind, data) for kind, data in chosen]
    return wire.response(query, answer.rcode, records, limit, more=len(records) < len(answer.records))


def drawn(items: Sequence[T], count: int) -> list[T]:
    """As many of them, each as likely as any other."""
    left = list(items)
    count = min(count, len(left))
    for at in range(count):
        other = at + int(_order.random() * (len(left) - at))
        left[at], left[other] = left[other], left[at]
    return left[:count]
