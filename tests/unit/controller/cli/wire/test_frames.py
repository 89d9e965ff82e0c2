import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cli.wire import frames

KINDS = st.sampled_from([frames.OUT, frames.REQUEST, frames.DATA, frames.END])


@given(st.lists(st.binary(max_size=300)))
def test_fields_come_out_as_they_went_in(fields: list[bytes]) -> None:
    assert frames.unpack(frames.pack(*fields)) == fields


@given(st.binary())
def test_file_names_that_are_no_utf8_go_through(name: bytes) -> None:
    assert frames.unpack(frames.pack(frames.text(name))) == [name]


@given(st.lists(st.tuples(KINDS, st.binary(max_size=100))), st.integers(1, 50))
def test_frames_are_put_together_whatever_the_pieces(sent: list[tuple[bytes, bytes]], size: int) -> None:
    data = b"".join(frames.frame(*one) for one in sent)
    incoming, got = frames.Incoming(), []
    for at in range(0, len(data), size):
        incoming.feed(data[at : at + size])
        while (one := incoming.take()) is not None:
            got.append(one)
    assert got == sent


@pytest.mark.parametrize(
    "data",
    [b"Z\0\0\0\0", b"o\xff\xff\xff\xff", b"o" + (frames.MAX_PAYLOAD + 1).to_bytes(4, "big"), b"GET / HTTP/1.1\r\n"],
)
def test_what_is_no_frame_is_refused_before_anything_is_kept(data: bytes) -> None:
    incoming = frames.Incoming()
    incoming.feed(data)
    with pytest.raises(frames.Broken):
        incoming.take()


@given(st.binary(max_size=40))
def test_fields_of_strangers_are_read_or_refused(data: bytes) -> None:
    try:
        fields = frames.unpack(data)
    except frames.Broken:
        return
    assert frames.pack(*fields) == data
