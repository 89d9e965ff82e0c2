"""A registry that misbehaves as told, and remembers every request it had, headers and all.

It serves what was published to it, over TLS or not, to anybody or after a login; faults turn single answers into what
a broken, slow or hostile registry would give.
"""

import base64
import hashlib
import json
import re
import secrets
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.certificates import Pair

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    at: float

    @property
    def text(self) -> str:
        """All of it, to look for secrets in."""
        return f"{self.method} {self.path} {self.query} {self.headers} {self.body!r}"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    """End the connection after so many bytes of the body."""
    reset: bool = False
    """End it with a reset."""
    pause: float = 0.0
    """Seconds before the connection is ended."""
    trickle: float = 0.0
    """Seconds between single bytes of the body."""
    raw: bytes | Iterable[bytes] | None = None
    """Sent instead of all of it, piece by piece; until nobody takes it any more."""


Fault = Callable[[Request, Answer], Answer]


@dataclass(slots=True)
class _Script:
    pattern: re.Pattern[str]
    fault: Fault
    left: float


class Published:
    """An image as it was published."""

    def __init__(self, manifest: bytes, config: bytes, layers: Sequence[bytes], target: str) -> None:
        self.manifest = manifest
        self.config = config
        self.layers = list(layers)
        self.id = digest_of(manifest)
        self.target = target
        """What the tag points at."""


class FakeRegistry:
    def __init__(
        self,
        *,
        tls: Pair | None = None,
        users: Mapping[str, str] | None = None,
        realm: str = "",
        address: str = "127.0.0.1",
        context: Callable[[ssl.SSLContext], None] | None = None,
    ) -> None:
        """With `users` (password by name) a login is needed: Basic, or a token from `realm`, which `self` may be."""
        self.users = dict(users or {})
        self.realm = realm
        self.identity_tokens: dict[str, str] = {}
        self.token_lifetime = 60.0
        self.token_field = "token"
        self.requests: list[Request] = []
        self.sent: Counter[str] = Counter()
        """Bytes of bodies, by path."""
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.tokens: dict[str, tuple[float, str]] = {}
        self.ranges = True
        self._scripts: list[_Script] = []
        self._lock = threading.Lock()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = type("_Server", (_Server,), {"address_family": family})
        self._server = server((address, 0), type("_Bound", (_Handler,), {"registry": self}))
        self.scheme = "http"
        if tls:
            self.scheme = "https"
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            made.load_cert_chain(tls.certificate, tls.key)
            if context:
                context(made)
            self._server.context = made
        self.port: int = self._server.server_address[1]
        self.host = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> "FakeRegistry":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    # What it has

    def publish(
        self,
        name: str,
        layers: Sequence[bytes] = (b"layer",),
        *,
        platforms: Sequence[str] = ("linux/amd64",),
        index: bool = False,
        config: Mapping[str, Any] | None = None,
        manifest: Mapping[str, Any] | None = None,
    ) -> Published:
        """Put an image under `repository:tag`; what is given of its `config` and `manifest` is written as it is."""
        repository, tag = name.rsplit(":", 1)
        made = [self._image(repository, layers, one, dict(config or {}), dict(manifest or {})) for one in platforms]
        if len(made) == 1 and not index:
            self.put_manifest(repository, tag, made[0][0])
            return Published(*made[0], layers, digest_of(made[0][0]))
        entries = [
            described(only, MANIFEST)
            | {"platform": dict(zip(("os", "architecture", "variant"), one.split("/"), strict=False))}
            for (only, _), one in zip(made, platforms, strict=True)
        ]
        raw = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        self.put_manifest(repository, tag, raw, INDEX)
        return Published(*made[0], layers, digest_of(raw))

    def put_manifest(self, repository: str, tag: str, raw: bytes, kind: str = MANIFEST) -> str:
        for name in (tag, digest_of(raw)):
            self.manifests[(repository, name)] = (kind, raw)
        return digest_of(raw)

    def _image(
        self, repository: str, layers: Sequence[bytes], platform: str, config: dict[str, Any], changes: dict[str, Any]
    ) -> tuple[bytes, bytes]:
        system, machine, *variant = platform.split("/")
        document: dict[str, Any] = {"os": system, "architecture": machine}
        document |= {"variant": variant[0]} if variant else {}
        document |= {"rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}}
        raw_config = json.dumps({**document, "config": config}).encode()
        self.blobs.update({digest_of(blob): blob for blob in (*layers, raw_config)})
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(raw_config, CONFIG),
            "layers": [described(layer, LAYER) for layer in layers],
            **changes,
        }
        raw = json.dumps(manifest).encode()
        self.put_manifest(repository, digest_of(raw), raw)
        return raw, raw_config

    # How it misbehaves, and what it saw

    def fault(self, pattern: str, fault: Fault, times: float = 1) -> None:
        """Have the next `times` answers to requests that match (`GET /v2/…`, any part of it) go through `fault`."""
        with self._lock:
            self._scripts.append(_Script(re.compile(pattern), fault, times))

    def forgive(self) -> None:
        """No more faults."""
        with self._lock:
            self._scripts.clear()

    def asked(self, pattern: str) -> list[Request]:
        with self._lock:
            return [one for one in self.requests if re.search(pattern, f"{one.method} {one.path}")]

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            found = self._faults(f"{request.method} {request.path}")
        answer = self._token(request) if request.path == "/token" else self._guarded(request)
        for fault in found:
            answer = fault(request, answer)
        return answer

    def _faults(self, line: str) -> list[Fault]:
        for script in self._scripts:
            if script.left > 0 and script.pattern.search(line):
                script.left -= 1
                return [script.fault]
        return []

    def _guarded(self, request: Request) -> Answer:
        if self.users and not self._allowed(request):
            asks = f'Basic realm="{self.host}"'
            if self.realm:
                asks = f'Bearer realm="{self.realm}",service="{self.host}"'
                if match := re.match(r"/v2/(.+)/(?:manifests|blobs)/", request.path):
                    asks += f',scope="repository:{match[1]}:pull"'
            return error(401, "UNAUTHORIZED", {"WWW-Authenticate": asks})
        return self._content(request)

    def _allowed(self, request: Request) -> bool:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind == "Basic" and not self.realm:
            return self._user(value) is not None
        until, scope = self.tokens.get(value, (0.0, "")) if kind == "Bearer" else (0.0, "")
        match = re.match(r"/v2/(.+)/(?:manifests|blobs)/", request.path)
        return time.monotonic() < until and (match is None or scope == f"repository:{match[1]}:pull")

    def _user(self, encoded: str) -> str | None:
        name, _, password = base64.b64decode(encoded).decode().partition(":")
        return name if self.users.get(name) == password else None

    def _token(self, request: Request) -> Answer:
        if request.method == "POST":
            form = {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
            known = form.get("refresh_token", "") in self.identity_tokens
            scope = form.get("scope", "")
        else:
            kind, _, value = request.headers.get("authorization", "").partition(" ")
            known = kind == "Basic" and self._user(value) is not None
            scope = request.query.get("scope", "")
        if not known:
            return error(401, "UNAUTHORIZED", {})
        token = secrets.token_urlsafe(24)
        self.tokens[token] = (time.monotonic() + self.token_lifetime, scope)
        body = {self.token_field: token, "expires_in": max(1, int(self.token_lifetime))}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _content(self, request: Request) -> Answer:
        if request.path == "/v2/":
            return Answer(200, {"Content-Type": "application/json"}, b"{}")
        if match := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", request.path):
            found = self.manifests.get((match[1], match[2]))
            if found is None:
                known = any(repository == match[1] for repository, _ in self.manifests)
                return error(404, "MANIFEST_UNKNOWN" if known else "NAME_UNKNOWN", {})
            kind, raw = found
            return Answer(200, {"Content-Type": kind, "Docker-Content-Digest": digest_of(raw)}, raw)
        if match := re.fullmatch(r"/v2/(.+)/blobs/([^/]+)", request.path):
            return self._blob(match[2], request.headers.get("range", ""))
        return error(404, "UNSUPPORTED", {})

    def _blob(self, digest: str, wanted: str) -> Answer:
        blob = self.blobs.get(digest)
        if blob is None:
            return error(404, "BLOB_UNKNOWN", {})
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        if match is None or not self.ranges:
            return Answer(200, headers, blob)
        start = int(match[1])
        if start >= len(blob):
            return Answer(416, {"Content-Range": f"bytes */{len(blob)}"})
        headers["Content-Range"] = f"bytes {start}-{len(blob) - 1}/{len(blob)}"
        return Answer(206, headers, blob[start:])


def described(data: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


def error(status: int, code: str, headers: Mapping[str, str], message: str = "") -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Answer(status, {"Content-Type": "application/json", **headers}, body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """TLS is greeted in the thread of the connection; who greets where there is none is left at once."""
        with suppress(OSError):
            request.settimeout(30)
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
            elif request.recv(1, socket.MSG_PEEK) == b"\x16":
                return
            super().finish_request(request, client_address)
            if self.context is not None:
                request.close()

    def shutdown_request(self, request: Any) -> None:
        """Without the polite end first: it would come before a reset."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        split = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            self.command,
            split.path,
            {key: values[0] for key, values in parse_qs(split.query).items()},
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length),
            time.monotonic(),
        )
        self._send(request, self.registry.answer(request))

    do_GET = do_HEAD = do_POST = _serve

    def _send(self, request: Request, answer: Answer) -> None:
        if answer.raw is not None:
            for piece in [answer.raw] if isinstance(answer.raw, bytes) else answer.raw:
                self.wfile.write(piece)
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if request.method == "HEAD":
            return
        step = 1 if answer.trickle else 1 << 16
        data = answer.body if answer.cut is None else answer.body[: answer.cut]
        for start in range(0, len(data), step):
            self.wfile.write(data[start : start + step])
            with self.registry._lock:
                self.registry.sent[request.path] += len(data[start : start + step])
            if answer.trickle:
                time.sleep(answer.trickle)
        if answer.cut is not None:
            time.sleep(answer.pause)
            self.close_connection = True
        if answer.reset:
            # A linger of no time at all makes closing a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
