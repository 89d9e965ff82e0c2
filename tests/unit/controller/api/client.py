"""A client of the API, for its tests: aiohttp's where it is well behaved, raw bytes where it is not."""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, UnixConnector

from resources.container import ContainerSpec
from resources.kinds import Kind
from tests.unit.controller.api.backend import FakeBackend, made

SLEEPER: dict[str, Any] = {
    "apiVersion": "lading/v1",
    "kind": "Container",
    "metadata": {"name": "web"},
    "spec": {"image": {"name": "busybox"}, "networks": ["none"]},
}


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


class Client:
    def __init__(self, path: Path, backend: FakeBackend) -> None:
        self.path = path
        self.backend = backend

    def __call__(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Answer:
        async def ask() -> Answer:
            async with ClientSession(connector=UnixConnector(str(self.path))) as session:
                given = {"json": body} if body is not None else {}
                async with session.request(method, f"http://localhost/apis/lading/v1{path}", **given, **kwargs) as got:
                    return Answer(got.status, await got.json(), dict(got.headers))

        return asyncio.run(ask())

    def raw(self, request: bytes, *, until: bytes = b"") -> bytes:
        """Whatever bytes are sent, and what came back until the connection was closed, or until some text."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.path))
            connection.sendall(request)
            got = b""
            while chunk := connection.recv(65536):
                got += chunk
                if until and until in got:
                    break
            return got


def container(name: str = "web", **metadata: Any) -> Any:
    return made(Kind.CONTAINER, name, ContainerSpec.parse({"image": "busybox"}), **metadata)


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 10
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return value
