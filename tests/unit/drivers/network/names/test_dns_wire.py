"""What comes from containers and servers is bytes of anybody's choice."""

import contextlib
import ipaddress
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.network.names import wire

LABEL = st.binary(min_size=1, max_size=63)
NAME = (
    st.lists(LABEL, max_size=6)
    .map(lambda labels: b"".join(bytes((len(x),)) + x for x in labels) + b"\0")
    .filter(lambda name: len(name) <= 255)
)
U16 = st.integers(0, 65535)


def query(
    name: bytes = b"\x03web\x00",
    kind: int = 1,
    klass: int = 1,
    *,
    number: int = 7,
    flags: int = 0x0100,
    opt: bytes = b"",
) -> bytes:
    return struct.pack(">6H", number, flags, 1, 0, 0, 1 if opt else 0) + name + struct.pack(">HH", kind, klass) + opt


def edns(size: int = 1232, version: int = 0, flags: int = 0, options: bytes = b"") -> bytes:
    return struct.pack(">BHHBBHH", 0, 41, size, 0, version, flags, len(options)) + options


@given(NAME, U16, U16, U16)
def test_a_query_is_read_as_it_was_written(name: bytes, kind: int, klass: int, number: int) -> None:
    parsed = wire.parse_query(query(name, kind, klass, number=number))
    assert (parsed.id, parsed.name, parsed.type, parsed.klass) == (number, name.lower(), kind, klass)
    assert parsed.question == name + struct.pack(">HH", kind, klass)


@given(st.binary(max_size=600))
@example(query(b"\xc0\x0c"))
@example(query(b"\x3f" + b"x" * 20))
@example(b"\0" * 12)
@example(query() + b"\0")
@example(query(opt=edns())[:-1])
def test_garbage_is_a_wire_error_and_nothing_else(data: bytes) -> None:
    try:
        parsed = wire.parse_query(data)
    except wire.WireError as error:
        if error.rcode is not None:
            refusal = wire.refusal(data, error.rcode)
            assert len(refusal) == 12
            assert refusal[2] & 0x80
    else:
        assert len(wire.response(parsed, 0, (), 512)) <= 512


@given(st.binary(min_size=1, max_size=12), st.integers(0, 40), NAME)
def test_one_broken_byte_is_never_more_than_a_wire_error(noise: bytes, at: int, name: bytes) -> None:
    data = bytearray(query(name, opt=edns(options=b"\0\x0a\0\x01x")))
    data[at : at + len(noise)] = noise
    with contextlib.suppress(wire.WireError):
        wire.parse_query(bytes(data))


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (query(flags=0x8100), None),  # an answer: to answer answers makes loops
        (query(flags=0x2900), wire.NOTIMP),
        (b"\0\1\1\0" + b"\0" * 8, wire.FORMERR),  # no question
        (struct.pack(">6H", 1, 0, 2, 0, 0, 0) + b"\0\0\1\0\1" * 2, wire.FORMERR),
        (struct.pack(">6H", 1, 0, 1, 1, 0, 0) + b"\0\0\1\0\1", wire.FORMERR),
        (query(b"\xc0\x0c"), wire.FORMERR),  # points to itself
        (query(b"\x01a\xc0\x0c"), wire.FORMERR),
        (query(b"\x40" + b"a" * 64 + b"\0"), wire.FORMERR),
        (query((b"\x3f" + b"a" * 63) * 4 + b"\0"), wire.FORMERR),  # 257 bytes
        (query(b"\x05ab"), wire.FORMERR),
        (query() + b"x", wire.FORMERR),
        (query(opt=edns()[:-2] + b"\0\x09"), wire.FORMERR),
        (query(opt=b"\0\0\1\0\1\0\0\0\0\0\0"), wire.FORMERR),  # an additional record that is no OPT
    ],
)
def test_what_is_no_query(data: bytes, rcode: int | None) -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.parse_query(data)
    assert caught.value.rcode == rcode


def test_edns_tells_what_the_asker_takes() -> None:
    assert wire.parse_query(query()).udp_limit == 512
    assert wire.parse_query(query(opt=edns(100))).udp_limit == 512
    assert wire.parse_query(query(opt=edns(1232))).udp_limit == 1232
    assert wire.parse_query(query(opt=edns(65535))).udp_limit == wire.MAX_UDP
    parsed = wire.parse_query(query(opt=edns(flags=0x8000, version=1)))
    assert parsed.dnssec
    assert parsed.version == 1


def test_a_dot_in_a_label_makes_no_second_label() -> None:
    parsed = wire.parse_query(query(b"\x07web.api\x00"))
    assert parsed.single_label
    assert parsed.name != wire.encode_name("web.api")
    assert not wire.parse_query(query(b"\x03web\x03api\x00")).single_label
    assert not wire.parse_query(query(b"\x00")).single_label


@given(st.lists(st.binary(min_size=4, max_size=4), max_size=400), st.integers(512, 4096), st.booleans())
def test_an_answer_fits_and_says_when_it_is_not_all(addresses: list[bytes], limit: int, opt: bool) -> None:
    parsed = wire.parse_query(query(b"\x03WeB\x00", opt=edns() if opt else b""))
    records = [wire.record(wire.A, one) for one in addresses]
    data = wire.response(parsed, 0, records, limit)
    number, flags, questions, answers, _, additional = struct.unpack_from(">6H", data)
    assert len(data) <= limit
    assert (number, questions, additional) == (7, 1, int(opt))
    assert data[12:21] == b"\x03WeB\x00\0\1\0\1"
    assert bool(flags & 0x0200) == (answers < len(addresses))
    assert data[21 : 21 + 16 * answers] == b"".join(records[:answers])


def test_flags_of_an_answer() -> None:
    parsed = wire.parse_query(query(flags=0x0110))
    assert struct.unpack_from(">H", wire.response(parsed, 3, (), 512), 2)[0] == 0x8593
    assert struct.unpack_from(">H", wire.failure(parsed, 2), 2)[0] == 0x8192
    extended = wire.response(wire.parse_query(query(opt=edns())), wire.BADVERS, (), 512)
    assert extended[3] & 15 == 0
    assert extended[-6] == 1


@given(NAME, st.integers(0, 2**64 - 1))
def test_another_spelling_is_the_same_name(name: bytes, bits: int) -> None:
    parsed = wire.parse_query(query(name))
    spelled = wire.respelled(parsed, bits)
    assert spelled[-4:] == parsed.question[-4:]
    assert spelled[:-4].lower() == parsed.name


def test_spelling_is_random_in_every_letter() -> None:
    parsed = wire.parse_query(query(b"\x03wEb\x021a\x00"))
    assert wire.respelled(parsed, 0)[:-4] == b"\x03web\x021a\x00"
    assert wire.respelled(parsed, 0b1111)[:-4] == b"\x03WEB\x021A\x00"
    assert wire.respelled(parsed, 0b0010)[:-4] == b"\x03wEb\x021a\x00"


@given(NAME, U16, st.binary(max_size=700), st.integers(512, 4096))
def test_a_servers_answer_comes_back_with_the_askers_number_and_spelling(
    name: bytes, sent: int, rest: bytes, limit: int
) -> None:
    parsed = wire.parse_query(query(name))
    question = wire.respelled(parsed, 0x5A5A5A5A)
    forwarded = wire.forwarded(query(name), parsed, sent, question)
    assert wire.parse_query(forwarded)[1:5] == parsed[1:5]
    reply = struct.pack(">6H", sent, 0x8180, 1, 1, 0, 0) + question + rest
    assert wire.parse_reply(reply, sent, question) == wire.Reply(0, False, True)
    passed = wire.passed_on(reply, parsed, limit)
    assert len(passed) <= limit
    assert passed[:2] == b"\0\x07"
    assert passed[12 : 12 + len(question)] == parsed.question
    if len(reply) > limit:
        assert passed[2] & 2
        assert struct.unpack_from(">3H", passed, 6) == (0, 0, 0)
    else:
        assert passed[12 + len(question) :] == rest


@given(st.binary(max_size=100))
def test_garbage_of_a_server_is_no_answer(data: bytes) -> None:
    question = b"\x03web\x00\0\1\0\1"
    reply = wire.parse_reply(data, 7, question)
    if reply is not None:
        assert data[:2] == b"\0\x07"
        wire.passed_on(data, wire.parse_query(query()), 512)


def test_only_the_answer_to_the_question_counts() -> None:
    question = b"\x03wEb\x00\0\1\0\1"

    def reply(number: int = 7, flags: int = 0x8180, count: int = 1, about: bytes = question) -> wire.Reply | None:
        return wire.parse_reply(struct.pack(">6H", number, flags, count, 0, 0, 0) + about, 7, question)

    assert reply() == wire.Reply(0, False, True)
    assert reply(flags=0x8383) == wire.Reply(3, True, True)
    assert reply(about=b"\x03web\x00\0\1\0\1") == wire.Reply(0, False, False)
    assert reply(number=8) is None
    assert reply(flags=0x0180) is None
    assert reply(flags=0xA180) is None
    assert reply(about=b"\x03wEc\x00\0\1\0\1") is None
    assert reply(about=b"\x03wEb\x00\0\x1c\0\1") is None
    # Types 65 and 97 are one letter in capitals and not.
    https = struct.pack(">6H", 7, 0x8180, 1, 0, 0, 0) + b"\x03wEb\x00\0a\0\1"
    assert wire.parse_reply(https, 7, b"\x03wEb\x00\0A\0\1") is None
    assert reply(count=2) is None
    assert reply(count=0, about=b"") is None
    assert reply(count=0, about=b"", flags=0x8185) == wire.Reply(5, False, True)


def test_an_error_without_the_question_gets_it_back() -> None:
    parsed = wire.parse_query(query())
    passed = wire.passed_on(struct.pack(">6H", 99, 0x8181, 0, 0, 0, 0), parsed, 512)
    assert passed == struct.pack(">6H", 7, 0x8181, 1, 0, 0, 0) + parsed.question


@given(st.ip_addresses())
def test_reverse_names(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    name = wire.reverse_name(address.packed)
    assert name == wire.encode_name(address.reverse_pointer)
    assert wire.reverse_address(name) == address.packed
    assert wire.pack_address(str(address)) == address.packed


@given(NAME, st.sampled_from(["", "in-addr.arpa", "ip6.arpa"]))
def test_no_name_breaks_the_reverse_reading(name: bytes, suffix: str) -> None:
    whole = name[:-1] + (wire.encode_name(suffix) if suffix else b"\0")
    found = wire.reverse_address(whole.lower())
    assert found is None or len(found) in (4, 16)


@pytest.mark.parametrize(
    "name",
    ["1.2.3.in-addr.arpa", "1.2.3.4.5.in-addr.arpa", "256.2.3.4.in-addr.arpa", "a.2.3.4.in-addr.arpa", "in-addr.arpa"],
)
def test_what_is_no_reverse_name(name: str) -> None:
    assert wire.reverse_address(wire.encode_name(name)) is None


@pytest.mark.parametrize("bad", ["", "a..b", ".", "a.", "x" * 64, ".".join(["x" * 60] * 5)])
def test_what_is_no_name(bad: str) -> None:
    with pytest.raises(wire.WireError):
        wire.encode_name(bad)
