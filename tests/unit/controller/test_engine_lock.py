"""One engine a state root, whatever becomes of the files in it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controller.engine_lock import EngineLock, Held
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


HOLD = (
    "import fcntl, os, sys, time; fd = os.open(sys.argv[1], os.O_RDONLY); fcntl.flock(fd, fcntl.LOCK_EX); "
    "open(sys.argv[1] + '/engine.lock', 'w').write(sys.argv[2].format(os.getpid())); print('held', flush=True); "
    "time.sleep(float(sys.argv[3]))"
)


def _holder(root: Path, file: str, seconds: float) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(root), file, str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.parametrize("file", ["{} ends\n", "4194303\n"])
def test_one_that_ends_is_waited_for(tmp_path: Path, file: str) -> None:
    """The second has died already by what the file says, and its threads are about to."""
    with _holder(tmp_path, file, 0.7):
        begun = time.monotonic()
        EngineLock(tmp_path).release()
        assert 0.3 < time.monotonic() - begun < 5


def test_one_that_is_killed_is_not_told_to_serve(tmp_path: Path) -> None:
    for _ in range(5):
        with _holder(tmp_path, "{}\n", 60) as process:
            process.kill()
            EngineLock(tmp_path).release()


def test_one_that_never_ends_is_named_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.engine_lock.HANDOVER", 0.3)
    first = EngineLock(tmp_path)
    first.leaving()
    with pytest.raises(Held, match=rf"\(pid {os.getpid()}\) serves"):
        EngineLock(tmp_path)
    first.release()
