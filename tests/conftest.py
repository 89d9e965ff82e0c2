"""What every test can use: short folders, an engine of its own, and the leak oracle around each host test."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.leaks import OWNER_VARIABLE, Oracle
from tests.leaks.oracle import TestRuns
from tests.machines import Machines
from tests.runtimes import CHOSEN, default

IMAGES = Path(__file__).resolve().parent.parent / ".cache" / "images"


def pytest_sessionstart() -> None:
    """Tests that shall run with one OCI runtime do not quietly run with another."""
    if CHOSEN and os.geteuid() == 0 and (found := default()) != CHOSEN:
        pytest.exit(f"containers run with {found} here, not with {CHOSEN}: see tests/runtimes.py", returncode=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("host"):
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def test_runs() -> Iterator[TestRuns]:
    runs = TestRuns()
    yield runs
    runs.close()


@pytest.fixture(autouse=True)
def leak_oracle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Oracle | None]:
    """Fail a host test that leaves anything of ours on the machine; `LADING_LEAKS=strict` counts everything new."""
    if not request.node.get_closest_marker("host"):
        yield None
        return
    token = secrets.token_hex(4)
    monkeypatch.setenv(OWNER_VARIABLE, token)
    runs: TestRuns = request.getfixturevalue("test_runs")
    oracle = Oracle(token, runs, strict=os.environ.get("LADING_LEAKS") == "strict")
    yield oracle
    leaks = oracle.leaks()
    if leaks:
        pytest.fail("left behind:\n  " + "\n  ".join(map(str, leaks)), pytrace=False)


@pytest.fixture
def instance(leak_oracle: Oracle | None) -> str:
    """A short name for what this test makes in the kernel: the leak oracle looks for it."""
    return leak_oracle.instance if leak_oracle else "t" + secrets.token_hex(4)


@pytest.fixture
def short_path(leak_oracle: Oracle | None) -> Iterator[Path]:
    """A folder whose path leaves room for socket names, which may not be longer than 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="ld-", dir="/tmp"))
    if leak_oracle:
        leak_oracle.own(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def machines(instance: str) -> Iterator[Machines]:
    """Network namespaces that stand for machines on one wire: `host`, where drivers and engines run, and `lan`."""
    made = Machines(instance)
    yield made
    made.close()


@pytest.fixture
def engine(leak_oracle: Oracle | None, short_path: Path) -> Iterator[Callable[..., Engine]]:
    """Make engines with roots of their own; at the end each is emptied, shut down and looked through."""
    assert leak_oracle is not None, "a test that starts an engine is a host test: mark it"
    made: list[Engine] = []

    def make(prefix: Sequence[str] = (), kind: type[Engine] = Engine) -> Engine:
        made.append(kind(short_path / f"e{len(made)}", prefix))
        return made[-1]

    yield make
    problems = [problem for one in made for problem in one.end()]
    if problems:
        leak_oracle.sweep()
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture(scope="session")
def images() -> Path:
    """The folder of the archives that script/images builds."""
    if not (IMAGES / "busybox.tar").exists():
        pytest.fail("no images: run script/images first", pytrace=False)
    return IMAGES
