"""A server in front of an engine in memory, and a client of it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.server import ApiServer
from tests.unit.controller.api.backend import FakeBackend
from tests.unit.controller.api.client import Client


@pytest.fixture
def client(short_path: Path) -> Iterator[Client]:
    backend = FakeBackend()
    server = ApiServer(short_path, backend)  # type: ignore[arg-type]
    server.start()
    yield Client(short_path / "lading.sock", backend)
    server.stop()
    assert not (short_path / "lading.sock").exists()
    assert "api" not in {thread.name for thread in threading.enumerate()}
