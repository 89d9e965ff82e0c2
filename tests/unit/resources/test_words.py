"""Texts with a form of their own."""

import signal

import pytest

from reconcilers.container import hardening
from resources import linux, words

DIGEST = "sha256:" + "0a" * 32


def taken(value: str) -> bool:
    try:
        words.check_image(value)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "value",
    [
        "nginx",
        "nginx:1.27",
        "library/nginx",
        "docker.io/library/nginx:latest",
        "localhost:5000/a",
        "[::1]:5000/a/b",
        f"a@{DIGEST}",
        f"registry.example/a:t@{DIGEST}",
        "a__b/c-d",
    ],
)
def test_references_to_images(value: str) -> None:
    assert words.check_image(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Nginx",
        "a b",
        "../a",
        "a/../b",
        "a:",
        ":a",
        "a@sha256:x",
        "http://a/b",
        "a:99999/b",
        "-a",
        "a\n",
        "a" * 513,
        "ａ",
    ],
)
def test_no_references_to_images(value: str) -> None:
    assert not taken(value)


def test_a_given_name_has_no_digest() -> None:
    with pytest.raises(ValueError, match="no digest"):
        words.check_tag(f"a@{DIGEST}")


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("SIGTERM", 15),
        ("TERM", 15),
        ("15", 15),
        ("SIGUSR1", 10),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("64", 64),
    ],
)
def test_signals(word: str, number: int) -> None:
    assert linux.signal_number(word) == number


@pytest.mark.parametrize(
    "word", ["", "0", "65", "sigterm", "SIGSIGTERM", "TERM ", "RTMIN+31", "RTMAX-31", "RTMIN+x", "-9", "9.0", "NOPE"]
)
def test_no_signals(word: str) -> None:
    with pytest.raises(ValueError, match="is not a signal"):
        linux.signal_number(word)


def test_the_names_of_signals_are_those_of_linux() -> None:
    own = {
        one.name.removeprefix("SIG"): one.value
        for one in signal.Signals
        if one.name not in ("SIGCLD", "SIGPOLL", "SIGIOT")
    }
    assert {name: linux.SIGNALS[name] for name in own if name not in ("RTMIN", "RTMAX")} == {
        name: number for name, number in own.items() if name not in ("RTMIN", "RTMAX")
    }


def test_the_capabilities_are_those_the_engine_knows() -> None:
    assert {f"CAP_{name}" for name in linux.CAPABILITIES} == set(hardening.ALL)


@pytest.mark.parametrize("value", ["10.0.0.1", "::1", "fd00:42::1"])
def test_addresses(value: str) -> None:
    assert words.check_address(value) == value


@pytest.mark.parametrize("value", ["10.0.0", "10.0.0.256", "010.0.0.1", "a", "", "10.0.0.1/24", "10.0.0/24", "1"])
def test_no_addresses(value: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address"):
        words.check_address(value)


@pytest.mark.parametrize("value", ["fe80::1%eth0", "fe80::1%\x1b", "%", "10.0.0.1%a"])
def test_an_address_names_no_link(value: str) -> None:
    with pytest.raises(ValueError, match=r"^names a link of a host( \(%\w+\))?: an address here has none$"):
        words.check_address(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("10.42.0.1/24", "has bits set beyond its prefix; the subnet is 10.42.0.0/24"),
        ("10.42.0.0", "a subnet has a prefix length"),
        ("x/24", "is not a subnet"),
        ("10.42.0.0/33", "is not a subnet"),
    ],
)
def test_no_subnets(value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        words.check_subnet(value)


@pytest.mark.parametrize("path", ["/a/../b", "a", "", "/a\n", "/a\0", "/\u2028", "/" + "a" * 5000])
def test_no_absolute_paths(path: str) -> None:
    with pytest.raises(ValueError, match="must be an absolute path"):
        words.check_absolute_path(path)


def test_paths_are_made_plain() -> None:
    assert words.check_absolute_path("//a/./b/") == "/a/b"
    assert words.check_absolute_path("/") == "/"


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\u2028b", "a\0b", "a b", "-a", "a..b", "a" * 65])
def test_no_hostnames(value: str) -> None:
    with pytest.raises(ValueError, match="a host name is"):
        words.check_hostname(value)


@pytest.mark.parametrize(
    "value", ["127.0.0.1", "10.0.0.1", "10.1", "1.2.3", "0x7f.1", "0X7F.0.0.0x1", "010.1", "999.1"]
)
def test_no_hostname_reads_as_an_address(value: str) -> None:
    with pytest.raises(ValueError, match="reads as an IPv4 address"):
        words.check_hostname(value)


@pytest.mark.parametrize("value", ["10", "0x10", "1.2.3.4.5", "10.a", "a.10", "1-2.3", "0xg.1", "localhost"])
def test_hostnames_of_digits(value: str) -> None:
    assert words.check_hostname(value) == value
