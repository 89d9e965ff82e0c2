"""Whatever lies where an engine has a folder: it starts, or one line says what is in its way. Nothing waits for ever."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.kernel.run_root import RunRoot
from tests.engines import Engine
from tests.integration.command.client import Client, container

pytestmark = [pytest.mark.host, pytest.mark.timeout(240), pytest.mark.usefixtures("images")]
KINDS: dict[str, Callable[[Path], object]] = {"fifo": os.mkfifo, "file": Path.touch}


@contextlib.contextmanager
def in_place_of(path: Path, aside: Path, kind: str) -> Iterator[None]:
    path.rename(aside)
    KINDS[kind](path)
    try:
        yield
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        aside.rename(path)


def folders(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_dir() and len(path.relative_to(root).parts) < 4)


def asked(client: Client, path: Path) -> bool:
    """Whether the engine starts."""
    answer = client("get", "container", check=False, timeout=30)
    said = answer.stdout + answer.stderr
    assert "Traceback" not in said, f"{path}: {said}"
    if answer.returncode == 0:
        client("shutdown")
        return True
    assert str(path) in said, f"{path}: {said}"
    assert len(answer.stderr.splitlines()) <= 3, said
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_folders_of_the_root(alone: Client, kind: str) -> None:
    alone.apply(container("one"))
    alone("delete", "--all", "--data")
    alone("image", "prune", "-a")
    alone("shutdown")
    found = folders(alone.engine.root)
    assert len(found) > 5
    refused = []
    for path in found:
        with in_place_of(path, alone.engine.base / "aside", kind):
            if not asked(alone, path):
                refused.append(path.name)
    assert "images" in refused
    assert asked(alone, alone.engine.root)


@pytest.mark.parametrize("kind", KINDS)
def test_folders_of_the_run_root(alone: Client, engine: Callable[[], Engine], kind: str) -> None:
    run_root = alone.engine.run_root
    alone.apply(container("one"))
    names = sorted({*(path.name for path in run_root.iterdir() if path.is_dir()), "publishing", "resolver", "networks"})
    alone("delete", "container/one")
    alone("shutdown")
    for name in names:
        memory = RunRoot(run_root)
        memory.open()
        KINDS[kind](run_root / name)
        assert asked(alone, run_root / name) or name not in ("publishing", "resolver")
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            (run_root / name).unlink()
        memory.release()
    alone("get", "container")
