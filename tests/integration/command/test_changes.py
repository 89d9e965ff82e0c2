"""What is hot keeps the process and is in force; what is not makes a new one; a plan says which, beforehand."""

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.command.client import FOREVER, Client, Document, container, document, text
from tests.integration.command.outside import Process, until

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]


def value(one: Process, controller: str, *names: str) -> str:
    folder = one.cgroup(controller)
    return next((folder / name).read_text().strip() for name in names if (folder / name).exists())


def memory(one: Process) -> str:
    return value(one, "memory", "memory.limit_in_bytes", "memory.max")


def quota(one: Process) -> str:
    return value(one, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0]


def pids(one: Process) -> str:
    return value(one, "pids", "pids.max")


def etc(one: Process, name: str) -> str:
    return (one.root / "etc" / name).read_text()


HOT: list[tuple[str, dict[str, Any], Callable[[Process], bool]]] = [
    ("resources.memory", {"resources": {"memory": "64Mi"}}, lambda p: memory(p) == str(64 << 20)),
    ("resources.memory", {"resources": {"memory": "32Mi"}}, lambda p: memory(p) == str(32 << 20)),
    ("resources.cpus", {"resources": {"memory": "32Mi", "cpus": 0.5}}, lambda p: quota(p) == "50000"),
    ("resources.pids", {"resources": {"pids": 77}}, lambda p: pids(p) == "77" and memory(p) != str(32 << 20)),
    ("restart.policy", {"restart": "always"}, lambda p: True),
    (
        "health",
        {"health": {"exec": ["touch", "/checked"], "interval": "200ms"}},
        lambda p: (p.root / "checked").exists(),
    ),
    ("dns.servers", {"dns": {"servers": ["192.0.2.53"]}}, lambda p: "nameserver 192.0.2.53" in etc(p, "resolv.conf")),
    ("extraHosts.db", {"extraHosts": {"db": "192.0.2.7"}}, lambda p: "192.0.2.7" in etc(p, "hosts")),
    ("logging.maxSize", {"logging": {"maxSize": "64Ki"}}, lambda p: True),
    ("stop.timeout", {"stop": {"timeout": "1s"}}, lambda p: True),
]


def test_hot_changes_keep_the_process(client: Client) -> None:
    client.apply(container("web"))
    one = client.process("web")
    for field, change, in_force in HOT:
        wanted = container("web", **change)
        planned = client.plan(wanted)["Container/web"]
        assert any(path.startswith(f"spec.{field}") for path in planned), (field, planned)
        assert {kind for kind, _, _ in planned.values()} == {"hot"}, planned
        client.apply(wanted)
        until(lambda in_force=in_force: in_force(one), what=f"{change} is in force")  # type: ignore[misc]
        assert client.process("web") == one, change
        assert client.apply(wanted) == "nothing to change\n"
    assert client.status("web")["restarts"] == 0


def test_labels_and_name_are_hot(client: Client) -> None:
    client.apply(container("web"))
    one = client.process("web")
    labelled = container("web")
    labelled["metadata"]["labels"] = {"tier": "front"}
    assert client.plan(labelled) == {"Container/web": {"metadata.labels.tier": ("hot", None, "front")}}
    client.apply(labelled)
    assert client("get", "container", "-l", "tier=front", "-o", "name").stdout == "container/web\n"
    assert client("get", "container", "-l", "tier=back", "-o", "name").stdout == ""
    assert client.process("web") == one


def test_a_changed_restart_policy_is_in_force(client: Client) -> None:
    client.apply(container("web"))
    client.apply(container("web", restart="always"))
    one = client.process("web")
    one.kill()
    until(lambda: not one.alive)
    second = client.process("web")
    client.apply(container("web", restart="never"))
    assert client.process("web") == second
    second.kill()
    until(lambda: client.phase("web") == "Failed")


RECREATE: list[tuple[str, dict[str, Any], Callable[[Process], bool]]] = [
    ("env.MODE", {"env": {"MODE": "prod"}}, lambda p: p.environ["MODE"] == "prod"),
    ("command", {"command": ["sleep", "99999"]}, lambda p: p.command == "sleep 99999"),
    ("hostname", {"hostname": "other"}, lambda p: etc(p, "hostname").strip() == "other"),
    ("user", {"user": "1000:1000"}, lambda p: p.status["Uid"].split() == ["1000"] * 4),
    ("security.readOnlyRoot", {"security": {"readOnlyRoot": True}}, lambda p: "ro" in p.mounts()["/"]),
    ("mounts", {"mounts": [{"tmpfs": {}, "target": "/x"}]}, lambda p: "tmpfs" in p.mounts()["/x"]),
    ("ulimits", {"ulimits": {"nofile": {"soft": 99, "hard": 99}}}, lambda p: " 99 " in _limits(p)),
]


def _limits(one: Process) -> str:
    return Path(f"/proc/{one.pid}/limits").read_text()


def test_other_changes_recreate(client: Client) -> None:
    client.apply(container("web"))
    one = client.process("web")
    for field, change, in_force in RECREATE:
        wanted = container("web", **change)
        planned = client.plan(wanted)["Container/web"]
        assert any(path.startswith(f"spec.{field}") for path in planned), (field, planned)
        assert "recreate" in {kind for kind, _, _ in planned.values()}
        assert one.alive  # a plan touches nothing
        client.apply(wanted)
        assert not one.alive
        one = client.process("web")
        assert in_force(one), change
        assert client.apply(wanted) == "nothing to change\n"


def _with_config(content: str, **mount: Any) -> tuple[Document, Document]:
    config = document("Config", "conf", data={"site": content})
    traps = f"trap 'echo told >> /told' HUP; touch /ready; while :; do sleep 0.05; done; {FOREVER}"
    return config, container("web", traps, mounts=[{"config": "conf", "target": "/conf", **mount}])


@pytest.mark.parametrize(
    ("mount", "kind", "told"),
    [
        ({}, "hot", False),
        ({"onChange": {"signal": "SIGHUP"}}, "hot", True),
        ({"key": "site", "target": "/conf/site", "onChange": {"signal": "SIGHUP"}}, "hot", True),
    ],
    ids=["folder", "folder and a signal", "file and a signal"],
)
def test_a_configs_content_is_swapped_under_the_process(
    client: Client, mount: dict[str, Any], kind: str, told: bool
) -> None:
    client.apply(*_with_config("first", **mount))
    one = client.process("web")
    until(lambda: (one.root / "ready").exists())
    assert client.inside("web", "cat /conf/site") == "first"
    planned = client.plan(*_with_config("second", **mount))
    assert {change for change, _, _ in planned["Container/web"].values()} == {kind}
    client.apply(*_with_config("second", **mount))
    assert client.process("web") == one
    assert client.inside("web", "cat /conf/site") == "second"
    if told:
        until(lambda: (one.root / "told").exists(), what="the signal")
        assert (one.root / "told").read_text() == "told\n"
    assert client.apply(*_with_config("second", **mount)) == "nothing to change\n"


def test_a_configs_content_restarts_what_asks_for_it(client: Client) -> None:
    client.apply(*_with_config("first", onChange="restart"))
    one = client.process("web")
    planned = client.plan(*_with_config("second", onChange="restart"))
    assert {change for change, _, _ in planned["Container/web"].values()} == {"restart"}
    client.apply(*_with_config("second", onChange="restart"))
    assert not one.alive
    assert client.inside("web", "cat /conf/site") == "second"


def test_a_secret_in_the_environment_recreates(client: Client) -> None:
    def wanted(password: str) -> tuple[Document, Document]:
        secret = document("Secret", "db", data={"password": password})
        return secret, container("web", env={"PASSWORD": {"secret": "db", "key": "password"}})

    client.apply(*wanted("first-one"))
    one = client.process("web")
    assert one.environ["PASSWORD"] == "first-one"
    planned = client.plan(*wanted("second-one"))
    assert "recreate" in {change for change, _, _ in planned["Container/web"].values()}
    client.apply(*wanted("second-one"))
    assert client.process("web").environ["PASSWORD"] == "second-one"
    assert not one.alive


def test_the_text_of_a_plan_names_old_and_new(client: Client) -> None:
    client.apply(container("web", resources={"memory": "64Mi"}, env={"MODE": "test"}))
    wanted = text(container("web", resources={"memory": "32Mi"}, env={"MODE": "prod"}), container("more"))
    answer = client("plan", "-f", "-", stdin=wanted).stdout
    [limit] = [line for line in answer.splitlines() if "resources.memory" in line]
    assert "64Mi → 32Mi" in limit
    assert "hot" in limit
    [mode] = [line for line in answer.splitlines() if "env.MODE" in line]
    assert "test → prod" in mode
    # What the object's own line says holds for its fields, but for those that say otherwise.
    assert "hot" not in mode
    assert re.search(r"container/web in \S+ +recreate", answer)
    assert re.search(r"\+ container/more", answer)


def test_the_exit_code_of_a_plan(client: Client) -> None:
    def code(*documents: Document, flag: str = "--exit-code") -> int:
        return client("plan", "-f", "-", flag, stdin=text(*documents), check=False).returncode

    assert code(container("web")) == 2
    client.apply(container("web"))
    assert code(container("web")) == 0
    assert code(container("web", restart="always")) == 2
    assert code(container("web"), flag="--exit-code=drift") == 0
    # Someone turns a limit off behind the engine's back: drift is no change of what is desired.
    groups = client.process("web").cgroup("pids")
    (groups / "pids.max").write_text("99")
    assert code(container("web")) == 0


def test_a_saved_plan(client: Client, tmp_path: Path) -> None:
    client.apply(container("web"))
    plan = tmp_path / "web.plan"
    wanted = text(container("web", resources={"memory": "48Mi"}))
    client("plan", "-f", "-", "--out", plan, stdin=wanted)
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600
    one = client.process("web")
    assert memory(one) != str(48 << 20)
    client("apply", plan)
    assert memory(one) == str(48 << 20)

    client("plan", "-f", "-", "--out", plan, stdin=text(container("web", resources={"memory": "40Mi"})))
    client.apply(container("web", resources={"memory": "44Mi"}))
    stale = client("apply", plan, check=False)
    assert stale.returncode == 3
    assert "stale" in stale.stderr
    assert memory(one) == str(44 << 20)
    assert client.process("web") == one


def test_a_plan_file_that_was_touched_is_refused(client: Client, tmp_path: Path) -> None:
    plan = tmp_path / "web.plan"
    client("plan", "-f", "-", "--out", plan, stdin=text(container("web")))
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    plan.write_bytes(content)
    answer = client("apply", plan, check=False)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    assert client.json("get", "all")["items"] == []


def test_a_dry_run_is_a_plan(client: Client) -> None:
    answer = client("apply", "--dry-run", "-f", "-", stdin=text(container("web"))).stdout
    assert "container/web" in answer
    assert client.json("get", "all")["items"] == []


def test_json_of_a_plan_and_of_an_apply(client: Client) -> None:
    plan = json.loads(client("plan", "-f", "-", "-o", "json", stdin=text(container("web"))).stdout)
    assert [(c["kind"], c["name"], c["verb"]) for c in plan["changes"]] == [
        ("Image", "bb", "create"),
        ("Container", "web", "create"),
    ]
    lines = client("apply", "-f", "-", "-o", "json", stdin=text(container("web"))).stdout.splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
