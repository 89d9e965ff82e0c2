"""Whoever looks through all processes finds also the one that executes a program just then."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.kernel.process import processes


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
