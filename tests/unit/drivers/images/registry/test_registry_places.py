"""Where requests may go: URLs that others wrote, realms, redirects, proxies (threats.md REG-01, REG-02, REG-06, REG-08)."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.images.registry.endpoint import Endpoints
from drivers.images.registry.interface import RegistryConfig
from drivers.images.registry.origin import Origin, Url, is_loopback, joined, may_reach, origin, parse_url
from drivers.images.registry.proxy import Proxies
from drivers.images.registry.realm import checked_realm
from resources.errors import EngineError, InvalidArgument, PermissionDenied, Unsupported

HUB = Origin("https", "registry-1.docker.io", 443)
HERE = Origin("http", "127.0.0.1", 5000)
HERE_TLS = Origin("https", "localhost", 5000)
PLAIN = Origin("http", "registry.lan", 5000)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("https://a.b", "https://a.b/"),
        ("HTTPS://A.b:443/x?y=1#z", "https://a.b/x?y=1"),
        ("http://a:81?q", "http://a:81/?q"),
        ("https://[::1]:5/x", "https://[::1]:5/x"),
        ("https://10.0.0.1/", "https://10.0.0.1/"),
    ],
)
def test_urls(text: str, whole: str) -> None:
    assert str(parse_url(text, "it")) == whole


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd",
        "https://user:word@a/",
        "https://user@a/",
        "https://a\r\nX: y/",
        "https://a/\r\nX: y",
        "https://a b/",
        "https://a\\@b/",
        "https:/a",
        "//a/b",
        "a/b",
        "",
        "https://",
        "https://a:99999/",
        "https://a:0/",
        "https://[::g]/",
        "https://[fe80::1%25eth0]/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://010.0.0.1/",
        "https://é.example/",
        "gopher://a/",
        "https://a/" + "x" * 20_000,
    ],
)
def test_what_is_no_url_to_follow(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_url(text, "it")
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.255.254", "::1", "localhost", "::ffff:127.0.0.1"])
def test_what_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.evil", "evil.localhost", "127.0.0.1.evil", "LOCALHOST.", "10.0.0.1", "::2"]
)
def test_what_only_looks_like_this_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("found", ["127.0.0.1", "169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::1", "::"])
def test_a_registry_sends_nobody_to_what_is_local(found: str) -> None:
    there = Origin("https", "metadata.evil", 443)
    assert not may_reach(ip_address(found), there, HUB)
    # Its user named the registry: it may be wherever that is.
    assert may_reach(ip_address(found), HUB, HUB)


def test_a_registry_on_this_machine_may_have_its_parts_here() -> None:
    there = Origin("http", "127.0.0.1", 5001)
    assert may_reach(ip_address("127.0.0.1"), there, HERE)
    assert not may_reach(ip_address("169.254.169.254"), Origin("http", "x", 80), HERE)


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ("https://auth.docker.io/token", HUB),
        ("https://registry-1.docker.io:444/token", HUB),
        ("http://127.0.0.1:5001/auth", HERE),
        ("http://localhost:5001/auth", HERE),
        ("http://registry.lan:5001/auth", PLAIN),
        ("https://auth.example/t", PLAIN),
        ("https://127.0.0.1:5001/auth", HERE_TLS),
    ],
)
def test_realms_that_are_trusted(text: str, home: Origin) -> None:
    assert str(checked_realm(text, home)).startswith(text)


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ("http://auth.docker.io/token", HUB),
        ("http://registry-1.docker.io/token", HUB),
        ("https://127.0.0.1/token", HUB),
        ("http://127.0.0.1/token", HUB),
        ("https://localhost/token", HUB),
        ("https://[::1]/token", HUB),
        ("https://[::ffff:127.0.0.1]/token", HUB),
        ("https://169.254.169.254/latest", HUB),
        ("http://169.254.169.254/latest", HERE),
        ("https://[fe80::1]/", HUB),
        ("http://evil.example/token", HERE),
        ("http://other.lan/auth", PLAIN),
        ("http://127.0.0.1/auth", PLAIN),
        ("http://127.0.0.1:5001/auth", HERE_TLS),
        ("https://user:word@auth.docker.io/token", HUB),
        ("https://auth.docker.io/\r\nX: y", HUB),
        ("file:///etc/shadow", HUB),
        ("https://2852039166/", HUB),
        ("", HUB),
    ],
)
def test_realms_that_are_not(text: str, home: Origin) -> None:
    with pytest.raises(PermissionDenied) as caught:
        checked_realm(text, home)
    assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "whole"),
    [
        ("/x?y", "https://a.b:1/x?y"),
        ("//c/x", "https://c/x"),
        ("../z", "https://a.b:1/z"),
        ("http://c:8/", "http://c:8/"),
    ],
)
def test_where_a_redirect_leads(location: str, whole: str) -> None:
    assert str(joined(Url(Origin("https", "a.b", 1), "/v2/x"), location)) == whole


@given(st.text(max_size=60))
def test_any_location_leads_somewhere_or_is_refused(location: str) -> None:
    try:
        there = joined(Url(Origin("https", "a.b", 1), "/v2/x"), location)
    except InvalidArgument:
        return
    assert there.origin.scheme in ("http", "https")
    assert str(there).isascii()
    assert str(there).isprintable()
    assert "@" not in there.origin.netloc


ENVIRONMENT = {
    "HTTPS_PROXY": "http://me:w%40rd@proxy.lan:3128",
    "http_proxy": "proxy.lan:3129/",
    "NO_PROXY": "direct.example,.inner.example,10.0.0.0/8,[fd00::1],192.0.2.7,port.example:5000, *.star.example,fd01::/16",
}


@pytest.mark.parametrize(
    "where",
    [
        "direct.example",
        "x.direct.example",
        "a.inner.example",
        "10.9.8.7",
        "192.0.2.7",
        "127.0.0.1",
        "localhost",
        "[::1]",
        "port.example:5000",
        "a.star.example",
        "[fd00::1]",
        "[fd01::5]:5000",
    ],
)
def test_what_goes_around_the_proxy(where: str) -> None:
    assert Proxies(ENVIRONMENT).of(origin("https", where)) is None


@pytest.mark.parametrize(
    "where", ["example", "notdirect.example", "11.0.0.1", "port.example", "localhost.evil", "192.0.2.70", "[fd00::2]"]
)
def test_what_goes_through_the_proxy(where: str) -> None:
    proxy = Proxies(ENVIRONMENT).of(origin("https", where))
    assert proxy is not None
    assert str(proxy.origin) == "http://proxy.lan:3128"
    assert proxy.headers["Proxy-Authorization"] == "Basic bWU6d0ByZA=="
    assert "bWU6" not in repr(proxy)
    plain = Proxies(ENVIRONMENT).of(origin("http", where))
    assert plain is not None
    assert (str(plain.origin), plain.headers) == ("http://proxy.lan:3129", {})


def test_proxies_that_cannot_be_used() -> None:
    assert Proxies({"NO_PROXY": "*", **ENVIRONMENT, "no_proxy": "*"}).of(HUB) is None
    assert Proxies({}).of(HUB) is None
    for value, kind in (
        ("socks5://me:word@x:1", Unsupported),
        ("http://me:word@:", InvalidArgument),
        ("ftp://me:word@x", InvalidArgument),
    ):
        with pytest.raises(EngineError) as caught:
            Proxies({"HTTPS_PROXY": value}).of(HUB)
        assert type(caught.value) is kind
        assert "word" not in str(caught.value)


def test_places_of_a_registry() -> None:
    mine = RegistryConfig(mirrors=("mirror.lan:5000", "docker.io"), plain_http=True)
    endpoints = Endpoints({"docker.io": mine, "Mirror.lan:5000": RegistryConfig(insecure=True)})
    assert [(e.host, e.netloc, e.config.insecure) for e in endpoints.of("docker.io")] == [
        ("mirror.lan:5000", "mirror.lan:5000", True),
        ("docker.io", "registry-1.docker.io", False),
    ]
    assert [e.host for e in endpoints.of("quay.io")] == ["quay.io"]
    assert not endpoints.one("docker.io").may_lack_tls
    assert endpoints.one("localhost:5000").may_lack_tls
    assert not endpoints.one("localhost.evil:5000").may_lack_tls
    for wrong in ({"a/b": RegistryConfig()}, {"a": RegistryConfig(mirrors=("http://x",))}):
        with pytest.raises(InvalidArgument):
            Endpoints(wrong)


def test_how_a_place_is_reached_that_a_registry_sends_us_to() -> None:
    own = RegistryConfig(insecure=True)
    endpoints = Endpoints({"r.lan:5000": own, "auth.lan": RegistryConfig(plain_http=True), "docker.io": own})
    home = Origin("https", "r.lan", 5000)
    assert endpoints.config(Origin("https", "r.lan", 5001), home) is own
    assert endpoints.config(Origin("https", "auth.lan", 443), home).plain_http
    assert endpoints.config(HUB, HUB) is own
    # A registry's certificate not being checked says nothing about another host's.
    assert endpoints.config(Origin("https", "other.lan", 443), home) == RegistryConfig()
