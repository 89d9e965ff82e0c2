"""The engine as a process: one a root, started when needed, ended when asked, refusing what it must not touch."""

import os
import signal
import sqlite3
import subprocess

import pytest

from tests.integration.command.client import Client, container, document, text
from tests.integration.command.outside import holding, running, until

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]


def _engines(client: Client) -> list[int]:
    return [one.pid for one in running(str(client.engine.root), " serve ")]


def test_a_second_engine_is_told_the_firsts_pid(alone: Client) -> None:
    started = alone("get", "all")
    pid = alone.engine.pid
    assert f"started an engine (pid {pid})" in started.stderr
    assert "shutdown" in started.stderr
    assert "started" not in alone("get", "all").stderr
    second = alone("serve", check=False, timeout=20)
    assert second.returncode == 1
    assert str(pid) in second.stdout + second.stderr
    assert alone.engine.pid == pid


def test_many_clients_that_find_no_engine_start_one(alone: Client) -> None:
    clients = [
        subprocess.Popen([*alone.command, "get", "all"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(4)
    ]
    outputs = [one.communicate(timeout=60)[0] for one in clients]
    assert [one.returncode for one in clients] == [0] * 4, outputs
    until(lambda: _engines(alone) == [alone.engine.pid], what="only one is left")


@pytest.mark.parametrize("how", ["shutdown", "SIGTERM", "SIGINT"])
def test_an_end_leaves_the_containers_running(alone: Client, how: str) -> None:
    alone.apply(container("web", restart="always"))
    one, pid = alone.process("web"), alone.engine.pid
    assert pid
    if how == "shutdown":
        alone("shutdown")
    else:
        os.kill(pid, getattr(signal, how))
    until(lambda: not _engines(alone))
    assert one.alive
    assert alone.process("web") == one


def test_apply_once_leaves_containers_and_no_engine(alone: Client) -> None:
    manifest = text(container("web", restart="always"))
    first = alone("apply", "--once", "-f", "-", stdin=manifest)
    assert "container/web" in first.stdout
    assert _engines(alone) == []
    assert alone.engine.pid is None
    [one] = _of(alone)
    assert alone("apply", "--once", "-f", "-", stdin=manifest).stdout == "nothing to change\n"
    assert _engines(alone) == []
    assert alone.process("web").pid == one


def _of(client: Client) -> list[int]:
    """First processes of the containers whose root file system is below the run root."""
    roots = client.engine.run_root / "tasks"
    return [int(path.read_text()) for path in roots.glob("*/bundle/pid")]


def test_the_settings_are_checked(alone: Client) -> None:
    settings = alone.engine.root / "settings.yaml"
    alone.engine.root.mkdir(mode=0o700)
    for content, word in (("workrs: 3\n", "workrs"), ("workers: many\n", "workers"), ("{", "settings.yaml")):
        settings.write_text(content)
        answer = alone("get", "all", check=False)
        assert answer.returncode == 1
        assert word in answer.stderr
        assert "Traceback" not in answer.stderr
        assert _engines(alone) == []
    settings.write_text("resyncSeconds: 5\n")
    alone("get", "all")


def test_the_state_of_a_newer_version_is_refused(alone: Client) -> None:
    alone("get", "all")
    alone("shutdown")
    with sqlite3.connect(alone.engine.root / "state.db") as database:
        (version,) = database.execute("pragma user_version").fetchone()
        database.execute("pragma user_version = 9999")
    database.close()
    answer = alone("get", "all", check=False)
    assert answer.returncode == 1
    assert "newer" in answer.stderr
    assert "Traceback" not in answer.stderr
    with sqlite3.connect(alone.engine.root / "state.db") as database:
        database.execute(f"pragma user_version = {version}")
    database.close()
    alone("get", "all")


def test_another_hosts_key_is_refused(alone: Client) -> None:
    alone.apply(document("Secret", "db", data={"password": "canary-12345"}))
    alone("shutdown")
    key = alone.engine.root / "key"
    right = key.read_bytes()
    key.write_bytes(bytes(byte ^ 1 for byte in right))
    answer = alone("get", "all", check=False)
    assert answer.returncode == 1
    assert "key" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert holding(alone.engine.root, b"canary-12345") == []
    key.write_bytes(right)
    alone("get", "all")


def test_a_damaged_store_is_said_to_be_one(alone: Client) -> None:
    alone("get", "all")
    alone("shutdown")
    database = alone.engine.root / "state.db"
    right = database.read_bytes()
    database.write_bytes(b"not a database at all" * 1000)
    answer = alone("get", "all", check=False)
    assert answer.returncode == 1
    assert "state.db" in answer.stderr
    assert "Traceback" not in answer.stderr
    database.write_bytes(right)
    alone("get", "all")


def test_nobody_else_may_talk_to_it_or_read_what_it_keeps(alone: Client) -> None:
    alone.apply(container("web"))
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    engine = alone.engine
    assert engine.root.stat().st_mode & 0o077 == 0
    config = next(engine.run_root.glob("tasks/*/bundle/config.json"))
    for words in (
        ["cat", str(config)],
        ["ls", str(engine.run_root)],
        ["curl", "-sS", "--unix-socket", str(engine.run_root / "lading.sock"), "http://x/apis/lading/v1"],
        [*alone.command, "get", "all"],
    ):
        answer = subprocess.run([*nobody, *words], capture_output=True, text=True, check=False)
        assert answer.returncode != 0, words
        assert answer.stdout == ""
        assert "Traceback" not in answer.stderr
