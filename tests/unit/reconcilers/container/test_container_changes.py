"""What each change of a Container costs, and that it is made."""

from typing import Any

import pytest

from drivers.runtime.interface import Limits
from reconcilers.interface import ChangeKind, Diff
from tests.unit.reconcilers.container.full import started
from tests.unit.reconcilers.container.worlds import CONFIG, World, container, noted

HOT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"resources": {"memory": "64Mi", "cpus": 1, "pids": 9, "cpuShares": 512, "cpuset": "0", "ioWeight": 5}}),
    ({"resources": {"memory": "64Mi"}}, {"resources": {"memory": "32Mi", "memoryReservation": "16Mi"}}),
    ({"resources": {"memory": "64Mi"}}, {"resources": {"memory": "64Mi", "swap": "1Mi"}}),
    ({}, {"restart": {"policy": "always"}}),
    ({}, {"dns": {"servers": ["9.9.9.9"], "search": ["example.org"]}}),
    ({}, {"extraHosts": {"db": "10.0.0.7"}}),
    ({}, {"health": {"tcp": {"port": 80}, "startPeriod": "1h"}}),
    ({}, {"stop": {"signal": "SIGINT", "timeout": "1s"}}),
    ({}, {"logging": {"maxSize": "1Mi", "maxFiles": 2}}),
    ({}, {"autoRemove": True}),
    ({}, {"update": {"drain": "1s"}}),
    ({}, {"dependsOn": [{"container": "db"}]}),
    ({"state": "running"}, {"state": "paused"}),
    ({}, {"networks": [{"name": "other"}]}),
    ({"networks": [{"name": "other"}]}, {"networks": [{"name": "none"}]}),
    (
        {"mounts": [{"bind": "/srv", "target": "/a"}, {"tmpfs": {}, "target": "/b"}]},
        {"mounts": [{"tmpfs": {}, "target": "/b"}, {"bind": "/srv", "target": "/a"}]},
    ),
]


@pytest.mark.parametrize(("before", "after"), HOT)
def test_hot_changes_leave_the_process_alone(before: dict[str, Any], after: dict[str, Any]) -> None:
    world = World()
    world.network("other", driver="bridge")
    loop = world.life()
    loop.converge(container(**before))
    was = world.running(container())
    item = container(**after)
    diff = loop.look(item.key, item)
    assert diff.kind <= ChangeKind.HOT
    assert not any(change.drift for change in diff.changes)
    loop.converge(item)
    now = world.task(item)
    assert (now.id, now.pid, now.start_time, now.attempt) == (was.id, was.pid, was.start_time, was.attempt)
    assert now.applied["spec"] == item.effective.full()
    assert loop.look(item.key, item).changes == ()


def test_limits_and_files_are_set_where_they_are() -> None:
    world = World()
    loop = world.life()
    loop.converge(container())
    item = container(resources={"memory": "64Mi", "cpus": 1.5}, dns={"servers": ["9.9.9.9"]})
    changes = {change.path: (change.old, change.new) for change in loop.look(item.key, item).changes}
    assert changes == {
        "spec.resources.memory": (None, "64Mi"),
        "spec.resources.cpus": (None, 1.5),
        "spec.dns.servers": ([], ["9.9.9.9"]),
    }
    loop.converge(item)
    assert world.running(item).limits == Limits(memory=64 << 20, swap=0, cpu_millis=1500, pids=2048)
    assert loop.acted[-3:] == ["UpdateLimits", "WriteSandboxFiles", "RecordApplied"]


@pytest.mark.parametrize(("field", "value"), [("cpuShares", 512), ("cpuset", "0"), ("ioWeight", 5)])
def test_a_limit_that_is_asked_for_no_more_is_the_kernels_own_again(field: str, value: Any) -> None:
    world = World()
    loop = world.life()
    loop.converge(container(resources={field: value}))
    loop.acted.clear()
    loop.converge(container())
    assert loop.acted == ["UpdateLimits", "RecordApplied"]
    assert world.running(container()).limits == Limits(pids=2048)


def test_a_new_name_or_label_is_hot_and_the_host_name_stays() -> None:
    world = World()
    loop, item = world.life(), container()
    loop.converge(item)
    renamed = noted(item, name="shop", labels={"a": "b"})
    diff = loop.look(item.key, renamed)
    assert [(c.path, c.kind) for c in diff.changes] == [
        ("metadata.name", ChangeKind.HOT),
        ("metadata.labels.a", ChangeKind.HOT),
    ]
    loop.converge(renamed)
    assert loop.acted[-1] == "RecordApplied"
    assert world.running(item).attempt == 1
    again = renamed.model_copy(update={"restart_request": "1"})
    loop.settle(again)
    assert "HOSTNAME=web" in world.env(item)
    loop.settle(container(command=["other"]).model_copy(update={"metadata": renamed.metadata}))
    assert "HOSTNAME=shop" in world.env(item)


RECREATE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"command": ["other"]}),
    ({}, {"entrypoint": ["/entry"]}),
    ({}, {"env": {"A": "1"}}),
    ({"env": {"A": "1"}}, {"env": {}}),
    ({}, {"mounts": [{"tmpfs": {}, "target": "/t"}]}),
    ({"mounts": [{"bind": "/srv", "target": "/t"}]}, {"mounts": [{"bind": "/srv", "readOnly": True, "target": "/t"}]}),
    ({"mounts": [{"bind": "/srv", "target": "/t"}]}, {"mounts": [{"bind": "/opt", "target": "/t"}]}),
    ({}, {"security": {"readOnlyRoot": True}}),
    ({}, {"security": {"profile": "compat"}}),
    ({}, {"hostname": "other"}),
    ({}, {"user": "101"}),
    ({}, {"groups": ["44"]}),
    ({}, {"workingDir": "/srv"}),
    ({}, {"tty": True}),
    ({}, {"stdin": True}),
    ({}, {"init": True}),
    ({}, {"shmSize": "1Mi"}),
    ({}, {"ulimits": {"nofile": {"soft": 1, "hard": 2}}}),
    ({}, {"networks": [{"name": "host"}]}),
    ({}, {"resources": {"oomScoreAdj": 5}}),
    ({}, {"logging": {"driver": "none"}}),
    ({}, {"uts": "host"}),
]


@pytest.mark.parametrize(("before", "after"), RECREATE)
def test_the_rest_makes_it_anew_once_it_has_ended(before: dict[str, Any], after: dict[str, Any]) -> None:
    world = World()
    loop = world.life()
    loop.converge(container(**before))
    old = world.running(container())
    item = container(**after)
    diff = loop.look(item.key, item)
    assert diff.kind is ChangeKind.RECREATE
    [change] = diff.changes
    assert change.path.startswith("spec.")
    assert change.old != change.new
    assert [type(action).__name__ for action in diff.actions] == ["SignalTask"]
    loop.settle(item)
    new = world.running(item)
    assert (new.id[:32], int(new.id[32:], 16), new.attempt) == (old.id[:32], 2, 1)
    assert all(name.startswith(new.id) for name in world.left())
    assert loop.look(item.key, item) == Diff()


def test_another_image_under_the_same_name_makes_it_anew() -> None:
    world = World()
    loop, item = world.life(), container()
    loop.converge(item)
    old = world.running(item).applied["image"]
    world.image("box", CONFIG, b"other layer")
    [change] = loop.look(item.key, item).changes
    assert (change.path, change.old, change.kind) == ("spec.image", old, ChangeKind.RECREATE)
    loop.settle(item)
    assert world.running(item).applied["image"] == change.new


def test_another_name_for_the_same_image_changes_nothing_that_runs() -> None:
    world = World()
    loop = world.life()
    loop.converge(container())
    item = container(image={"name": "alias"})
    world.image("alias", CONFIG)
    assert [(c.path, c.kind) for c in loop.look(item.key, item).changes] == [("spec.image", ChangeKind.HOT)]
    loop.converge(item)
    assert world.running(item).id.endswith("1")


def test_the_config_an_image_is_given_holds_and_its_change_makes_anew() -> None:
    world = World()
    loop, item = world.life(), container()
    world.image("box", CONFIG, config={"env": {"A": "1"}})
    loop.converge(item)
    assert "A=1" in world.env(item)
    world.image("box", CONFIG, config={"env": {"A": "2"}})
    assert [c.path for c in loop.look(item.key, item).changes] == ["spec.image.config"]
    loop.settle(item)
    assert "A=2" in world.env(item)


def test_an_image_by_reference() -> None:
    world = World()
    image = world.image("box", CONFIG, tags=["shop/web:1"])
    item = container(image="shop/web:1")
    loop = world.life()
    loop.converge(item)
    digest = world.running(item).applied["image"]
    world.objects.clear()
    world.images.names().put("docker.io/other/web:latest", world.images.names().get(f"uid:{image.metadata.uid}"))
    loop.converge(container("web", image="other/web"))
    assert world.running(item).applied["image"] == digest
    missing = loop.converge(container("late", image="nowhere:1"))
    assert missing.waiting.startswith("the content of the image nowhere:1 is not here")
    assert missing.wake_at is not None


def test_a_changed_value_in_the_environment_makes_anew_and_is_not_shown() -> None:
    world, loop, item = started()
    world.secret("db", password="other", other="x")
    world.config_object("conf", mode="prod", more="y")
    diff = loop.look(item.key, item)
    assert ("spec.env.PASSWORD", "(changed)", ChangeKind.RECREATE) in [(c.path, c.new, c.kind) for c in diff.changes]
    loop.settle(item)
    assert "PASSWORD=other" in world.env(item)
    assert "hunter2" not in str(diff)


@pytest.mark.parametrize("key", [{}, {"key": "mode"}])
@pytest.mark.parametrize(
    ("on_change", "attempt", "signals"),
    [("none", 1, 0), ({"signal": "SIGHUP"}, 1, 1), ("restart", 2, 1)],
)
def test_changed_content_of_a_mount(key: dict[str, str], on_change: Any, attempt: int, signals: int) -> None:
    world = World()
    world.config_object("conf", mode="prod")
    mounts = [{"config": "conf", "target": "/etc/conf", "onChange": on_change, **key}]
    loop, item = world.life(), container(mounts=mounts)
    loop.converge(item)
    world.config_object("conf", mode="test")
    assert loop.look(item.key, item).kind is (ChangeKind.RESTART if on_change == "restart" else ChangeKind.HOT)
    before = len(loop.acted)
    loop.settle(item)
    assert loop.acted[before] == "ProjectContent"
    assert loop.acted[before:].count("SignalTask") == signals
    task = world.running(item)
    assert (task.attempt, int(task.id[32:])) == (attempt, 1)
    assert world.files.projections[f"{task.id}.m0"].files == {"mode": b"test"}


def test_a_restart_asked_for_happens_once_on_the_same_layer() -> None:
    world = World()
    loop = world.life()
    loop.converge(container())
    item = container(restart_request="again")
    assert loop.look(item.key, item).kind is ChangeKind.RESTART
    loop.settle(item)
    task = world.running(item)
    assert (task.attempt, int(task.id[32:])) == (2, 1)
    assert loop.look(item.key, item) == Diff()


def test_a_dependency_restarted_restarts_us_only_where_it_shall() -> None:
    world = World()
    loop, db = world.life(), world.add(container("db"))
    loop.converge(db)
    follower = container(dependsOn=[{"container": "db", "restart": True}])
    other = container("other", dependsOn=[{"container": "db"}])
    loop.converge(follower)
    loop.converge(other)
    loop.settle(container("db", restart_request="1"))
    assert [c.path for c in loop.look(follower.key, follower).changes] == ["spec.dependsOn.db"]
    assert loop.look(other.key, other) == Diff()
    loop.settle(follower)
    assert world.running(follower).attempt == 2
