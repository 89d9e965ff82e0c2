"""Whoever looks through all processes finds also the one that executes a program just then."""

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.kernel.process import is_alive, processes, read_small, start_time


@pytest.fixture
def executing(tmp_path: Path) -> Iterator[int]:
    """A process that does nothing but execute itself."""
    program = tmp_path / "again"
    program.write_text('#!/bin/sh\nexec "$0" "$@"\n')
    program.chmod(0o755)
    process = subprocess.Popen([program, "marked"])
    yield process.pid
    process.kill()
    process.wait()


def test_a_process_within_an_exec_is_found(executing: int) -> None:
    missed, end = 0, time.monotonic() + 2
    while time.monotonic() < end:
        missed += not any(one.pid == executing and "marked" in one.arguments for one in processes())
    assert missed == 0


def test_a_small_file_is_one_that_can_be_read_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    assert not read_small(str(tmp_path / "fifo"))
    assert read_small(str(tmp_path / "link")) is None
    assert read_small("/dev/zero") is None
    assert read_small(str(tmp_path / "nothing")) is None


def test_without_descriptors_no_process_is_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    alive, started = os.getpid(), start_time(os.getpid())
    assert started is not None
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        is_alive(alive, started)
