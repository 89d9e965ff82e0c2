"""The `lading` command with a real engine and real containers."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import COMMAND, Engine
from tests.unit.controller.cli.clients import terminal, until

pytestmark = pytest.mark.host
Make = Callable[[], Engine]


def manifest(images: Path, name: str, command: str, **fields: str) -> str:
    more = "".join(f", {key}: {value}" for key, value in fields.items())
    return f"""\
apiVersion: lading/v1
kind: Image
metadata: {{name: busybox}}
spec: {{from: {{rootfs: {images}/busybox-rootfs.tar}}, config: {{env: {{PATH: /bin}}}}}}
---
apiVersion: lading/v1
kind: Container
metadata: {{name: {name}}}
spec: {{image: {{name: busybox}}, command: [sh, -c, {command!r}], networks: [none], stop: {{timeout: 0s}}{more}}}
"""


def test_a_command_starts_one_engine_and_says_so(engine: Make) -> None:
    made = engine()
    clients = [
        subprocess.Popen([*made.command, "get", "container"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [client.communicate(timeout=60)[1] for client in clients]
    assert [client.returncode for client in clients] == [0] * 4
    until(lambda: made.pid)
    started = [line for text in said for line in text.splitlines() if line.startswith("started an engine")]
    assert started == [f"started an engine (pid {made.pid}); `lading shutdown` ends it"]
    assert os.readlink(f"/proc/{made.pid}/cwd") == "/"
    environment = Path(f"/proc/{made.pid}/environ").read_bytes().split(b"\0")
    assert all(
        pair.partition(b"=")[0] in {b"PATH", b"HOME", b"LANG", b"TZ", b"TMPDIR", b""}
        or pair.startswith((b"LADING_", b"LC_"))
        for pair in environment
    )


def test_an_engine_that_cannot_start_says_why(engine: Make) -> None:
    made = engine()
    made.root.mkdir(mode=0o700)
    (made.root / "settings.yaml").write_text("workers: many\n")
    answer = made("get", "container", check=False)
    assert answer.returncode == 1
    assert "the engine did not start" in answer.stderr
    assert "workers: must be a whole number" in answer.stderr
    (made.root / "settings.yaml").unlink()


def test_a_root_that_is_none_is_told(short_path: Path) -> None:
    (short_path / "file").write_text("")
    command = [*COMMAND, "--root", str(short_path / "file/root"), "--run-root", str(short_path / "run"), "get", "c"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 1
    assert answer.stderr == f"lading: no engine can be started in {short_path}/file/root: Not a directory\n"


def test_shutdown_returns_when_the_engine_has_gone(engine: Make) -> None:
    made = engine()
    made("get", "container")
    until(lambda: made.pid)
    pid = made.pid
    made("shutdown")
    assert not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    assert made("shutdown").stdout == "no engine runs\n"


def test_apply_once_is_the_engine_and_leaves_none(engine: Make, images: Path) -> None:
    made = engine()
    answer = made("apply", "--once", "-f", "-", stdin=manifest(images, "web", "exec sleep 600"))
    assert "container/web  Running" in answer.stdout
    assert made.pid is None
    assert made("version").stdout.endswith("no engine runs\n")
    assert made.json("get", "container", "web")["status"]["phase"] == "Running"


def test_a_shell_on_a_terminal(engine: Make, images: Path) -> None:
    made = engine()
    made.apply(manifest(images, "web", "exec sleep 600"))
    with terminal([*made.command, "exec", "-it", "web", "--", "sh"]) as user:
        until(lambda: user.raw)
        user.type(b"echo size $(stty size) of $(tty)\n")
        until(lambda: user.shows(b"size 24 80 of /dev/pts/0"))
        user.size(50, 132)
        user.client.send_signal(signal.SIGWINCH)
        until(lambda: (user.type(b"stty size\n"), time.sleep(0.1), user.shows(b"50 132"))[-1])
        user.type(b"sleep 100\n")
        time.sleep(0.3)
        user.type(b"\x03exit 7\n")
        assert user.client.wait(20) == 7
        assert user.as_before


def test_exec_passes_streams_codes_and_the_environment(engine: Make, images: Path) -> None:
    made = engine()
    made.apply(manifest(images, "web", "exec sleep 600", env="{MODE: prod}", workingDir="/tmp"))
    answer = made(
        "exec",
        "-i",
        "-e",
        "EXTRA=1",
        "web",
        "--",
        "sh",
        "-c",
        "cat; echo $MODE $EXTRA; pwd; exit 3",
        stdin="in\n",
        check=False,
    )
    assert (answer.stdout, answer.returncode) == ("in\nprod 1\n/tmp\n", 3)
    assert made("exec", "web", "nothing-of-that-name", check=False).returncode == 127
    assert made("exec", "-u", "12:34", "web", "id").stdout == "uid=12 gid=34\n"
    with subprocess.Popen([*made.command, "exec", "web", "sleep", "1000"]) as client:
        until(lambda: "sleep 1000" in made("top", "web").stdout)
        client.send_signal(signal.SIGINT)
        assert client.wait(10) == 130
    until(lambda: "sleep 1000" not in made("top", "web").stdout)


def test_files_in_and_out(engine: Make, images: Path, tmp_path: Path) -> None:
    made = engine()
    made.apply(manifest(images, "web", "exec sleep 600"))
    (tmp_path / "site/deep").mkdir(parents=True)
    (tmp_path / "site/deep/page").write_text("hello")
    made("cp", tmp_path / "site", "web:/tmp")
    made("cp", tmp_path / "site", "web:/tmp/renamed")
    assert made("exec", "web", "cat", "/tmp/site/deep/page", "/tmp/renamed/deep/page").stdout == "hellohello"
    made("cp", "web:/tmp/site", tmp_path / "back")
    assert (tmp_path / "back/deep/page").read_text() == "hello"
    assert made("cp", "web:/none", tmp_path, check=False).returncode == 1
    reasons = [line.split()[3] for line in made("events").stdout.splitlines()]
    assert {"CopiedIn", "CopiedOut", "Exec"} <= set(reasons)


def test_logs_are_followed_over_a_restart(engine: Make, images: Path) -> None:
    made = engine()
    made.apply(manifest(images, "web", "echo begin; trap exit TERM; sleep 600 & wait", restart="always"))
    with subprocess.Popen([*made.command, "logs", "-f", "web"], stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "begin\n"
        made("restart", "web")
        assert follower.stdout.readline() == "begin\n"
        made("delete", "web")
        assert follower.wait(20) == 0


def test_attach_talks_to_the_container_itself(engine: Make, images: Path) -> None:
    made = engine()
    made.apply(manifest(images, "web", "while read line; do echo got $line; done; exit 5", stdin="true"))
    client = subprocess.Popen(
        [*made.command, "attach", "web"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write("one\n")
    assert client.stdout.readline() == "got one\n"
    client.stdin.close()
    assert client.wait(20) == 5
    client.stdout.close()


def test_stop_waits_and_wait_tells_the_code(engine: Make, images: Path) -> None:
    made = engine()
    made.apply(
        manifest(images, "web", "trap 'exit 9' TERM; sleep 600 & wait", restart="always").replace(
            "timeout: 0s", "timeout: 10s"
        )
    )
    waiter = subprocess.Popen([*made.command, "wait", "web"])
    made("stop", "web")
    assert made.json("get", "container", "web")["status"]["phase"] == "Stopped"
    assert waiter.wait(20) == 9
    made("start", "web")
    assert made.json("get", "container", "web")["status"]["phase"] == "Running"
    assert os.path.exists(f"/proc/{made.json('get', 'c', 'web')['status']['pid']}")
