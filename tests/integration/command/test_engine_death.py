"""The engine is killed, at rest and at work: containers do not notice, and the next engine makes up for it."""

import contextlib
import os
import random
import select
import signal
import subprocess
import time

import pytest

from tests.integration.command.client import Client, Document, container, document, text
from tests.integration.command.outside import Process, running, until

pytestmark = [pytest.mark.host, pytest.mark.timeout(240)]


def engines(client: Client) -> list[Process]:
    """Also one that does not answer yet."""
    return running(str(client.engine.root), " serve ")


def kill_engine(client: Client) -> None:
    for one in engines(client):
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(one.pid)
            os.kill(one.pid, signal.SIGKILL)
            # Its sockets are closed only when the last of its threads has gone.
            assert select.select([handle], [], [], 10)[0]
            os.close(handle)


def test_containers_go_on_and_their_logs_have_no_gap(alone: Client) -> None:
    counter = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done"
    alone.apply(container("counter", counter), _quiet())
    before = [alone.process(name) for name in ("counter", "quiet")]
    first = alone.engine.pid
    for _ in range(2):
        kill_engine(alone)
        time.sleep(0.4)
        assert all(one.alive for one in before)
        assert alone("get", "container").returncode == 0
    assert alone.engine.pid not in (None, first)
    assert [alone.process(name) for name in ("counter", "quiet")] == before
    assert alone.apply(container("counter", counter), _quiet()) == "nothing to change\n"
    assert [alone.process(name) for name in ("counter", "quiet")] == before

    numbers = [int(line) for line in alone("logs", "counter").stdout.split()]
    assert len(numbers) > 40
    assert numbers == list(range(len(numbers)))
    assert alone.status("counter")["restarts"] == 0


def _quiet() -> Document:
    return container("quiet", health={"exec": ["true"], "interval": "1s"})


def test_what_died_meanwhile_is_known_and_its_policy_applied(alone: Client) -> None:
    script = "trap 'exit 5' USR1; trap 'exit 0' HUP; while :; do sleep 0.05; done"
    policies = {"never": "never", "always": "always", "failed": "on-failure", "succeeded": "on-failure"}
    alone.apply(*(container(name, script, restart=policy) for name, policy in policies.items()))
    before = {name: alone.process(name) for name in policies}
    kill_engine(alone)
    for name, one in before.items():
        one.kill("SIGHUP" if name == "succeeded" else "SIGUSR1")
    until(lambda: not any(one.alive for one in before.values()))

    assert alone.process("always") not in before.values()
    assert alone.process("failed") not in before.values()
    until(lambda: (alone.phase("never"), alone.phase("succeeded")) == ("Failed", "Completed"))
    assert (alone.status("never")["exitCode"], alone.status("succeeded")["exitCode"]) == (5, 0)


def test_a_stop_is_respected_by_the_next_engine(alone: Client) -> None:
    alone.apply(container("web", restart="always"))
    one = alone.process("web")
    alone("stop", "web")
    kill_engine(alone)
    assert "Stopped" in alone("get", "container").stdout
    time.sleep(0.5)
    assert not one.alive
    assert alone.status("web").get("pid") is None
    said = alone.apply(container("web", restart="always")).splitlines()
    assert said == ["nothing to change", "container/web is stopped by cli (lading start web runs it)"]
    alone("start", "web")
    assert alone.process("web") != one


def test_a_pause_holds_and_can_be_resumed_by_the_next_engine(alone: Client) -> None:
    alone.apply(container("web"))
    one = alone.process("web")
    alone("pause", "web")
    kill_engine(alone)
    assert alone.phase("web") == "Paused"
    alone("resume", "web")
    assert alone.process("web") == one


def _deleting(client: Client) -> list[str]:
    items = client.json("get", "all")["items"]
    return [item["metadata"]["name"] for item in items if item["metadata"].get("deletionTimestamp")]


def _world(version: int) -> tuple[Document, ...]:
    mounts = [
        {"volume": "data", "target": "/data"},
        {"config": "conf", "target": "/conf"},
        {"secret": "key", "target": "/key"},
    ]
    resources = {"memory": f"{64 + version}Mi"}
    return (
        document("Volume", "data"),
        document("Config", "conf", data={"version": str(version)}),
        document("Secret", "key", data={"password": "x" * 20}),
        container("one", env={"VERSION": str(version)}, mounts=mounts, resources=resources, restart="always"),
        container("two", dependsOn=["one"]),
        container("job", "exit 0", dependsOn=["two"]),
    )


def _killed_midway(client: Client, version: int, choice: random.Random) -> None:
    words = ["delete", "--all", "--data"] if version % 3 == 2 else ["apply", "-f", "-", "--timeout", "20s"]
    command = subprocess.Popen(
        [*client.command, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert command.stdin
    command.stdin.write("" if words[0] == "delete" else text(*_world(version)))
    command.stdin.close()
    command.stdin = None
    # Its engine does not answer yet, or is at work, or has nearly done.
    until(lambda: engines(client))
    if choice.random() < 0.8:
        until(lambda: client.engine.pid or command.poll() is not None)
    time.sleep(choice.uniform(0, 0.6))
    kill_engine(client)
    output, _ = command.communicate(timeout=60)
    assert "Traceback" not in output
    assert command.returncode in (0, 1), output


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_it_converges_and_leaves_nothing(alone: Client, seed: int) -> None:
    choice = random.Random(seed)
    for version in range(10):
        _killed_midway(alone, version, choice)

    # A deletion that was begun is ended by the next engine unasked.
    until(lambda: not _deleting(alone), within=20, what="what was being deleted is gone")
    alone.apply(*_world(100))
    one = alone.process("one")
    assert one.environ["VERSION"] == "100"
    assert (one.root / "conf" / "version").read_text() == "100"
    assert alone.process("two").alive
    assert alone("wait", "job").returncode == 0
    assert "Traceback" not in (alone.engine.root / "engine.log").read_text()
    assert alone.process("one") == one
