from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import MANY, Verb
from controller.cli.server import dispatch
from controller.cli.server.listener import CommandServer
from tests.unit.controller.cli.fakes import FakeBackend


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def server(short_path: Path, backend: FakeBackend) -> Iterator[Path]:
    """A command server; its run root."""
    server = CommandServer(short_path, backend)
    server.start()
    yield short_path
    server.stop()


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Call], int]], None]:
    """Add a verb of the function's name, for the length of a test."""

    def add(run: Callable[[Any], int]) -> None:
        made = Verb(run.__name__, "", "", run, words=(0, MANY))
        monkeypatch.setattr(dispatch, "VERBS", {**dispatch.VERBS, run.__name__: made})

    return add
