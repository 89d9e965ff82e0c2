"""TLS as it should be, and everything it must refuse (threats.md REG-04); registries on this machine without it."""

import socket
import ssl
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from drivers.images.registry.interface import RegistryConfig
from resources.errors import EngineError, InvalidArgument, Unavailable
from tests.certificates import Authority
from tests.fake_registry import FakeRegistry
from tests.integration.drivers.images.pulls import Puller


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def pull(folder: Path, registry: FakeRegistry, config: RegistryConfig | None = None, host: str = "") -> None:
    registry.publish("team/app:1", [b"one"])
    host = host or registry.host
    puller = Puller(folder, {host: config} if config else {})
    puller.pull(f"{host}/team/app:1")
    assert puller.check_blobs() == 3


def test_an_authority_of_ones_own(tmp_path: Path, authority: Authority) -> None:
    with FakeRegistry(tls=authority.issue("127.0.0.1", "localhost")) as registry:
        pull(tmp_path / "a", registry, RegistryConfig(ca=authority.pem))
        pull(tmp_path / "b", registry, RegistryConfig(ca=authority.pem), f"localhost:{registry.port}")
        with pytest.raises(Unavailable, match="does not hold"):
            pull(tmp_path / "c", registry)
        with pytest.raises(Unavailable, match="does not hold"):
            pull(tmp_path / "d", registry, RegistryConfig(ca=Authority(tmp_path / "other").pem))


def test_over_ipv6(tmp_path: Path, authority: Authority) -> None:
    with FakeRegistry(tls=authority.issue("::1"), address="::1") as registry:
        pull(tmp_path / "a", registry, RegistryConfig(ca=authority.pem))
    with FakeRegistry(address="::1") as registry:
        pull(tmp_path / "b", registry)


@pytest.mark.parametrize(
    ("flaw", "told"),
    [("expired", "expired"), ("early", "not yet valid"), ("name", "mismatch"), ("itself", "self-signed")],
)
def test_certificates_that_do_not_hold(tmp_path: Path, authority: Authority, flaw: str, told: str) -> None:
    pair = {
        "expired": authority.issue("127.0.0.1", days=(-10, -1)),
        "early": authority.issue("127.0.0.1", days=(1, 10)),
        "name": authority.issue("other.example"),
        "itself": authority.issue("127.0.0.1", itself=True),
    }[flaw]
    with FakeRegistry(tls=pair) as registry:
        with pytest.raises(Unavailable, match=told):
            pull(tmp_path / "a", registry, RegistryConfig(ca=authority.pem))
        assert registry.requests == []
        # For this one alone, when its user says so.
        pull(tmp_path / "b", registry, RegistryConfig(insecure=True))
        with pytest.raises(Unavailable, match="does not hold"):
            pull(tmp_path / "c", registry, RegistryConfig(plain_http=False), f"localhost:{registry.port}")


def test_insecure_is_for_one_registry(tmp_path: Path, authority: Authority) -> None:
    pair = authority.issue("127.0.0.1")
    with FakeRegistry(tls=pair) as one, FakeRegistry(tls=pair) as other:
        one.publish("team/app:1", [b"one"])
        other.publish("team/app:1", [b"one"])
        puller = Puller(tmp_path, {one.host: RegistryConfig(insecure=True)})
        puller.pull(f"{one.host}/team/app:1")
        with pytest.raises(Unavailable, match="does not hold"):
            puller.pull(f"{other.host}/team/app:1")
        assert other.requests == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(tmp_path: Path, authority: Authority) -> None:
    def old(context: ssl.SSLContext) -> None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    with FakeRegistry(tls=authority.issue("127.0.0.1"), context=old) as registry:
        host = f"registry.example:{registry.port}"
        lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        lax.check_hostname = False
        lax.verify_mode = ssl.CERT_NONE
        lax.set_ciphers("ALL:@SECLEVEL=0")
        lax.minimum_version = ssl.TLSVersion.TLSv1
        with lax.wrap_socket(socket.create_connection(("127.0.0.1", registry.port))) as connection:
            assert connection.version() in ("TLSv1", "TLSv1.1")
        with pytest.raises(EngineError):
            pull(tmp_path / "a", registry, RegistryConfig(ca=authority.pem))
        with pytest.raises(EngineError):
            pull(tmp_path / "b", registry, RegistryConfig(insecure=True), host)
        assert registry.requests == []


def test_a_certificate_of_ours(tmp_path: Path, authority: Authority) -> None:
    ours = authority.issue("client.example", client=True)

    def asks(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.pem)

    with FakeRegistry(tls=authority.issue("127.0.0.1"), context=asks) as registry:
        pull(tmp_path / "a", registry, RegistryConfig(ca=authority.pem, certificate=ours.certificate, key=ours.key))
        with pytest.raises(Unavailable):
            pull(tmp_path / "b", registry, RegistryConfig(ca=authority.pem))
        for config in (
            RegistryConfig(ca=tmp_path / "none.pem"),
            RegistryConfig(ca=ours.key),
            RegistryConfig(certificate=ours.certificate, key=authority.pem),
        ):
            with pytest.raises(InvalidArgument, match=str(tmp_path)):
                pull(tmp_path / "c", registry, config)


def test_a_renewed_certificate_is_taken(tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(Authority(tmp_path / "old").pem.read_bytes())
    with FakeRegistry(tls=authority.issue("127.0.0.1")) as registry:
        registry.publish("team/app:1", [b"one"])
        puller = Puller(tmp_path / "p", {registry.host: RegistryConfig(ca=path)})
        with pytest.raises(Unavailable):
            puller.pull(f"{registry.host}/team/app:1")
        path.write_bytes(authority.pem.read_bytes())
        assert puller.pull(f"{registry.host}/team/app:1").layers


def test_a_registry_on_this_machine_may_lack_tls(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        pull(tmp_path / "a", registry)
        pull(tmp_path / "b", registry, host=f"localhost:{registry.port}")


@pytest.mark.parametrize("name", ["localhost.evil", "registry.example"])
def test_a_name_that_leads_here_is_not_this_machine(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def elsewhere(host: str, *arguments: object, **more: object) -> object:
        return real("127.0.0.1" if host == name else host, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    with FakeRegistry() as registry:
        host = f"{name}:{registry.port}"
        with pytest.raises(Unavailable):
            pull(tmp_path / "a", registry, host=host)
        assert registry.requests == []
        pull(tmp_path / "b", registry, RegistryConfig(plain_http=True), host)


def test_a_wrong_certificate_is_no_reason_to_do_without_tls(tmp_path: Path, authority: Authority) -> None:
    """Whoever can break the greeting on the way would get the password otherwise."""
    with FakeRegistry(tls=Authority(tmp_path / "other").issue("127.0.0.1")) as registry:
        with pytest.raises(Unavailable, match="does not hold"):
            pull(tmp_path / "a", registry)
        assert registry.requests == []


def test_plain_http_is_plain_http(tmp_path: Path, authority: Authority) -> None:
    with FakeRegistry(tls=authority.issue("127.0.0.1")) as registry:
        with pytest.raises(EngineError):
            pull(tmp_path / "a", registry, RegistryConfig(plain_http=True, ca=authority.pem))
        assert registry.requests == []


def test_an_address_that_leads_nowhere_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv6 that swallows everything: the other address is tried beside it."""
    real = socket.getaddrinfo

    def both(host: str, port: int, *arguments: object, **more: object) -> object:
        if host != "two.example":
            return real(host, port, *arguments, **more)  # type: ignore[arg-type]
        stream = socket.SOCK_STREAM
        return [
            (socket.AF_INET6, stream, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, stream, 6, "", ("127.0.0.1", port)),
        ]

    with FakeRegistry() as registry, ExitStack() as stack:
        # Nobody accepts, and no more are kept waiting: what comes now is not answered at all.
        hole = stack.enter_context(socket.create_server(("::1", registry.port), family=socket.AF_INET6, backlog=0))
        for _ in range(4):
            one = stack.enter_context(socket.socket(socket.AF_INET6))
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(hole.getsockname())
        with pytest.raises(TimeoutError):
            socket.create_connection(("::1", registry.port), timeout=0.5)
        monkeypatch.setattr(socket, "getaddrinfo", both)
        host = f"two.example:{registry.port}"
        started = time.monotonic()
        pull(tmp_path, registry, RegistryConfig(plain_http=True), host)
        assert 0.2 < time.monotonic() - started < 2


def test_somebody_who_says_nothing(tmp_path: Path) -> None:
    """Neither to a greeting nor to a question: it is left after the stall's time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    held.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        puller = Puller(tmp_path, attempts=2)
        started = time.monotonic()
        with pytest.raises(Unavailable, match="sent nothing"):
            puller.pull(f"127.0.0.1:{server.getsockname()[1]}/x")
        assert time.monotonic() - started < 5
        for one in held:
            one.close()
