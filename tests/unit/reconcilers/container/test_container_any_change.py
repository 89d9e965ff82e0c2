"""From any Container to any other, over whatever happens to the host in between: afterwards there is nothing to do, and
what runs is what a fresh container of the last manifest would be."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from drivers.network.interface import SandboxFiles
from drivers.runtime.interface import Limits, TaskStatus
from resources.errors import FailedPrecondition
from resources.object import Object
from tests.unit.reconcilers.container.worlds import CONFIG, ContainerLoop, World, container, held, noted
from tests.unit.reconcilers.engines import Fuse, Killed, deleted


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


ON_CHANGE = st.sampled_from(["none", "restart", {"signal": "SIGHUP"}])
MOUNTS = st.lists(
    st.one_of(
        st.builds(lambda o: {"volume": "data", **o}, some(readOnly=st.booleans(), copyUp=st.booleans())),
        st.just({"volume": "fresh"}),
        st.builds(lambda o: {"bind": "/srv", **o}, some(create=st.booleans())),
        st.builds(lambda o: {"tmpfs": o}, some(size=st.just("1Mi"))),
        st.builds(lambda o, c: {"secret": "tls", "onChange": c, **o}, some(key=st.just("a")), ON_CHANGE),
        st.builds(lambda o, c: {"config": "conf", "onChange": c, **o}, some(key=st.just("a")), ON_CHANGE),
        st.just({"image": {"name": "assets"}}),
    ),
    max_size=3,
).flatmap(lambda mounts: st.permutations([{**mount, "target": f"/m/{n}"} for n, mount in enumerate(mounts)]))
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "command": st.sampled_from([["serve"], ["other"], []]),
    "entrypoint": st.just(["/entry"]),
    "env": st.dictionaries(
        st.sampled_from("AB"),
        st.sampled_from(["1", "2", {"secret": "tls", "key": "a"}, {"config": "conf", "key": "a"}]),
        min_size=1,
        max_size=2,
    ),
    "user": st.sampled_from(["101", "7"]),
    "hostname": st.just("box"),
    "mounts": MOUNTS,
    "networks": st.just([{"name": "host"}]),
    "dns": st.just({"servers": ["9.9.9.9"]}),
    "extraHosts": st.sampled_from([{"a": "10.0.0.1"}, {"a": "host-gateway"}]),
    "resources": some(
        memory=st.sampled_from(["64Mi", "1Gi"]), cpus=st.sampled_from([1, 0.5]), pids=st.sampled_from([5, 6]),
        cpuShares=st.just(512), oomScoreAdj=st.just(5),
    ),
    "restart": some(policy=st.sampled_from(["always", "on-failure", "unless-stopped", "never"])),
    "health": st.sampled_from(
        ["none", {"tcp": {"port": 80}, "interval": "1s"}, {"exec": ["true"], "onFailure": "restart", "retries": 1}]
    ),
    "state": st.sampled_from(["running", "running", "paused", "stopped", "created"]),
    "stop": some(signal=st.just("SIGINT"), timeout=st.sampled_from(["0s", "3s"])),
    "security": some(readOnlyRoot=st.booleans(), profile=st.just("compat")),
    "logging": some(maxSize=st.just("1Mi"), driver=st.just("none")),
    "tty": st.booleans(),
    "init": st.booleans(),
    "shmSize": st.just("1Mi"),
}  # fmt: skip
AROUND: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(["web", "shop"]),
    "labels": st.sampled_from([{}, {"app": "a"}]),
    "image": st.sampled_from(["one", "two"]),
    "overrides": st.sampled_from([{}, {"env": {"A": "overridden"}}]),
    "value": st.sampled_from(["x", "y"]),
    "volumes": st.sampled_from([(), ("/m/0",), ("/m/1", "/srv"), ("/srv",)]),
    "request": st.sampled_from(["", "r1", "r2"]),
    "held": st.sampled_from([None, None, "stopped", "paused"]),
}
FIRST = {
    "name": "web", "labels": {}, "image": "one", "overrides": {}, "value": "x", "volumes": ("/srv",), "request": "", "held": None,
    "spec": {
        "env": {"A": {"secret": "tls", "key": "a"}},
        "mounts": [{"volume": "fresh", "target": "/m/0"}, {"secret": "tls", "target": "/m/1", "onChange": "restart"}],
    },
}  # fmt: skip
Edit = tuple[str, str, Any]
EDITS: st.SearchStrategy[Edit] = st.one_of(
    *(st.tuples(st.just("spec"), st.just(name), values | st.none()) for name, values in FIELDS.items()),
    *(st.tuples(st.just("around"), st.just(name), values) for name, values in AROUND.items()),
)
"""Small steps: most of what is desired stays as it was, or what is hot would hide behind what is not."""


def edited(wish: Mapping[str, Any], edits: list[Edit]) -> dict[str, Any]:
    spec, around = dict(wish["spec"]), dict(wish)
    for where, name, value in edits:
        if where == "around":
            around[name] = value
        elif value is None:
            spec.pop(name, None)
        else:
            spec[name] = value
    return {**around, "spec": spec}


def exits(world: World, item: Object) -> None:
    world.exit(item, 1)


def ends_well(world: World, item: Object) -> None:
    world.exit(item, 0)


def ends_somehow(world: World, item: Object) -> None:
    world.exit(item, None)


def reboots(world: World, item: Object) -> None:
    world.reboot()
    world.volumes.mount(world.volume("fresh", populated=False).metadata.uid)


def is_paused(world: World, item: Object) -> None:
    if world.task(item).status is TaskStatus.RUNNING:
        world.runtime.pause(world.task(item).id)


def loses_limits(world: World, item: Object) -> None:
    if world.task(item).limits is not None:
        world.runtime.break_limits(world.task(item).id, Limits(memory=1 << 40))


def loses_its_files(world: World, item: Object) -> None:
    world.sandboxes.write_files(world.task(item).id, SandboxFiles("scribbled"))


def loses_content(world: World, item: Object) -> None:
    world.files.projections.clear()


def loses_its_namespace(world: World, item: Object) -> None:
    world.sandboxes.reboot()


def loses_its_root(world: World, item: Object) -> None:
    world.mounts.clear()


HAPPENINGS: st.SearchStrategy[Callable[[World, Object], None] | None] = st.sampled_from(
    [
        None, None, exits, ends_well, ends_somehow, reboots, is_paused, loses_limits, loses_its_files, loses_content,
        loses_its_namespace, loses_its_root,
    ]
)  # fmt: skip


def ready(world: World, wish: Mapping[str, Any]) -> Object:
    """The world and the object as this wish has them."""
    asked = replace(CONFIG, volumes=wish["volumes"])
    world.image("box", asked, wish["image"].encode(), config=wish["overrides"])
    world.image("assets", CONFIG, b"assets" + wish["image"].encode())
    world.secret("tls", a=wish["value"], b="same")
    world.config_object("conf", a=wish["value"], b="same")
    item = container("web", restart_request=wish["request"], **wish["spec"])
    item = noted(item, name=wish["name"], labels=wish["labels"])
    return held(item, wish["held"]) if wish["held"] else item


def new_world() -> World:
    world = World()
    world.volume("data")
    world.volume("fresh", populated=False)
    return world


def settled(world: World, loop: ContainerLoop, item: Object) -> None:
    for _ in range(10):
        diff = loop.settle(item)
        restarting = any(change.path in ("process", "spec.health") for change in diff.changes)
        if diff.wake_at is None or not restarting:
            break
        world.now = max(world.now, diff.wake_at)
    assert not diff.actions
    assert not diff.waiting
    assert not diff.changes
    assert not loop.look(item.key, item, planning=True).actions


def outcome(world: World, item: Object) -> Any:
    """What there is, but for the number of its life and attempt, and what a rename leaves as it was."""
    found = [task for task in world.tasks if task.id.startswith(item.metadata.uid)]
    if not found or found[0].status not in (TaskStatus.RUNNING, TaskStatus.PAUSED):
        return "none runs"
    [task] = found
    config = world.host.configs[task.id]
    process = {**config.spec["process"], "env": [e for e in config.spec["process"]["env"] if "HOSTNAME" not in e]}
    targets = {m["destination"]: (m["type"], m["options"]) for m in config.spec["mounts"]}
    kept = {name for name in task.applied if name not in ("failures", "hostname", "state")}
    return {
        "status": task.status,
        "process": process,
        "root": config.spec["root"],
        "mounts": targets,
        "linux": {k: v for k, v in config.spec["linux"].items() if k != "namespaces"},
        "own network": "network" in {n["type"] for n in config.spec["linux"]["namespaces"]},
        "limits": task.limits,
        "log": config.log.driver,
        "anonymous": sorted(state.id for state in world.anonymous.list()),
        "staged": {slot: str(path)[-40:] for slot, path in _staged(world, task.id).items()},
        "projected": {name[64:]: made for name, made in world.files.projections.items()},
        "applied": {name: task.applied[name] for name in kept},
    }


def _staged(world: World, task_id: str) -> dict[str, str]:
    staged = world.files.staged.get(task_id, {})
    return {slot: str(path).replace(task_id, "") for slot, path in staged.items()}


STEPS = st.tuples(st.lists(EDITS, max_size=2), st.none() | st.integers(0, 25), HAPPENINGS)
"""What is wanted otherwise, after how many steps the engine is killed on the way there, and what others do then."""


@settings(max_examples=700, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(base=st.lists(EDITS, max_size=6), steps=st.lists(STEPS, max_size=3), last=st.lists(EDITS, max_size=2))
def test_any_container_becomes_any_other(base: list[Edit], steps: list[Any], last: list[Edit]) -> None:
    world, wish = new_world(), edited(FIRST, base)
    for edits, cut, happening in [([], None, None), *steps]:
        wish = edited(wish, edits)
        item = ready(world, wish)
        # The engine is killed, or there is nothing to run.
        with suppress(Killed, FailedPrecondition):
            world.life(Fuse() if cut is None else Fuse(cut)).settle(item)
        if happening is not None and any(task.id.startswith(item.metadata.uid) for task in world.tasks):
            happening(world, item)
    wish = edited(wish, last)
    assume(wish["spec"].get("command") != [] or "entrypoint" in wish["spec"])
    item = ready(world, wish)
    settled(world, world.life(), item)
    fresh = new_world()
    settled(fresh, fresh.life(), ready(fresh, wish))
    if outcome(world, item) != "none runs":
        assert outcome(world, item) == outcome(fresh, item)
    world.life().settle(deleted(item))
    assert world.left() == []
