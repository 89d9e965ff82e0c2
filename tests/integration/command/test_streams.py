"""logs, exec, attach, cp: what goes in and out of a container, over a real terminal where one is asked for."""

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tarfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.command.client import FOREVER, Client, container
from tests.integration.command.outside import Process, running, until

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]


def test_tail_since_and_timestamps(client: Client) -> None:
    client.apply(container("web", f"for i in 1 2 3 4 5; do echo out $i; done; echo err >&2; {FOREVER}"))
    until(lambda: "err" in client("logs", "web").stderr)
    assert client("logs", "web").stdout == "".join(f"out {i}\n" for i in range(1, 6))
    assert client("logs", "--tail", "1", "web").stderr == "err\n"
    assert client("logs", "--tail", "3", "web").stdout == "out 4\nout 5\n"
    stamped = client("logs", "-t", "web").stdout.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\S* out \d$", line) for line in stamped)
    assert client("logs", "--since", "1h", "web").stdout.count("\n") == 5
    time.sleep(1.1)
    assert client("logs", "--since", "1s", "web").stdout == ""


def test_follow_goes_on_over_a_restart(client: Client) -> None:
    client.apply(container("web", f"echo up $(cat /proc/sys/kernel/random/uuid); {FOREVER}"))
    follower = subprocess.Popen([*client.command, "logs", "-f", "web"], stdout=subprocess.PIPE, text=True)
    try:
        assert follower.stdout
        first = follower.stdout.readline()
        client("restart", "web")
        second = follower.stdout.readline()
        assert first.startswith("up ")
        assert second.startswith("up ")
        assert first != second
        client("delete", "container/web")
        assert follower.wait(10) == 0
    finally:
        follower.kill()
        follower.communicate()


def test_all_has_earlier_incarnations(client: Client) -> None:
    def web(word: str) -> dict[str, object]:
        return container("web", f"echo {word}; {FOREVER}")

    client.apply(web("first"))
    until(lambda: "first" in client("logs", "web").stdout)
    client("restart", "web")
    until(lambda: "first\nfirst\n" in client("logs", "--all", "web").stdout)


def test_logs_rotate_and_no_kept_line_is_lost(alone: Client) -> None:
    alone.engine.root.mkdir(mode=0o700)
    (alone.engine.root / "settings.yaml").write_text("resyncSeconds: 1\n")
    lines = "i=0; while :; do echo line $i $(head -c 300 /dev/zero | tr '\\0' x); i=$((i+1)); done"
    alone.apply(container("web", lines, logging={"maxSize": "32Ki", "maxFiles": 2}))
    folder = alone.engine.root / "tasks" / alone.status("web")["containerId"]
    first = _inode(folder / "log")
    until(lambda: (folder / "log.1").exists() and first not in map(_inode, folder.glob("log*")), within=20)
    alone("pause", "web")
    assert sorted(path.name for path in folder.glob("log*")) == ["log", "log.1"]
    kept = [int(line.split()[1]) for line in alone("logs", "web").stdout.splitlines()]
    assert kept[0] > 0
    assert kept == list(range(kept[0], kept[0] + len(kept)))


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def test_exit_codes_of_exec(client: Client) -> None:
    client.apply(container("web"))

    def code(*words: str) -> int:
        return client("exec", *words, check=False).returncode

    assert code("web", "--", "true") == 0
    assert code("web", "--", "sh", "-c", "exit 42") == 42
    assert code("web", "--", "sh", "-c", "kill -9 $$") == 137
    assert code("web", "--", "no-such-command") == 127
    assert code("web", "--", "/etc/passwd") == 126
    assert code("nobody", "--", "true") == 125
    client("stop", "web")
    assert code("web", "--", "true") == 125


def test_exec_streams_environment_user_and_folder(client: Client) -> None:
    client.apply(container("web", env={"A": "1"}))
    both = client("exec", "web", "--", "sh", "-c", "echo out; echo err >&2")
    assert (both.stdout, both.stderr) == ("out\n", "err\n")
    assert client("exec", "-i", "web", "--", "wc", "-c", stdin="x" * 100_000).stdout.strip() == "100000"
    words = (
        "-e",
        "B=2",
        "-u",
        "1000:1001",
        "-w",
        "/tmp",
        "web",
        "--",
        "sh",
        "-c",
        "echo $A $B $(id -u) $(id -g) $(pwd)",
    )
    assert client("exec", *words).stdout == "1 2 1000 1001 /tmp\n"
    big = client("exec", "web", "--", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x").stdout
    assert len(big) == 3_000_000


class Terminal:
    """A command on a terminal of its own, as a user sits at one."""

    def __init__(self, words: list[str]) -> None:
        self._master, slave = pty.openpty()
        self.resize(24, 80)
        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, pattern: str, within: float = 10.0) -> None:
        deadline = time.monotonic() + within
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, f"{pattern!r} not seen in {self.seen!r}"
            if select.select([self._master], [], [], 0.1)[0]:
                self.seen += os.read(self._master, 65536).decode(errors="replace")
        self.seen = ""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextmanager
def terminal(client: Client, *words: str) -> Iterator[Terminal]:
    one = Terminal([*client.command, *words])
    try:
        yield one
    finally:
        one.close()


def test_exec_on_a_terminal(client: Client) -> None:
    client.apply(container("web"))
    with terminal(client, "exec", "-it", "web", "sh") as shell:
        shell.type("tty; stty size\n")
        shell.expect(r"/dev/pts/\d+\s+24 80")
        shell.resize(33, 111)
        os.kill(shell.process.pid, signal.SIGWINCH)
        time.sleep(0.3)
        shell.type("stty size\n")
        shell.expect("33 111")
        shell.type("sleep 50; echo code $?\n")
        until(lambda: _inside(client, "sleep 50"), what="sleep runs")
        shell.type("\x03")
        shell.expect(r"code 130|\n.*# $|\^C")
        until(lambda: not _inside(client, "sleep 50"), what="Ctrl-C has ended it")
        shell.type("exit 9\n")
        assert shell.process.wait(10) == 9


def _inside(client: Client, *words: str, name: str = "web") -> list[Process]:
    mark = client.status(name)["containerId"]
    return [one for one in running(*words) if _in_group(one, mark)]


def _in_group(one: Process, mark: str) -> bool:
    try:
        return mark in Path(f"/proc/{one.pid}/cgroup").read_text()
    except OSError:
        return False


def test_attach_to_a_terminal_and_leave_it(client: Client) -> None:
    client.apply(container("web", "while read line; do echo got $line; done", tty=True, stdin=True))
    one = client.process("web")
    with terminal(client, "attach", "web") as attached:
        time.sleep(0.5)
        attached.type("hello\n")
        attached.expect("got hello")
        attached.type("\x10\x11")
        attached.process.wait(10)
    assert one.alive
    assert client.process("web") == one


def test_attach_sees_output_and_the_exit_code(client: Client) -> None:
    script = "while [ ! -e /go ]; do sleep 0.05; done; echo bye; exit 6"
    client.apply(container("web", script))
    one = client.process("web")
    attached = subprocess.Popen([*client.command, "attach", "web"], stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    (one.root / "go").touch()
    output, _ = attached.communicate(timeout=10)
    assert (output, attached.returncode) == ("bye\n", 6)


@pytest.mark.parametrize(
    "words", [("exec", "web", "--", "sleep", "77"), ("logs", "-f", "web"), ("attach", "web")], ids=str
)
def test_a_client_killed_midway_leaves_nothing(client: Client, words: tuple[str, ...]) -> None:
    client.apply(container("web"))
    engine = client.engine.pid
    files = len(os.listdir(f"/proc/{engine}/fd"))
    one = subprocess.Popen([*client.command, *words], stdout=subprocess.DEVNULL)
    if "exec" in words:
        until(lambda: _inside(client, "sleep 77"))
    else:
        time.sleep(0.3)
    one.kill()
    one.wait()
    until(lambda: not _inside(client, "sleep 77"), what="the process of the exec is gone")
    until(lambda: len(os.listdir(f"/proc/{engine}/fd")) <= files, what="the engine has closed what it opened")
    assert client.process("web").alive


def test_cp_files_and_folders(client: Client, tmp_path: Path) -> None:
    client.apply(container("web"))
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").write_text("deep content")
    (tmp_path / "tree" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "tree" / "run").chmod(0o750)
    (tmp_path / "tree" / "link").symlink_to("run")

    client("cp", tmp_path / "tree", "web:/srv-tree")
    assert client.inside(
        "web", "cat /srv-tree/deep/file; stat -c %a /srv-tree/run; readlink /srv-tree/link"
    ).split() == [
        "deep",
        "content750",
        "run",
    ]
    client("cp", "web:/srv-tree", tmp_path / "back")
    assert (tmp_path / "back" / "deep" / "file").read_text() == "deep content"
    assert os.readlink(tmp_path / "back" / "link") == "run"

    client("cp", tmp_path / "tree" / "run", "web:/tmp/renamed")
    client("cp", "web:/tmp/renamed", tmp_path / "one")
    assert (tmp_path / "one").read_text() == "#!/bin/sh\n"
    assert client("cp", "web:/nothing", tmp_path, check=False).returncode == 1
    assert client("cp", tmp_path / "nothing", "web:/tmp", check=False).returncode == 1


def test_cp_as_tar(client: Client, tmp_path: Path) -> None:
    client.apply(container("web"))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo("from-tar")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"12345"))
    subprocess.run([*client.command, "cp", "-", "web:/tmp"], input=archive.getvalue(), check=True)
    assert client.inside("web", "cat /tmp/from-tar") == "12345"
    out = subprocess.run([*client.command, "cp", "web:/tmp", "-"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        names = [name for name in tar.getnames() if name.endswith("from-tar")]
        member = tar.extractfile(names[0])
        assert member
        assert member.read() == b"12345"


def test_cp_does_not_follow_a_link_out_of_the_container(client: Client, tmp_path: Path) -> None:
    client.apply(container("web"))
    outside = tmp_path / "outside"
    outside.mkdir()
    client.inside("web", f"ln -s {outside} /tmp/out")
    (tmp_path / "file").write_text("x")
    client("cp", tmp_path / "file", "web:/tmp/out/", check=False)
    assert list(outside.iterdir()) == []
