"""What nobody but the one they are for ever sees: credentials, in headers, errors, logs, and through proxies."""

import base64
import logging
import random
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from drivers.images.interface import Credentials
from drivers.images.registry.interface import RegistryConfig
from resources.errors import EngineError, PermissionDenied, Unavailable
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


def test_credentials_of_one_never_reach_another(tmp_path: Path) -> None:
    """REG-03: hundreds of pulls at once from registries that redirect, challenge and mirror one another."""
    with ExitStack() as stack:
        registries = [stack.enter_context(FakeRegistry(users={f"u{i}": f"hunter2-of-{i}"})) for i in range(4)]
        kept = Kept({r.host: Credentials(f"u{i}", f"hunter2-of-{i}") for i, r in enumerate(registries)})
        configs = {r.host: RegistryConfig(mirrors=(registries[i - 1].host,)) for i, r in enumerate(registries)}
        for i, registry in enumerate(registries):
            if i % 2:
                registry.realm = f"{registry.url}/token"
            for n in range(20):
                registry.publish(f"team/app{n}:1", [b"%d-%d" % (i, n), b"shared-%d" % n])
            other = registries[(i + 1) % 4]
            registry.fault("blobs/.*[0-4]$", registry_faults.redirect(other.url + "{path}"), times=60)
            registry.fault("manifests/", registry_faults.redirect(other.url + "{path}"), times=20)
        puller = Puller(tmp_path, configs, kept)

        def pull(number: int) -> None:
            chosen = random.Random(number)
            for _ in range(10):
                registry = chosen.choice(registries)
                with suppress(EngineError):
                    puller.pull(f"{registry.host}/team/app{chosen.randrange(20)}:1")

        threads = [threading.Thread(target=pull, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(len(registry.requests) for registry in registries) > 500
        for registry in registries:
            assert saw(registry, *secrets_of(kept[registry.host]))
            for other, credentials in kept.items():
                assert other == registry.host or not saw(registry, *secrets_of(credentials))
            for one in registry.requests:
                kind, _, token = one.headers.get("authorization", "").partition(" ")
                assert kind != "Bearer" or token in registry.tokens
        assert puller.check_blobs() > 0


class Caught(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage() + str(record.exc_info))


def test_credentials_are_in_no_error_and_no_log(basic: FakeRegistry, tmp_path: Path) -> None:
    """Whatever goes wrong, and whatever the registry says of it: here it says what it was sent."""
    caught = Caught()
    root = logging.getLogger()
    root.addHandler(caught)
    level = root.level
    root.setLevel(logging.DEBUG)
    token = base64.b64encode(f"me:{ME.password}".encode()).decode()
    texts: list[str] = []
    try:
        faults = [
            registry_faults.status(code, {}, f"Basic {token} {ME.password}") for code in (400, 401, 403, 404, 429, 500)
        ]
        faults += [
            registry_faults.raw(f"HTTP/1.1 200 OK\r\nBasic {token}\r\n\r\n".encode()),
            registry_faults.raw(f"{token}\r\n\r\n".encode()),
            registry_faults.headers(Content_Type=token),
            registry_faults.headers(Docker_Content_Digest=token, Content_Length=token),
            registry_faults.headers(WWW_Authenticate=f'Bearer realm="https://x:{ME.password}@y/"'),
            registry_faults.redirect(f"https://me:{ME.password}@example/"),
            registry_faults.body(lambda _: ME.password.encode()),
        ]
        for fault in faults:
            basic._scripts.clear()
            basic.fault("manifests/", lambda r, a, fault=fault: fault(r, a) if "authorization" in r.headers else a, 99)
            try:
                Puller(tmp_path, attempts=2).pull(f"{basic.host}/team/app:1", credentials=ME)
            except EngineError as error:
                texts.append("".join(traceback.format_exception(error)) + repr(error) + str(error))
        with pytest.raises(EngineError) as failed:
            Puller(tmp_path, environment={"HTTPS_PROXY": f"http://me:{ME.password}@127.0.0.1:1"}, attempts=2).pull(
                "registry.example/x", credentials=ME
            )
        texts.append("".join(traceback.format_exception(failed.value)) + str(failed.value))
    finally:
        root.removeHandler(caught)
        root.setLevel(level)
    assert len(texts) > 9
    for text in (*texts, *caught.lines):
        assert ME.password not in text
        assert token not in text


class Proxy:
    """An HTTP proxy that remembers what it was asked for."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.heads: list[str] = []
        self._refuse = refuse
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            self.heads.append(head.decode())
            verb, target, _ = head.split(b" ", 2)
            if self._refuse:
                connection.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
                return
            where = target if verb == b"CONNECT" else target.split(b"/")[2]
            _, _, port = where.decode().rpartition(":")
            with socket.create_connection(("127.0.0.1", int(port))) as there:
                if verb == b"CONNECT":
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    there.sendall(head)
                back = threading.Thread(target=self._pass, args=(there, connection), daemon=True)
                back.start()
                self._pass(connection, there)
                back.join()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def test_through_a_proxy(tmp_path: Path, authority: Authority) -> None:
    """REG-08: names are for the proxy to look up; its password is for it alone."""
    login = base64.b64encode(b"me:proxy-word").decode()
    pair = authority.issue("registry.example")
    with Proxy() as proxy, FakeRegistry(tls=pair) as tls, FakeRegistry() as plain:
        url = f"http://me:proxy-word@127.0.0.1:{proxy.port}"
        hosts = [f"registry.example:{tls.port}", f"plain.example:{plain.port}"]
        configs = {hosts[0]: RegistryConfig(ca=authority.pem), hosts[1]: PLAIN}
        puller = Puller(tmp_path, configs, environment={"https_proxy": url, "HTTP_PROXY": url})
        for host, registry in zip(hosts, (tls, plain), strict=True):
            registry.publish("team/app:1", [host.encode()])
            assert puller.pull(f"{host}/team/app:1").layers
            assert registry.requests
            assert not saw(registry, "proxy-word")
        assert not saw(tls, login)
        assert len(proxy.heads) >= 2
        assert all(f"Basic {login}" in head for head in proxy.heads)
        assert proxy.heads[0].startswith(f"CONNECT {hosts[0]} ")
        direct = Puller(tmp_path / "d", configs, environment={"https_proxy": url, "NO_PROXY": ".example"})
        with pytest.raises(Unavailable, match="cannot be found"):
            direct.pull(f"{hosts[0]}/team/app:1")


@pytest.mark.parametrize(
    "where", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "0.0.0.0", "127.0.0.1:1"]
)
def test_a_proxy_is_not_asked_for_what_is_local(tmp_path: Path, where: str) -> None:
    """It has addresses of its own that a registry must not reach through it."""
    with Proxy() as proxy, FakeRegistry() as registry:
        registry.publish("team/app:1", [b"one"])
        registry.fault("blobs/", registry_faults.redirect(f"http://{where}/latest/meta-data"), times=9)
        host = f"registry.example:{registry.port}"
        puller = Puller(tmp_path, {host: PLAIN}, environment={"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}"})
        with pytest.raises(PermissionDenied):
            puller.pull(f"{host}/team/app:1")
        assert proxy.heads
        assert all(f"http://{host}/" in head for head in proxy.heads)


def test_a_proxy_that_refuses(tmp_path: Path) -> None:
    with Proxy(refuse=True) as proxy:
        environment = {"HTTPS_PROXY": f"http://me:proxy-word@127.0.0.1:{proxy.port}"}
        with pytest.raises(Unavailable, match=r"through the proxy 127\.0\.0\.1") as caught:
            Puller(tmp_path, environment=environment).pull("registry.example/x")
        assert "proxy-word" not in str(caught.value)


def test_this_machine_is_never_behind_a_proxy(basic: FakeRegistry, tmp_path: Path) -> None:
    with Proxy(refuse=True) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        puller = Puller(tmp_path, environment={"HTTPS_PROXY": url, "HTTP_PROXY": url})
        puller.pull(f"{basic.host}/team/app:1", credentials=ME)
        assert proxy.heads == []
