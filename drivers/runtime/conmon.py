"""conmon: the supervisor of one container, which outlives the engine.

It creates the container through the OCI runtime, holds its streams, writes the log and the exit file. Everything it is
told is a path of ours or a checked id; which supervisor is ours is told by the bundle in its arguments.
"""

import contextlib
import errno
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from drivers.kernel.process import arguments, processes, read_small
from drivers.runtime.layout import Bundle, Layout, is_id
from resources.errors import EngineError, FailedPrecondition, Unavailable

_CREATE_TIMEOUT = 30.0
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    # crun protects its executable by a read-only bind mount of it in this folder, /tmp by default; killed in between it
    # leaves the mount. Where there can be no folder it makes a sealed copy in memory, which nothing leaves behind.
    "_LIBCONTAINER_STATEDIR": "/dev/null",
}


@dataclass(frozen=True, slots=True)
class Launch:
    """One `conmon` command line."""

    conmon: Path
    runtime: Path
    layout: Layout
    bundle: Bundle
    log: Path | None
    """None keeps no log."""
    terminal: bool
    stdin: bool

    def arguments(self) -> list[str]:
        bundle, task_id = self.bundle, self.bundle.task_id
        command = [str(self.conmon), "--api-version", "1", "-c", task_id, "-u", task_id, "-n", task_id[:12]]
        command += ["-r", str(self.runtime), "-b", str(bundle.path), "-p", str(bundle.path / "pid")]
        command += ["-P", str(bundle.conmon_pid), "-l", f"k8s-file:{self.log}" if self.log else "none"]
        command += ["--exit-dir", str(bundle.exits), "--persist-dir", str(bundle.persist)]
        command += ["--full-attach", "--no-sync-log"]
        command += ["-t"] if self.terminal else []
        command += ["-i"] if self.stdin else []
        # A terminal has no end of input: leaving it must not hang it up.
        command += ["--leave-stdin-open"] if self.stdin and self.terminal else []
        for argument in (f"--root={self.layout.oci}", f"--log={bundle.runtime_log}", "--log-format=json"):
            command += ["--runtime-arg", argument]
        return command


def create(launch: Launch) -> int:
    """Start conmon, wait until it has created the container, and return the pid.

    Raises: FailedPrecondition with what the runtime said; Unavailable when conmon does not answer.
    """
    receive, send = os.pipe2(os.O_CLOEXEC)
    complaints = launch.bundle.path / "conmon.err"
    try:
        with open(complaints, "wb") as errors:
            child = subprocess.Popen(
                launch.arguments(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**ENVIRONMENT, "_OCI_SYNCPIPE": str(send)},
                pass_fds=(send,),
                close_fds=True,
                start_new_session=True,
                cwd="/",
            )
    except OSError as error:
        os.close(receive)
        os.close(send)
        hint = "install conmon" if error.errno == errno.ENOENT else ""
        raise Unavailable(f"{launch.conmon} cannot be run: {error.strerror}", hint=hint) from error
    os.close(send)
    try:
        answer = _read_line(receive, time.monotonic() + _CREATE_TIMEOUT)
    finally:
        os.close(receive)
        # It forks its daemon and leaves; a wait that does not end would be a conmon that hangs, killed with the task.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
    return _pid(answer, complaints)


def _read_line(fd: int, deadline: float) -> bytes:
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLHUP)
    data = b""
    while not data.endswith(b"\n"):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise Unavailable(
                f"conmon has not created the container in {_CREATE_TIMEOUT:.0f} s", hint="is the host loaded?"
            )
        chunk = os.read(fd, 65536)
        if not chunk or len(data) > 1 << 20:
            break
        data += chunk
    return data


def _pid(answer: bytes, complaints: Path) -> int:
    try:
        value = json.loads(answer)
        pid = int(value["data"])
    except (ValueError, KeyError, TypeError):
        said = complaints.read_bytes()[:2000].decode(errors="replace").strip()
        raise Unavailable(
            f"conmon ended without an answer: {said or 'no message'}", hint="run `lading doctor`"
        ) from None
    if pid > 0:
        return pid
    raise runtime_error(str(value.get("message", "")), "create")


def runtime_error(message: str, verb: str) -> EngineError:
    """What an OCI runtime complains of, as an error of ours; the text may come from the image and is bounded."""
    text = " ".join(message.split())[:1000] or "no message"
    for noise in (f"runc {verb} failed: ", f"{verb} failed: ", "unable to start container process: "):
        text = text.replace(noise, "")
    hint = ""
    lowered = text.lower()
    if "no such file or directory" in lowered or "not found" in lowered:
        hint = "is the executable, or what a mount names, in the image?"
    elif "permission denied" in lowered:
        hint = "is the file executable, and may the user reach it?"
    done = "run the process" if verb == "exec" else f"{verb} the container"
    return FailedPrecondition(f"the OCI runtime cannot {done}: {text}", hint=hint)


def supervisor(bundle: Bundle) -> int | None:
    """The pid of the living conmon of this bundle, by its pid file and its arguments."""
    try:
        pid = int(read_small(f"{bundle.path}/conmon.pid") or b"")
    except ValueError:
        return None
    return pid if str(bundle.path) in arguments(pid) else None


def supervisors(layout: Layout) -> Iterator[tuple[int, str]]:
    """Every living process of ours with its task id: conmon by its bundle, OCI runtimes by their --root."""
    bundles, root = f"{layout.run_root}/tasks/", f"--root={layout.oci}"
    for process in processes():
        words = process.arguments
        if "-b" in words[:-1] and (at := words[words.index("-b") + 1]).startswith(bundles):
            task_id = at.removeprefix(bundles).split("/")[0]
            if is_id(task_id):
                yield process.pid, task_id
        elif root in words:
            task_id = next((w for w in reversed(words) if is_id(w)), "")
            if task_id:
                yield process.pid, task_id


def resize(bundle: Bundle, rows: int, columns: int) -> None:
    """Raises: FailedPrecondition when conmon is gone."""
    _control(bundle, f"1 {int(rows)} {int(columns)}\n")


def reopen_log(bundle: Bundle) -> None:
    """Raises: FailedPrecondition when conmon is gone."""
    _control(bundle, "2 0 0\n")


def _control(bundle: Bundle, line: str) -> None:
    try:
        fd = os.open(bundle.control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENOTDIR):
            raise FailedPrecondition("the supervisor of the container is gone") from error
        raise
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)
