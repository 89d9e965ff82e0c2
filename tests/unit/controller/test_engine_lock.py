"""One engine a state root, whatever becomes of the files in it."""

import os
from pathlib import Path

import pytest

from controller.engine_lock import EngineLock
from resources.errors import FailedPrecondition


def test_a_second_engine_is_told_of_the_first(tmp_path: Path) -> None:
    first = EngineLock(tmp_path)
    with pytest.raises(FailedPrecondition, match=rf"\(pid {os.getpid()}\) serves"):
        EngineLock(tmp_path)
    (tmp_path / "engine.lock").unlink()
    with pytest.raises(FailedPrecondition, match=r"\(pid unknown\) serves"):
        EngineLock(tmp_path)
    first.release()
    EngineLock(tmp_path).release()


def test_what_lies_in_the_way_of_the_file_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "engine.lock").mkdir()
    EngineLock(tmp_path).release()
