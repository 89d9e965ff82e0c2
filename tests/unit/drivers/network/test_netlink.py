"""Messages and attributes as bytes, good ones and cut ones, and a socket that believes the kernel alone."""

import errno
import os
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.network.netlink import messages as netlink
from drivers.network.netlink.links import find_links, get_link, read_link
from drivers.network.netlink.messages import (
    Answer,
    Netlink,
    Reply,
    Request,
    attribute,
    attributes,
    every_attribute,
    messages_in,
    nested,
    number,
    text,
    u8,
    u32,
)
from drivers.network.netlink.routes import addresses_of, default_routes
from resources.errors import (
    AlreadyExists,
    EngineError,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unsupported,
)

KINDS = st.integers(1, 0x3FFF)
LINK_GET, LINK_NEW, ERROR, DONE = 18, 16, 2, 3
LOOPBACK = struct.pack("=BxHiII", 0, 0, 1, 0, 0)


@given(st.dictionaries(KINDS, st.binary(max_size=300), max_size=8))
def test_attributes_are_read_as_they_were_written(values: dict[int, bytes]) -> None:
    written = b"".join(attribute(kind, value) for kind, value in values.items())
    assert len(written) % 4 == 0
    assert attributes(written) == values
    assert list(every_attribute(b"1234" + written, 4)) == list(values.items())
    ((kind, inner),) = every_attribute(nested(7, written))
    assert (kind, attributes(inner)) == (7, values)


@given(KINDS, st.integers(0, 255), st.integers(0, 0xFFFFFFFF), st.text(st.characters(exclude_characters="\0")))
def test_values_are_read_as_they_were_written(kind: int, small: int, big: int, words: str) -> None:
    assert attributes(u8(kind, small))[kind] == bytes([small])
    assert number(attributes(u32(kind, big))[kind]) == big
    assert attributes(text(kind, words))[kind] == words.encode() + b"\0"


def test_of_several_of_one_kind_the_last_holds() -> None:
    assert attributes(u8(3, 1) + u8(3, 2)) == {3: b"\x02"}
    assert list(every_attribute(u8(3, 1) + u8(3, 2))) == [(3, b"\x01"), (3, b"\x02")]


def test_an_attribute_is_never_longer_than_its_length_can_say() -> None:
    assert len(attribute(1, bytes(0xFFFF - 4))) == 0x10000
    with pytest.raises(ValueError, match="64 KiB"):
        attribute(1, bytes(0xFFFF - 3))


@given(st.binary(max_size=200))
def test_any_bytes_are_attributes_or_are_refused(data: bytes) -> None:
    try:
        found = list(every_attribute(data))
    except Unavailable:
        return
    assert sum(4 + len(value) + -len(value) % 4 for _, value in found) in range(len(data), len(data) + 4)


@given(st.dictionaries(KINDS, st.binary(max_size=40), min_size=1, max_size=4), st.data())
def test_cut_attributes_are_refused(values: dict[int, bytes], data: st.DataObject) -> None:
    written = b"".join(attribute(kind, value) for kind, value in values.items())
    cut = written[: data.draw(st.integers(0, len(written) - 1))]
    try:
        found = attributes(cut)
    except Unavailable:
        return
    # Only at an end of one, or in what fills it up.
    assert found.items() <= values.items()


@pytest.mark.parametrize(
    "data", [b"\x03\0\x01\0", b"\0\0\x01\0", b"\xff\xff\x01\0abcd", b"\x05\0\x01\0", b"\x04\0\x01", b"\x04\0\x01\0\x04"]
)
def test_lengths_that_lie_are_refused(data: bytes) -> None:
    with pytest.raises(Unavailable, match="cut"):
        attributes(data)


def message(kind: int, sequence: int, body: bytes = b"", flags: int = 0) -> bytes:
    data = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body
    return data + bytes(-len(data) % 4)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 9), st.binary(max_size=60))))
def test_messages_are_read_as_they_were_written(written: list[tuple[int, int, int, bytes]]) -> None:
    data = b"".join(message(kind, sequence, body, flags) for kind, flags, sequence, body in written)
    assert list(messages_in(data)) == written


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_are_refused(data: bytes) -> None:
    try:
        assert sum(16 + len(body) for *_, body in messages_in(data)) <= len(data)
    except Unavailable:
        return


@given(st.binary(max_size=120), st.sampled_from([LINK_NEW, ERROR, DONE, 4, 77]), st.integers(0, 0xFFFF))
def test_any_answer_is_read_or_refused(body: bytes, kind: int, flags: int) -> None:
    answers = {1: Answer()}
    try:
        done = netlink._read(message(kind, 1, body, flags), answers)
    except EngineError:
        return
    assert done == ({1} if kind in (ERROR, DONE) else set())
    if answers[1].error:
        assert str(answers[1].failure("cannot do it")).startswith("cannot do it: ")


@given(st.binary(max_size=400))
def test_any_link_is_read_or_refused(body: bytes) -> None:
    try:
        read_link(Reply(LINK_NEW, body))
    except Unavailable:
        return


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EEXIST, AlreadyExists),
        (errno.ENODEV, NotFound),
        (errno.EPERM, PermissionDenied),
        (errno.EOPNOTSUPP, Unsupported),
        (errno.EBUSY, FailedPrecondition),
        (errno.EINVAL, Unavailable),
    ],
)
def test_a_refusal_says_why_in_words(code: int, expected: type[EngineError]) -> None:
    answers = {1: Answer()}
    header = struct.pack("=IHHII", 16, LINK_GET, 0, 1, 0)
    words = attribute(1, b"no such thing\x1b[31m\n\0")
    assert netlink._read(message(ERROR, 1, struct.pack("=i", -code) + header + words, 0x200), answers) == {1}
    failure = answers[1].failure("cannot make the link")
    assert type(failure) is expected
    assert str(failure) == f"cannot make the link: {os.strerror(code)}: no such thing?[31m?"


class Socket:
    """Stands in for the kernel: answers each send with the datagrams of `script`."""

    def __init__(self, script: Callable[[int], list[tuple[bytes, int]]]) -> None:
        self._script = script
        self._queue: Iterator[tuple[bytes, int]] = iter(())

    def send(self, data: bytes) -> None:
        (sequence,) = struct.unpack_from("=I", data, 8)
        self._queue = iter(self._script(sequence))

    def recvmsg(self, _: int) -> tuple[bytes, list[object], int, tuple[int, int]]:
        data, sender = next(self._queue, (b"", -1))
        if sender == -1:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return data, [], 0, (sender, 0)

    def close(self) -> None: ...


def played(script: Callable[[int], list[tuple[bytes, int]]]) -> Netlink:
    link = Netlink()
    link.close()
    link._socket = Socket(script)  # type: ignore[assignment]
    return link


def acknowledged(sequence: int, code: int = 0) -> bytes:
    return message(ERROR, sequence, struct.pack("=i", -code) + bytes(16))


def test_answers_of_others_and_to_other_questions_are_passed_over() -> None:
    link = played(
        lambda sequence: [
            (acknowledged(sequence, errno.EPERM), 4711),
            (acknowledged(sequence + 1, errno.EPERM) + acknowledged(sequence), 0),
        ]
    )
    assert link.ask(Request(LINK_GET, LOOPBACK)) == [Answer()]


def test_a_list_that_changed_meanwhile_is_asked_for_again() -> None:
    rounds = iter([[b"old"], [b"new"]])
    told: list[bytes] = []

    def script(sequence: int) -> list[tuple[bytes, int]]:
        told[:] = next(rounds)
        interrupted = 0x10 if told == [b"old"] else 0
        return [
            (message(LINK_NEW, sequence, told[0], 2), 0),
            (message(DONE, sequence, struct.pack("=i", 0), 2 | interrupted), 0),
        ]

    assert played(script).dump("cannot list", Request(LINK_GET, LOOPBACK)) == [Reply(LINK_NEW, b"new")]


def test_of_a_list_without_end_a_part_is_kept() -> None:
    def script(sequence: int) -> list[tuple[bytes, int]]:
        told = [(message(LINK_NEW, sequence, bytes([at] * 4), 2), 0) for at in range(9)]
        return [*told, (message(DONE, sequence, struct.pack("=i", 0), 2), 0)]

    replies = played(script).dump("cannot list", Request(LINK_GET, LOOPBACK), limit=2)
    assert [reply.body for reply in replies] == [bytes(4), b"\1\1\1\1"]


def test_no_answer_is_an_error_that_can_be_tried_again() -> None:
    with pytest.raises(Unavailable, match="did not answer"):
        played(lambda sequence: []).ask(Request(LINK_GET, LOOPBACK))
    with pytest.raises(Unavailable, match="lost"):
        played(lambda sequence: [(message(4, sequence), 0)]).ask(Request(LINK_GET, LOOPBACK))


def test_several_requests_are_answered_one_by_one_also_after_a_failure() -> None:
    with Netlink() as link:
        there, not_there, also = link.ask(get_link("lo"), get_link("no-such-link-00"), get_link(index=1))
        assert (there.error, not_there.error, also.error) == (0, errno.ENODEV, 0)
        assert read_link(there.replies[0]).name == read_link(also.replies[0]).name == "lo"
        assert link.ask() == []
        assert [found and found.index for found in find_links(link, get_link("lo"), get_link("no-such-link-00"))] == [
            1,
            None,
        ]
        with pytest.raises(NotFound, match="cannot look"):
            link.do("cannot look", get_link("no-such-link-00"))
        link.do("cannot look", get_link("no-such-link-00"), fine=(errno.ENODEV,))


def test_what_the_loopback_link_has_is_listed() -> None:
    with Netlink() as link:
        assert "127.0.0.1/8" in [address.value for address in addresses_of(link, 1)]
        assert default_routes(link, 1, ipv6=True) == []
