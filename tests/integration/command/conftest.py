"""One engine for the tests of a module, a namespace of it for each; what a test leaves there is a failure."""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.integration.command.client import Client
from tests.integration.command.outside import until
from tests.leaks import OWNER_VARIABLE, Oracle
from tests.leaks.oracle import TestRuns

# Where one container has something each, below the roots.
PLACES = ("s/tasks", "s/snapshots/snapshots", "r/tasks", "r/rootfs", "r/sandboxes", "r/netns", "r/oci")


@pytest.fixture(scope="module")
def shared(test_runs: TestRuns, images: Path) -> Iterator[Engine]:
    """An engine that knows the image already."""
    token = secrets.token_hex(4)
    oracle = Oracle(token, test_runs)
    folder = Path(tempfile.mkdtemp(prefix="ld-", dir="/tmp"))
    oracle.own(folder)
    engine = Engine(folder / "e")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(OWNER_VARIABLE, token)
        Client(engine, "kept").apply()
    yield engine
    problems = engine.end()
    if problems:
        oracle.sweep()
    shutil.rmtree(folder, ignore_errors=True)
    assert problems + [f"left behind: {leak}" for leak in oracle.leaks()] == []


@pytest.fixture
def client(shared: Engine, leak_oracle: Oracle) -> Iterator[Client]:
    before = _places(shared)
    one = Client(shared, f"n{secrets.token_hex(3)}")
    yield one
    one("delete", "--all", "--data")
    until(lambda: _places(shared) <= before, what="nothing of this test is left")
    groups = [path for path in Path("/sys/fs/cgroup").glob(f"*/lading-*/{one.namespace}/*") if path.is_dir()]
    assert groups == []


@pytest.fixture
def alone(engine: Callable[[], Engine], images: Path) -> Client:
    """A client of an engine that is this test's own."""
    return Client(engine(), "default")


def _places(engine: Engine) -> set[Path]:
    return {path for place in PLACES for path in (engine.base / place).glob("*")}
