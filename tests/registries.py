"""The distribution's own registry (Debian's docker-registry, 2.8) for tests: plain, over TLS, with logins of both kinds.

with Registry(folder) as registry:                                       # plain, anybody may push and pull
with Registry(folder, tls=authority.issue("127.0.0.1"), users=True) as registry:   # TLS, and USER may log in
with TokenServer(authority) as tokens, Registry(folder, tls=…, tokens=tokens) as registry:
    registry.push(images / "redis.tar", "team/redis:1")                  # an OCI archive, by skopeo
    registry.host                                                        # 127.0.0.1:PORT
"""

import base64
import json
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from drivers.images.interface import Credentials
from tests.certificates import Authority, Pair

PROGRAM = "docker-registry"
USER = Credentials("tester", "secret")
# bcrypt of USER's password: the only kind that the registry takes, and nothing we have makes it.
_HTPASSWD = "tester:$2b$04$Sn3znpkeu2hNjVZm19KPCeL/yLY9g4mzklEyBRkFY5gWaXAILLkIq\n"
_ISSUER = "tests"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Registry:
    def __init__(
        self, folder: Path, *, tls: Pair | None = None, users: bool = False, tokens: "TokenServer | None" = None
    ) -> None:
        """Keeps its content under `folder`; `users`: USER has to log in, by name and password."""
        self.host = f"127.0.0.1:{free_port()}"
        self.folder = folder / f"registry-{self.host.partition(':')[2]}"
        self.tls = tls
        self._users = users
        self._tokens = tokens
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Registry":
        if shutil.which(PROGRAM) is None:
            pytest.fail(f"{PROGRAM} is not installed: run script/setup --dev", pytrace=False)
        self.folder.mkdir(parents=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def needs_login(self) -> bool:
        return self._users or self._tokens is not None

    def start(self) -> None:
        settings = self.folder / "config.yml"
        settings.write_text(yaml.safe_dump(self._settings()))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, "serve", settings], stdout=log, stderr=log)
        host, _, port = self.host.partition(":")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"{PROGRAM} does not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def push(self, archive: Path, name: str, *options: str) -> str:
        """Push an OCI archive as `name`; return the digest it has there. `options` are skopeo's (`--format v2s2`)."""
        # Byte for byte: packing layers anew would take seconds, and change digests.
        chosen = options or ("--preserve-digests",)
        self._skopeo(
            "copy", "--dest-tls-verify=false", *self._login("--dest-creds"), *chosen, f"oci-archive:{archive}", name
        )
        inspected = self._skopeo("inspect", "--tls-verify=false", *self._login("--creds"), name)
        digest: str = json.loads(inspected)["Digest"]
        return digest

    def _login(self, option: str) -> list[str]:
        return [f"{option}={USER.username}:{USER.password}"] if self.needs_login else []

    def _skopeo(self, *words: str) -> str:
        *rest, name = words
        done = subprocess.run(
            ["skopeo", *rest, f"docker://{self.host}/{name}"], capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise AssertionError(f"skopeo {words[0]} failed: {done.stderr[-2000:]}")
        return done.stdout

    def _settings(self) -> dict[str, Any]:
        http: dict[str, Any] = {"addr": self.host, "secret": "for tests"}
        if self.tls:
            http["tls"] = {"certificate": str(self.tls.certificate), "key": str(self.tls.key)}
        settings: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}},
            "http": http,
        }
        if self._users:
            (self.folder / "htpasswd").write_text(_HTPASSWD)
            settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(self.folder / "htpasswd")}}
        if self._tokens is not None:
            settings["auth"] = {
                "token": {
                    "realm": f"{self._tokens.url}/token",
                    "service": "registry-of-tests",
                    "issuer": _ISSUER,
                    "rootcertbundle": str(self._tokens.authority.pem),
                }
            }
        return settings


class TokenServer:
    """Gives the tokens that a Registry takes: to USER, or for an identity token."""

    def __init__(self, authority: Authority, *, lifetime: int = 60) -> None:
        self.authority = authority
        self.lifetime = lifetime
        self.identity_tokens: set[str] = set()
        self.allowed = {"pull", "push"}
        """What USER may do; nobody else may do anything."""
        self.asked: list[Mapping[str, str]] = []
        pair = authority.issue("127.0.0.1")
        self._certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Bound", (_TokenHandler,), {"tokens": self}))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"https://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "TokenServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(self, user: str, service: str, scope: str) -> str:
        kind, _, rest = scope.partition(":")
        name, _, wanted = rest.rpartition(":")
        actions = sorted(self.allowed & set(wanted.split(",")))
        access = [{"type": kind, "name": name, "actions": actions}] if name else []
        now = int(time.time())
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        claims = {
            "iss": _ISSUER,
            "sub": user,
            "aud": service,
            "exp": now + self.lifetime,
            "nbf": now - 10,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _TokenHandler(BaseHTTPRequestHandler):
    tokens: TokenServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        expected = base64.b64encode(f"{USER.username}:{USER.password}".encode()).decode()
        self._answer(asked, self.headers.get("Authorization") == f"Basic {expected}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        asked = {name: values[0] for name, values in parse_qs(body).items()}
        self._answer(asked, asked.get("refresh_token") in self.tokens.identity_tokens)

    def _answer(self, asked: Mapping[str, str], known: bool) -> None:
        self.tokens.asked.append(asked)
        body = b"{}"
        if known:
            token = self.tokens.token(USER.username, asked.get("service", ""), asked.get("scope", ""))
            body = json.dumps({"token": token, "access_token": token, "expires_in": self.tokens.lifetime}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
