"""start, stop, restart, pause, resume, kill, rename, wait; restart policies; jobs; health."""

import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.command.client import FOREVER, Client, container, text
from tests.integration.command.outside import Process, running, until

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]


def test_a_stop_by_hand_is_respected(client: Client) -> None:
    client.apply(container("web"))
    first = client.process("web")
    client("stop", "web")
    assert not first.alive
    assert client.phase("web") == "Stopped"

    # The same manifest says nothing of it, a start does.
    held = "container/web is stopped by cli (lading start web runs it)\n"
    assert client.apply(container("web")) == f"nothing to change\n{held}"
    assert client.phase("web") == "Stopped"
    client("start", "web")
    second = client.process("web")
    assert second != first

    client("restart", "web")
    assert not second.alive
    assert client.process("web").alive


def test_a_stop_sends_the_signal_first_and_kills_after_the_timeout(client: Client) -> None:
    catches = "trap 'echo bye; exit 7' USR1; while :; do sleep 0.05; done"
    ignores = "trap '' TERM; while :; do sleep 0.05; done"
    client.apply(
        container("polite", catches, stop={"signal": "SIGUSR1", "timeout": "20s"}),
        container("deaf", ignores, stop={"timeout": "1s"}),
    )
    begun = time.monotonic()
    client("stop", "polite")
    assert time.monotonic() - begun < 10
    assert client.status("polite")["exitCode"] == 7
    assert "bye" in client("logs", "polite").stdout

    begun = time.monotonic()
    client("stop", "deaf")
    assert time.monotonic() - begun > 0.9
    assert client.status("deaf")["exitCode"] == 137


def test_pause_freezes_and_resume_goes_on(client: Client) -> None:
    client.apply(container("web", "i=0; while :; do i=$((i+1)); echo $i > /n; sleep 0.02; done"))
    one = client.process("web")

    def count() -> str:
        return (one.root / "n").read_text()

    client("pause", "web")
    frozen = count()
    time.sleep(0.3)
    assert count() == frozen
    assert client.phase("web") == "Paused"

    client("resume", "web")
    until(lambda: count() not in ("", frozen), what="it counts on")
    assert client.process("web") == one


def test_a_paused_one_can_be_stopped_and_deleted(client: Client) -> None:
    client.apply(container("a"), container("b"))
    both = [client.process(name) for name in ("a", "b")]
    client("pause", "a", "b")
    client("stop", "a")
    assert not both[0].alive
    client("delete", "container/b")
    assert not both[1].alive


def test_kill_is_a_signal_and_no_change_of_what_is_desired(client: Client) -> None:
    catches = "trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done"
    client.apply(container("web", catches, restart="always"), container("once"))
    until(lambda: "up" in client("logs", "web").stdout)
    one, once = client.process("web"), client.process("once")
    client("kill", "-s", "HUP", "web")
    until(lambda: "hup" in client("logs", "web").stdout)
    assert one.alive

    client("kill", "web", "once")
    until(lambda: not one.alive)
    assert client.process("web") != one
    until(lambda: client.phase("once") == "Failed")
    assert not once.alive
    assert client.status("once")["exitCode"] == 137


def test_rename_touches_nothing(client: Client) -> None:
    client.apply(container("old"))
    one = client.process("old")
    client("rename", "container/old", "new")
    assert client.process("new") == one
    assert client("get", "container", "old", check=False).returncode == 1
    assert client.apply(container("new")) == "nothing to change\n"
    assert one.alive


@pytest.mark.parametrize("code", [0, 3, 255])
def test_wait_has_the_containers_exit_code(client: Client, code: int) -> None:
    client.apply(container("job", f"sleep 0.3; exit {code}"), flags=("--no-wait",))
    assert client("wait", "job", check=False).returncode == code
    assert client.status("job")["exitCode"] == code
    assert client.phase("job") == ("Failed" if code else "Completed")


def test_wait_knows_a_signal_and_a_limit(client: Client) -> None:
    client.apply(container("web"))
    assert client("wait", "web", "--timeout", "300ms", check=False).returncode == 4
    client("kill", "-s", "TERM", "web")  # the first process of a container ignores what it does not catch
    client("kill", "web")
    assert client("wait", "web", check=False).returncode == 137
    assert client("wait", "nobody", check=False).returncode == 125


def test_a_container_that_ends_badly_fails_the_apply(client: Client) -> None:
    never = {"exec": ["test", "-e", "/never"], "interval": "10s"}
    bad = container("bad", "sleep 0.3; exit 9", health=never)
    answer = client("apply", "-f", "-", stdin=text(bad), check=False)
    assert answer.returncode == 1
    assert "container/bad" in answer.stdout + answer.stderr
    assert "9" in answer.stdout + answer.stderr


def test_restart_always_comes_back_from_any_end(client: Client) -> None:
    client.apply(container("web", restart="always"))
    one = client.process("web")
    for _ in range(2):
        one.kill()
        until(lambda one=one: not one.alive)  # type: ignore[misc]
        another = client.process("web")
        assert another != one
        one = another
    assert client.status("web")["restarts"] == 2


def test_restarts_wait_longer_each_time(client: Client) -> None:
    spec = {"policy": "on-failure", "maxRetries": 4, "backoff": {"initial": "200ms", "max": "500ms"}}
    client.apply(container("web", "cat /proc/uptime; exit 1", restart=spec), flags=("--no-wait",))
    assert client("wait", "web", check=False, timeout=30).returncode == 1
    assert client.phase("web") == "Failed"
    ups = [float(line.split()[0]) for line in client("logs", "web").stdout.splitlines()]
    assert len(ups) == 5
    gaps = [after - before for before, after in pairwise(ups)]
    # The first is at once; then 200 ms, 400 ms, and no more than 500 ms.
    assert gaps[1] >= 0.19
    assert gaps[2] >= 0.39
    assert 0.49 <= gaps[3] < 2
    assert client.status("web")["restarts"] == 4


def test_on_failure_lets_success_be(client: Client) -> None:
    twice = "echo run >> /count; [ $(wc -l < /count) -ge 2 ] || exit 1; exit 0"
    client.apply(container("web", twice, restart="on-failure"), container("never", "exit 1"), flags=("--no-wait",))
    assert client("wait", "web", check=False).returncode == 0
    assert client.status("web")["restarts"] == 1
    assert client("wait", "never", check=False).returncode == 1
    assert client.status("never")["restarts"] == 0


def test_unless_stopped_restarts_but_respects_a_stop(client: Client) -> None:
    client.apply(container("web", restart="unless-stopped"))
    one = client.process("web")
    one.kill()
    until(lambda: not one.alive)
    second = client.process("web")
    client("stop", "web")
    assert not second.alive
    time.sleep(0.5)
    assert client.phase("web") == "Stopped"


def test_auto_remove(client: Client) -> None:
    client.apply(container("once", "sleep 0.2; exit 0", autoRemove=True), flags=("--no-wait",))
    until(lambda: client("get", "container", "once", check=False).returncode == 1, what="it is gone")


def test_jobs_run_one_after_the_other(client: Client, tmp_path: Path) -> None:
    shared = {"bind": str(tmp_path), "target": "/out"}

    def job(name: str, *, needs: tuple[object, ...] = (), code: int = 0, stay: bool = False) -> dict[str, object]:
        script = f"echo {name} >> /out/order; sleep 0.2; echo /{name} >> /out/order; "
        script += FOREVER if stay else f"exit {code}"
        return container(name, script, mounts=[shared], dependsOn=list(needs))

    first, second = job("first"), job("second", needs=({"container": "first", "condition": "completed"},))
    last = job("last", needs=({"container": "second", "condition": "completed"},), stay=True)
    client.apply(last, second, first)
    until(lambda: (tmp_path / "order").read_text().count("\n") == 6)
    assert (tmp_path / "order").read_text().split() == ["first", "/first", "second", "/second", "last", "/last"]


def test_nothing_starts_after_a_job_that_failed(client: Client) -> None:
    bad = container("bad", "exit 4")
    after = container("after", dependsOn=[{"container": "bad", "condition": "completed"}])
    output = client.apply(after, bad, flags=("--timeout", "2s"), check=False)
    assert "container/after" in output
    assert client.status("after").get("pid") is None
    assert running(client.namespace, "sleep 100000") == []


def _ready(client: Client, name: str) -> bool:
    condition = next(c for c in client.status(name)["conditions"] if c["type"] == "Ready")
    return bool(condition["status"] == "True")


def test_health_goes_and_comes_back(client: Client) -> None:
    check = {"exec": ["test", "-e", "/good"], "interval": "200ms", "retries": 2}
    client.apply(container("web", f"touch /good; {FOREVER}", health=check))
    one = client.process("web")
    assert _ready(client, "web")
    (one.root / "good").unlink()
    until(lambda: not _ready(client, "web"))
    (one.root / "good").touch()
    until(lambda: _ready(client, "web"))
    assert client.process("web") == one


def test_an_unhealthy_one_is_restarted_if_asked(client: Client) -> None:
    check = {"exec": ["test", "-e", "/tmp/good"], "interval": "200ms", "retries": 2, "onFailure": "restart"}
    tmp = [{"tmpfs": {}, "target": "/tmp"}]
    client.apply(container("web", f"touch /tmp/good; {FOREVER}", health=check, mounts=tmp))
    one = client.process("web")
    (one.root / "tmp" / "good").unlink()
    until(lambda: not one.alive)
    assert client.process("web") != one
    until(lambda: _ready(client, "web"))


@pytest.mark.parametrize("check", [{"http": {"port": 80, "path": "/index.html"}}, {"tcp": {"port": 80}}], ids=str)
def test_http_and_tcp_are_asked_in_the_sandbox(client: Client, check: dict[str, object]) -> None:
    script = f"mkdir -p /w; echo hi > /w/index.html; httpd -p 80 -h /w; {FOREVER}"
    client.apply(container("web", script, health={**check, "interval": "200ms", "retries": 1}))
    assert _ready(client, "web")
    [server] = [p for p in running("httpd -p 80 -h /w") if _in(p, client.status("web")["containerId"])]
    server.kill()
    until(lambda: not _ready(client, "web"))
    client.inside("web", "httpd -p 80 -h /w")
    until(lambda: _ready(client, "web"))


def _in(process: Process, container_id: str) -> bool:
    try:
        return container_id in Path(f"/proc/{process.pid}/cgroup").read_text()
    except OSError:  # a server's first process ends when it has gone to the background
        return False


def test_started_waits_for_healthy(client: Client) -> None:
    slow = container("db", f"sleep 0.6; touch /up; {FOREVER}", health={"exec": ["test", "-e", "/up"], "interval": "5s"})
    client.apply(container("app", dependsOn=[{"container": "db", "condition": "healthy"}]), slow)
    db, app = client.status("db"), client.status("app")
    waited = datetime.fromisoformat(app["startedAt"]) - datetime.fromisoformat(db["startedAt"])
    assert waited.total_seconds() > 0.6
