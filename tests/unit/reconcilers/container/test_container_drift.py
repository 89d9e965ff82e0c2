"""What others do to a running container: named, put back without touching what works, or only told."""

from dataclasses import replace
from typing import Any

import pytest

from drivers.network.interface import SandboxFiles
from drivers.runtime.interface import Limits, TaskStatus
from reconcilers.interface import ChangeKind, Diff
from resources.object import Object
from tests.unit.reconcilers.container.worlds import World, container, noted

MOUNTS = [
    {"config": "conf", "target": "/etc/conf"},
    {"config": "conf", "key": "a", "target": "/etc/one"},
    {"secret": "tls", "target": "/etc/tls"},
]


def running(**spec: Any) -> tuple[World, Any, Object]:
    world = World()
    world.config_object("conf", a="1", b="2")
    world.secret("tls", key="k")
    loop, item = world.life(), container(mounts=MOUNTS, **spec)
    loop.converge(item)
    return world, loop, item


def breaks_limits(world: World, task_id: str) -> None:
    world.runtime.break_limits(task_id, Limits(memory=1 << 40, pids=2048, cpu_shares=2, swap=0))


def breaks_loopback(world: World, task_id: str) -> None:
    world.sandboxes.break_loopback(task_id)


def loses_namespace(world: World, task_id: str) -> None:
    world.sandboxes._sandboxes.pop(task_id)


def scribbles_in_files(world: World, task_id: str) -> None:
    world.sandboxes.scribble(task_id, "hosts", b"6.6.6.6 db\n")


def alters_config(world: World, task_id: str) -> None:
    world.projector.scribble(f"{task_id}.m0", "a", b"altered")


def alters_single_file(world: World, task_id: str) -> None:
    world.projector.scribble(f"{task_id}.m1", "a", None)


def removes_secret(world: World, task_id: str) -> None:
    world.files.projections.pop(f"{task_id}.m2")


def freezes(world: World, task_id: str) -> None:
    world.runtime.pause(task_id)


DRIFT = [
    (breaks_limits, "spec.resources.memory", "UpdateLimits"),
    (breaks_loopback, "sandbox.loopback", "CreateSandbox"),
    (loses_namespace, "sandbox.namespace", "CreateSandbox"),
    (scribbles_in_files, "sandbox.files", "WriteSandboxFiles"),
    (alters_config, "spec.mounts[0].config", "ProjectContent"),
    (alters_single_file, "spec.mounts[1].config", "ProjectContent"),
    (removes_secret, "spec.mounts[2].secret", "ProjectContent"),
    (freezes, "spec.state", "ResumeTask"),
]


@pytest.mark.parametrize(("happening", "path", "action"), DRIFT)
def test_drift_is_named_and_healed(happening: Any, path: str, action: str) -> None:
    world, loop, item = running(resources={"memory": "64Mi"})
    before = world.running(item)
    happening(world, before.id)
    diff = loop.look(item.key, item)
    assert [(c.path, c.drift, c.kind) for c in diff.changes] == [(path, True, ChangeKind.HOT)]
    assert [type(a).__name__ for a in diff.actions] == [action]
    assert loop.plan(item) == [a.describe() for a in diff.actions]
    loop.converge(item)
    assert loop.look(item.key, item) == Diff()
    assert replace(world.running(item), notes={}) == replace(before, notes={})


@pytest.mark.parametrize(("happening", "path", "action"), DRIFT[:-1])
@pytest.mark.parametrize("mode", ["report", "ignore"])
def test_drift_that_is_only_to_be_told(happening: Any, path: str, action: str, mode: str) -> None:
    world, loop, item = running(resources={"memory": "64Mi"})
    item = noted(item, annotations={"lading/drift": mode})
    loop.converge(item)
    happening(world, world.task(item).id)
    diff = loop.look(item.key, item)
    assert diff.actions == ()
    assert [c.path for c in diff.changes] == ([path] if mode == "report" else [])
    assert loop.status(item).ready


def test_a_change_is_applied_where_drift_is_only_told() -> None:
    world, loop, item = running()
    annotated: dict[str, Any] = {"annotations": {"lading/drift": "report"}}
    loop.converge(noted(item, **annotated))
    changed = noted(container(mounts=MOUNTS, resources={"pids": 5}, dns={"servers": ["9.9.9.9"]}), **annotated)
    loop.converge(changed)
    assert world.running(item).limits.pids == 5
    files = SandboxFiles("web", nameservers=("9.9.9.9",))
    assert world.sandboxes.files_match(world.task(item).id, files)


def test_one_that_may_change_its_network_is_left_its_own_way() -> None:
    world, loop, item = running(security={"capabilities": {"add": ["NET_ADMIN"]}})
    world.sandboxes.break_loopback(world.task(item).id)
    diff = loop.look(item.key, item)
    assert (diff.actions, [c.path for c in diff.changes]) == ((), ["sandbox.loopback"])
    world.sandboxes.scribble(world.task(item).id, "hosts", b"")
    assert [type(a).__name__ for a in loop.look(item.key, item).actions] == ["WriteSandboxFiles"]


def test_a_killed_process_is_drift_and_the_policy_heals_it() -> None:
    world, loop, item = running(restart={"policy": "always"})
    world.exit(item, 137)
    [change] = loop.look(item.key, item).changes
    assert (change.path, change.old, change.new, change.drift) == ("process", "exited with 137", "running", True)
    loop.converge(item)
    assert world.running(item)


def test_a_root_that_is_unmounted_harms_nobody_until_it_is_made_again() -> None:
    world, loop, item = running(restart={"policy": "always"})
    world.mounts.clear()
    assert loop.look(item.key, item) == Diff()
    world.exit(item, 1)
    loop.converge(item)
    assert set(world.mounts) == {world.running(item).id}


def test_what_the_host_cannot_read_back_is_no_drift() -> None:
    world, loop, item = running(resources={"memory": "64Mi"})
    task = world.running(item)
    world.runtime.break_limits(task.id, replace(task.limits, swap=None, cpu_shares=1024, cpuset="0-7", io_weight=100))
    assert loop.look(item.key, item) == Diff()


def test_a_supervisor_that_died_is_no_reason_to_touch_the_process() -> None:
    world, loop, item = running()
    world.runtime.kill_supervisor(world.task(item).id)
    assert loop.look(item.key, item) == Diff()
    assert world.task(item).status is TaskStatus.RUNNING


def test_a_log_that_has_grown_is_rotated_and_one_that_grows_is_watched() -> None:
    world, loop, item = running(logging={"maxSize": "1Mi"})
    task_id = world.task(item).id
    world.logs.sizes[task_id] = 600 * 1024
    assert loop.converge(item).wake_at is not None
    world.logs.sizes[task_id] = (1 << 20) + 1
    loop.converge(item)
    assert loop.acted[-1] == "RotateLog"
    assert loop.look(item.key, item) == Diff()


def test_an_earlier_versions_record_is_no_difference() -> None:
    world, loop, item = running()
    task = world.task(item)
    spec = {name: value for name, value in task.applied["spec"].items() if name not in ("shmSize", "uts")}
    world.runtime.record_applied(task.id, {**task.applied, "spec": spec})
    assert loop.look(item.key, item).changes == ()
    loop.converge(item)
    assert world.running(item) == task


def test_a_secret_that_is_gone_for_a_while_changes_nothing() -> None:
    world, loop, item = running(env={"A": {"secret": "tls", "key": "key"}})
    before, kept = world.running(item), dict(world.objects)
    world.objects.clear()
    loop.converge(item)
    assert world.running(item) == before
    world.objects.update(kept)
    world.secret("tls", key="other")
    assert loop.look(item.key, item).kind is ChangeKind.RECREATE
