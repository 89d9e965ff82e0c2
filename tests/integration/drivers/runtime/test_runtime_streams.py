"""exec and attach on the real kernel: streams, terminals, sizes and codes."""

import os
import select
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from drivers.runtime.interface import ProcessConfig, Stream, TaskConfig
from drivers.runtime.oci import OciRuntime
from resources.errors import FailedPrecondition, NotFound
from tests.tasks import CAPABILITIES, new_id, stopped, task, until

pytestmark = pytest.mark.host


def process(*args: str, **changes: Any) -> ProcessConfig:
    return ProcessConfig(args, ("PATH=/bin", "TERM=xterm"), "/", **{"uid": 0, "gid": 0, **changes})


def output(stream: Stream) -> dict[str, bytes]:
    found = {"stdout": b"", "stderr": b""}
    for name, data in iter(stream.read, None):
        found[name] += data
    return found


def read_until(stream: Stream, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        piece = stream.read()
        assert piece is not None, f"ended after {data!r}"
        data += piece[1]
    return data


@pytest.fixture
def sleeping(runtime: OciRuntime, rootfs: Path) -> TaskConfig:
    config = task(rootfs, "sleep", "1000")
    runtime.create(config)
    runtime.start(config.id)
    return config


def test_exec_keeps_streams_apart_and_returns_the_code(runtime: OciRuntime, sleeping: TaskConfig) -> None:
    stream = runtime.exec(sleeping.id, process("sh", "-c", "echo out; echo err >&2; cat; exit 5"))
    assert not os.get_inheritable(stream.fileno())
    stream.write(b"in\n")
    stream.close_stdin()
    with pytest.raises(FailedPrecondition):
        stream.write(b"late")
    assert output(stream) == {"stdout": b"out\nin\n", "stderr": b"err\n"}
    assert stream.wait() == 5
    stream.close()
    stream.close()


def test_exec_carries_a_lot_in_both_directions(runtime: OciRuntime, sleeping: TaskConfig) -> None:
    stream = runtime.exec(sleeping.id, process("sh", "-c", "seq 300000; head -c 60000 >/dev/null"))
    stream.write(b"x" * 60000)
    data = output(stream)["stdout"]
    assert data == b"".join(b"%d\n" % n for n in range(1, 300001))
    assert stream.wait() == 0
    stream.close()


def test_exec_runs_as_who_it_is_told_with_no_more_than_that(runtime: OciRuntime, sleeping: TaskConfig) -> None:
    script = "id -u; id -g; id -G; cat /proc/self/status"
    asked = process("sh", "-c", script, uid=101, gid=102, groups=(44,), capabilities=CAPABILITIES)
    stream = runtime.exec(sleeping.id, asked)
    lines = output(stream)["stdout"].decode().splitlines()
    stream.close()
    assert lines[:2] == ["101", "102"]
    assert set(lines[2].split()) == {"102", "44"}
    status = dict(line.split(":\t") for line in lines[3:] if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert int(status["CapBnd"], 16) == 1 << 0 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"


def test_exec_does_not_hand_descriptors_down(runtime: OciRuntime, sleeping: TaskConfig) -> None:
    with open("/etc/hostname") as file:
        os.set_inheritable(file.fileno(), True)
        stream = runtime.exec(sleeping.id, process("ls", "/proc/self/fd"))
        # 3 is the directory that ls itself reads.
        assert output(stream)["stdout"].split() == [b"0", b"1", b"2", b"3"]
        stream.close()


def test_exec_codes_of_deaths(runtime: OciRuntime, sleeping: TaskConfig) -> None:
    stream = runtime.exec(sleeping.id, process("sh", "-c", "kill -9 $$"))
    assert stream.wait() == 137
    stream.close()
    stream = runtime.exec(sleeping.id, process("sleep", "100"))
    stream.kill(signal.SIGTERM)
    assert stream.wait() == 143
    stream.close()
    stream = runtime.exec(sleeping.id, process("sleep", "100"))
    stream.close()
    until(lambda: runtime.stats(sleeping.id)["pids"] == 1)


def test_exec_of_what_is_not_there_is_refused_by_name(runtime: OciRuntime, sleeping: TaskConfig) -> None:
    with pytest.raises(FailedPrecondition, match="nosuch"):
        runtime.exec(sleeping.id, process("nosuch"))
    with pytest.raises(NotFound):
        runtime.exec(new_id(), process("true"))
    runtime.pause(sleeping.id)
    with pytest.raises(FailedPrecondition, match="paused"):
        runtime.exec(sleeping.id, process("true"))
    runtime.kill(sleeping.id, signal.SIGKILL)
    stopped(runtime, sleeping.id)
    with pytest.raises(FailedPrecondition, match="stopped"):
        runtime.exec(sleeping.id, process("true"))


def test_exec_ends_though_a_grandchild_keeps_the_pipe(runtime: OciRuntime, sleeping: TaskConfig) -> None:
    stream = runtime.exec(sleeping.id, process("sh", "-c", "sleep 500 & echo done"))
    started = time.monotonic()
    assert output(stream)["stdout"] == b"done\n"
    assert time.monotonic() - started < 5
    stream.close()


def test_exec_on_a_terminal(runtime: OciRuntime, sleeping: TaskConfig) -> None:
    script = "tty; stty size; read x; echo got $x; stty size; exit 6"
    stream = runtime.exec(sleeping.id, process("sh", "-c", script, terminal=True, rows=33, columns=99))
    assert read_until(stream, b"33 99\r\n").startswith(b"/dev/pts/")
    stream.resize(44, 111)
    stream.write(b"word\n")
    assert b"got word\r\n44 111\r\n" in output(stream)["stdout"]
    assert stream.wait() == 6
    stream.close()


def test_exec_on_a_terminal_takes_control_characters_and_dies_with_it(
    runtime: OciRuntime, sleeping: TaskConfig
) -> None:
    stream = runtime.exec(sleeping.id, process("sh", "-c", "echo ready; sleep 100", terminal=True))
    read_until(stream, b"ready")
    stream.write(b"\x03")
    assert stream.wait() == 130
    stream.close()
    stream = runtime.exec(sleeping.id, process("sleep", "100", terminal=True))
    stream.close()
    until(lambda: runtime.stats(sleeping.id)["pids"] == 1)


def test_many_execs_leave_no_descriptor(runtime: OciRuntime, sleeping: TaskConfig) -> None:
    def once(number: int) -> None:
        stream = runtime.exec(sleeping.id, process("true", terminal=number % 2 == 0))
        stream.wait()
        stream.close()

    once(0)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(10):
        once(number)
    assert len(os.listdir("/proc/self/fd")) == before


def test_attach_before_the_start_loses_nothing(runtime: OciRuntime, rootfs: Path) -> None:
    config = task(rootfs, "sh", "-c", "echo first; echo err >&2; cat; exit 4", stdin=True)
    runtime.create(config)
    streams = [runtime.attach(config.id), runtime.attach(config.id)]
    runtime.start(config.id)
    streams[0].write(b"line\n")
    assert read_until(streams[1], b"line\n")
    streams[0].close_stdin()
    assert output(streams[0]) == {"stdout": b"first\nline\n", "stderr": b"err\n"}
    assert [stream.wait() for stream in streams] == [4, 4]
    for stream in streams:
        stream.close()
    with pytest.raises(FailedPrecondition):
        runtime.attach(config.id)


def test_attach_to_a_terminal_resizes_and_leaves_it_running(runtime: OciRuntime, rootfs: Path) -> None:
    script = "while read x; do stty size; done"
    config = task(rootfs, "sh", "-c", script, terminal=True, stdin=True)
    runtime.create(config)
    stream = runtime.attach(config.id)
    runtime.start(config.id)
    stream.resize(40, 120)
    time.sleep(0.1)
    stream.write(b"a\n")
    assert b"40 120" in read_until(stream, b"40 120")
    stream.close()
    again = runtime.attach(config.id)
    again.resize(50, 130)
    time.sleep(0.1)
    again.write(b"b\n")
    read_until(again, b"50 130")
    again.close()
    state = runtime.state(config.id)
    assert state is not None
    assert state.pid is not None


def test_a_stream_can_be_polled(runtime: OciRuntime, sleeping: TaskConfig) -> None:
    stream = runtime.exec(sleeping.id, process("sh", "-c", "read x; echo now"))
    assert select.select([stream.fileno()], [], [], 0.05)[0] == []
    stream.write(b"go\n")
    assert select.select([stream.fileno()], [], [], 5)[0]
    assert stream.read() == ("stdout", b"now\n")
    assert stream.wait() == 0
    stream.close()
