"""The fifo at which a created process waits, with threads in place of the inits of crun and runc."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.runtime.starting import let_go, waits


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "exec.fifo"
    os.mkfifo(path, 0o600)
    return path


@pytest.fixture
def reader(fifo: Path) -> Iterator[int]:
    """As crun's init has it: open before anybody writes."""
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    yield fd
    os.close(fd)


def test_crun_is_given_its_byte_before_the_fifo_goes(fifo: Path, reader: int) -> None:
    assert waits(os.getpid(), fifo)
    let_go("crun", os.getpid(), fifo)
    assert os.read(reader, 10) == b"\0"
    assert not fifo.exists()
    assert not waits(os.getpid(), fifo)


def test_runcs_byte_is_taken_when_it_comes(fifo: Path) -> None:
    handle = os.open(fifo, os.O_PATH)
    written: list[int] = []

    def init() -> None:
        fd = os.open(f"/proc/self/fd/{handle}", os.O_WRONLY)  # blocks until somebody reads
        written.append(os.write(fd, b"0"))
        os.close(fd)
        os.close(handle)

    thread = threading.Thread(target=init)
    thread.start()
    let_go("runc", os.getpid(), fifo)
    thread.join()
    assert written == [1]
    assert not fifo.exists()


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_nobody_waits_any_more(fifo: Path, runtime: str) -> None:
    other = os.getppid()  # a process that does not have it open
    let_go(runtime, other, fifo)
    assert not fifo.exists()
    let_go(runtime, other, fifo)


def test_a_process_that_is_gone_waits_for_nothing(fifo: Path) -> None:
    assert not waits(2**22 + 1, fifo)
