"""The run root: in memory wherever it is asked for, and gone again when nothing lives in it."""

from pathlib import Path

import pytest

from drivers.kernel.mount import is_mounted, mount, unmount
from drivers.kernel.run_root import RunRoot
from drivers.kernel.statfs import is_in_memory
from drivers.snapshots.interface import Mount
from resources.errors import FailedPrecondition

pytestmark = pytest.mark.host


def on_disk(path: Path) -> Path:
    if is_in_memory(path):
        pytest.skip("temporary folders are in memory here: there is nothing to mount over")
    return path / "r"


def test_it_is_mounted_once_and_found_by_the_next(short_path: Path) -> None:
    path = on_disk(short_path)
    first = RunRoot(path)
    first.open()
    assert first.fresh
    assert is_in_memory(path)
    (path / "tasks").mkdir()
    second = RunRoot(path)
    second.open()
    assert not second.fresh
    assert (path / "tasks").is_dir()
    assert path.stat().st_mode & 0o777 == 0o711
    second.release()
    assert not is_mounted(path)
    assert list(path.iterdir()) == []


def test_it_stays_while_something_is_mounted_in_it(short_path: Path) -> None:
    path = on_disk(short_path)
    root = RunRoot(path)
    root.open()
    inner = path / "inner"
    inner.mkdir()
    mount(Mount("tmpfs", "tmpfs"), inner)
    root.release()
    assert is_mounted(path)
    unmount(inner)
    root.release()
    assert not is_mounted(path)


def test_a_folder_on_a_disk_with_something_in_it_is_not_hidden(short_path: Path) -> None:
    path = on_disk(short_path)
    path.mkdir()
    (path / "mine").write_text("x")
    with pytest.raises(FailedPrecondition, match="not empty"):
        RunRoot(path).open()
    assert (path / "mine").read_text() == "x"
