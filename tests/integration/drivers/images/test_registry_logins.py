"""Who gets which credentials: every header of every registry is remembered, and none of them is ever another's."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.images.interface import Credentials
from drivers.images.registry.interface import RegistryConfig
from resources.errors import EngineError, NotFound, PermissionDenied, Unavailable
from tests import registry_faults
from tests.certificates import Authority
from tests.fake_registry import FakeRegistry
from tests.integration.drivers.images.pulls import Kept, Puller, saw, secrets_of

ME = Credentials("me", "hunter2-of-a")
PLAIN = RegistryConfig(plain_http=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def basic() -> Iterator[FakeRegistry]:
    with FakeRegistry(users={"me": ME.password}) as registry:
        registry.publish("team/app:1", [b"one", b"two"])
        yield registry


@pytest.fixture
def bearer(authority: Authority) -> Iterator[FakeRegistry]:
    with FakeRegistry(users={"me": ME.password}, tls=authority.issue("127.0.0.1")) as registry:
        registry.realm = f"{registry.url}/token"
        registry.publish("team/app:1", [b"one", b"two"])
        registry.publish("team/other:1", [b"three"])
        yield registry


def test_basic(basic: FakeRegistry, tmp_path: Path) -> None:
    puller = Puller(tmp_path)
    reference = f"{basic.host}/team/app:1"
    with pytest.raises(PermissionDenied, match=f"lading login {basic.host}"):
        puller.pull(reference)
    with pytest.raises(PermissionDenied, match=f"lading login {basic.host}"):
        puller.pull(reference, credentials=Credentials("me", "wrong"))
    assert puller.pull(reference, credentials=ME).layers
    with pytest.raises(PermissionDenied, match="identity token"):
        puller.images.resolve(reference, credentials=Credentials(identity_token="x"))
    kept = Puller(tmp_path / "kept", credentials=Kept({basic.host: ME}))
    assert kept.pull(reference).layers
    with pytest.raises(PermissionDenied):
        kept.pull(reference.replace(":1", ":2"), credentials=Credentials("me", "wrong"))


def test_a_name_that_is_wrong_is_told_from_a_login_that_is(basic: FakeRegistry, tmp_path: Path) -> None:
    puller = Puller(tmp_path)
    with pytest.raises(NotFound, match="no such image"):
        puller.pull(f"{basic.host}/team/app:2", credentials=ME)
    with pytest.raises(NotFound, match="no such repository"):
        puller.pull(f"{basic.host}/team/none:1", credentials=ME)
    basic.fault("manifests/1", registry_faults.status(403))
    with pytest.raises(PermissionDenied, match="may not read it"):
        puller.pull(f"{basic.host}/team/app:1", credentials=ME)


def test_tokens_are_fetched_once_for_each_repository(
    bearer: FakeRegistry, authority: Authority, tmp_path: Path
) -> None:
    puller = Puller(tmp_path, {bearer.host: RegistryConfig(ca=authority.pem)}, Kept({bearer.host: ME}))
    for _ in range(3):
        puller.pull(f"{bearer.host}/team/app:1")
        puller.images.prune([])
    puller.pull(f"{bearer.host}/team/other:1")
    tokens = bearer.asked("/token")
    assert [one.query["scope"] for one in tokens] == ["repository:team/app:pull", "repository:team/other:pull"]
    assert {one.query["service"] for one in tokens} == {bearer.host}
    assert {one.query["account"] for one in tokens} == {"me"}
    # The password goes to the token server alone.
    assert not [one for one in bearer.requests if one.path != "/token" and ME.password in one.text]
    with pytest.raises(PermissionDenied, match="refuses the login"):
        puller.pull(f"{bearer.host}/team/app:1", credentials=Credentials("me", "wrong"))


def test_a_token_that_expires_meanwhile(bearer: FakeRegistry, authority: Authority, tmp_path: Path) -> None:
    bearer.token_lifetime = 0.3
    bearer.fault("blobs/", registry_faults.stall(1.0, 0.4), times=9)
    puller = Puller(tmp_path, {bearer.host: RegistryConfig(ca=authority.pem)}, stall=3)
    bearer.publish("team/long:1", [bytes([i]) * 5 for i in range(9)])
    puller.pull(f"{bearer.host}/team/long:1", credentials=ME)
    assert len(bearer.asked("/token")) > 1


@pytest.mark.parametrize("kind", ["token", "access_token"])
def test_an_identity_token_is_exchanged(bearer: FakeRegistry, authority: Authority, tmp_path: Path, kind: str) -> None:
    bearer.identity_tokens["identity-of-me"] = "me"
    bearer.token_field = kind
    puller = Puller(tmp_path, {bearer.host: RegistryConfig(ca=authority.pem)})
    puller.pull(f"{bearer.host}/team/app:1", credentials=Credentials(identity_token="identity-of-me"))
    [exchange] = bearer.asked("POST /token")
    assert b"grant_type=refresh_token" in exchange.body
    assert not [one for one in bearer.requests if one is not exchange and "identity-of-me" in one.text]
    with pytest.raises(PermissionDenied, match="lading login"):
        puller.pull(f"{bearer.host}/team/other:1", credentials=Credentials(identity_token="another"))


@pytest.mark.parametrize(
    "answer",
    [
        b"{}",
        b"[]",
        b"{",
        b'{"token": 5}',
        b'{"token": ""}',
        b'{"token": "a\\r\\nX: y"}',
        b'{"token":"' + b"x" * 70_000 + b'"}',
        b'{"token": "hunter2-of-a", "token": "x"}',
        b"x" * (2 << 20),
    ],
)
def test_answers_that_are_no_token(bearer: FakeRegistry, authority: Authority, tmp_path: Path, answer: bytes) -> None:
    puller = Puller(tmp_path, {bearer.host: RegistryConfig(ca=authority.pem)})
    bearer.fault("/token", registry_faults.body(lambda _: answer), times=99)
    with pytest.raises(EngineError) as caught:
        puller.pull(f"{bearer.host}/team/app:1", credentials=ME)
    assert "hunter2" not in str(caught.value)
    assert len(bearer.requests) < 20


def test_a_registry_that_never_takes_its_own_tokens(bearer: FakeRegistry, authority: Authority, tmp_path: Path) -> None:
    puller = Puller(tmp_path, {bearer.host: RegistryConfig(ca=authority.pem)})
    bearer.fault("/v2/", registry_faults.status(401, {"WWW-Authenticate": f'Bearer realm="{bearer.realm}"'}), times=99)
    with pytest.raises(PermissionDenied):
        puller.pull(f"{bearer.host}/team/app:1", credentials=ME)
    assert len(bearer.requests) == 3


def test_check(basic: FakeRegistry, bearer: FakeRegistry, authority: Authority, tmp_path: Path) -> None:
    puller = Puller(tmp_path, {bearer.host: RegistryConfig(ca=authority.pem)})
    bearer.identity_tokens["identity-of-me"] = "me"
    for registry in (basic, bearer):
        puller.client.check(registry.host, ME)
        with pytest.raises(PermissionDenied, match="refuses the login"):
            puller.client.check(registry.host, Credentials("me", "wrong"))
    puller.client.check(bearer.host, Credentials(identity_token="identity-of-me"))
    basic.fault("/v2/", registry_faults.status(404))
    with pytest.raises(NotFound, match="no registry"):
        puller.client.check(basic.host, ME)
    with pytest.raises(Unavailable):
        puller.client.check("127.0.0.1:1", ME)
    with pytest.raises(EngineError):
        puller.client.check("a/b", ME)


REALMS = [
    "http://127.0.0.1:{port}/token",
    "http://localhost:{port}/token",
    "http://[::1]:{port}/token",
    "http://169.254.169.254/token",
    "https://169.254.169.254/token",
    "http://other.example/token",
    "http://user:word@127.0.0.1:{port}/token",
    "file:///etc/passwd",
    "https://0x7f000001:{port}/token",
    "https://2130706433:{port}/token",
    "",
]


@pytest.mark.parametrize("realm", REALMS)
def test_credentials_are_not_sent_to_any_realm(tmp_path: Path, realm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """REG-01: the registry is elsewhere (a name that leads here), its realm is this machine, or worse."""
    real = socket.getaddrinfo

    def elsewhere(host: str, *arguments: object, **more: object) -> object:
        return real("127.0.0.1" if host == "registry.example" else host, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    with FakeRegistry(users={"me": ME.password}) as registry, FakeRegistry() as local:
        registry.realm = realm.format(port=local.port) or "x"
        host = f"registry.example:{registry.port}"
        puller = Puller(tmp_path, {host: PLAIN})
        with pytest.raises(PermissionDenied) as caught:
            puller.pull(f"{host}/team/app:1", credentials=ME)
        assert "word" not in str(caught.value)
        assert local.requests == []
        assert not saw(registry, *secrets_of(ME))


def test_a_realm_whose_name_leads_to_this_machine(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS and with a right certificate at that: a name is not an address."""
    real = socket.getaddrinfo

    def elsewhere(host: str, *arguments: object, **more: object) -> object:
        return real("127.0.0.1" if host.endswith(".example") else host, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    pair = authority.issue("auth.example")
    with FakeRegistry(users={"me": ME.password}) as registry, FakeRegistry(tls=pair) as local:
        host, there = f"registry.example:{registry.port}", f"auth.example:{local.port}"
        registry.realm = f"https://{there}/token"
        puller = Puller(tmp_path, {host: PLAIN, there: RegistryConfig(ca=authority.pem)})
        with pytest.raises(PermissionDenied, match="not one that registries may send us to"):
            puller.pull(f"{host}/team/app:1", credentials=ME)
        assert local.requests == []


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_elsewhere_loses_the_login(basic: FakeRegistry, tmp_path: Path, code: int) -> None:
    """REG-02: another port is another origin."""
    with FakeRegistry() as other:
        other.blobs.update(basic.blobs)
        other.manifests.update(basic.manifests)
        redirect = registry_faults.redirect(other.url + "{path}", code)
        basic.fault("/team/", lambda r, a: redirect(r, a) if "authorization" in r.headers else a, times=99)
        puller = Puller(tmp_path)
        puller.pull(f"{basic.host}/team/app:1", credentials=ME)
        assert puller.check_blobs() == 4
        assert len(other.asked("blobs/")) == 3
        assert all("authorization" not in one.headers and "cookie" not in one.headers for one in other.requests)
        assert saw(basic, *secrets_of(ME))


def test_a_redirect_to_itself_keeps_it(basic: FakeRegistry, tmp_path: Path) -> None:
    basic.fault("blobs/", registry_faults.redirect("{path}?again"), times=3)
    Puller(tmp_path).pull(f"{basic.host}/team/app:1", credentials=ME)
    assert all("authorization" in one.headers for one in basic.asked("blobs/"))


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://user:word@127.0.0.1:1/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://a\tb/",
        "http://[::ffff:169.254.169.254]/",
        "{path}",
    ],
)
def test_redirects_that_are_not_followed(basic: FakeRegistry, tmp_path: Path, location: str) -> None:
    basic.fault("blobs/", registry_faults.redirect(location), times=99)
    with pytest.raises(EngineError) as caught:
        Puller(tmp_path).pull(f"{basic.host}/team/app:1", credentials=ME)
    assert "word" not in str(caught.value)
    assert len(basic.asked("blobs/")) <= 6


def test_no_redirect_from_tls_to_none(bearer: FakeRegistry, authority: Authority, tmp_path: Path) -> None:
    with FakeRegistry() as other:
        other.blobs.update(bearer.blobs)
        bearer.fault("blobs/", registry_faults.redirect(other.url + "{path}"), times=99)
        puller = Puller(tmp_path, {bearer.host: RegistryConfig(ca=authority.pem)})
        with pytest.raises(Unavailable, match="from https to http"):
            puller.pull(f"{bearer.host}/team/app:1", credentials=ME)
        assert other.requests == []


def test_a_challenge_of_where_a_redirect_leads_is_not_answered(basic: FakeRegistry, tmp_path: Path) -> None:
    with FakeRegistry(users={"me": ME.password}) as other:
        other.realm = f"{other.url}/token"
        basic.fault("blobs/", registry_faults.redirect(other.url + "{path}"), times=99)
        with pytest.raises(Unavailable, match=r"where .* sends us to"):
            Puller(tmp_path).pull(f"{basic.host}/team/app:1", credentials=ME)
        assert other.asked("blobs/")
        assert not any("authorization" in one.headers for one in other.requests)
