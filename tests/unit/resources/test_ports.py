"""Which addresses of the host exclude each other at one port."""

import socket
from itertools import combinations_with_replacement

import pytest

from resources.ports import overlap


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("", "", True),
        (None, "", True),
        ("", "127.0.0.1", True),
        (None, "::1", True),
        ("", "0.0.0.0", True),
        ("", "::", True),
        ("0.0.0.0", "::", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("::", "127.0.0.1", False),
        ("::", "fd00::1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("fd00::1", "FD00:0::1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::ffff:0.0.0.0", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "::", False),
    ],
)
def test_two_addresses(one: str | None, other: str | None, expected: bool) -> None:
    assert overlap(one, other) is expected
    assert overlap(other, one) is expected


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError):
        overlap("localhost", "127.0.0.1")


@pytest.mark.parametrize(
    ("one", "other"), list(combinations_with_replacement(["0.0.0.0", "::", "127.0.0.1", "127.0.0.2", "::1"], 2))
)
def test_the_kernel_agrees(one: str, other: str) -> None:
    def bound(address: str, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        if ":" in address:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        return made

    with bound(one, 0) as first:
        try:
            bound(other, first.getsockname()[1]).close()
            met = False
        except OSError:
            met = True
    assert met is overlap(one, other)
