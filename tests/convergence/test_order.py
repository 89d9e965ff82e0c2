"""What depends on what, as the host sees it: the order in which processes begin, and in which everything goes."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from controller.store.seal import HostKey
from resources.errors import FailedPrecondition
from resources.kinds import Kind
from resources.meta import Ref
from tests.convergence.test_wakeups import ShuffledQueue
from tests.convergence.world import World

FILES = {"app.tar": b"image one"}
IMAGE = """
apiVersion: lading/v1
kind: Image
metadata: {name: app}
spec: {from: {archive: ./app.tar}}
"""


def container(name: str, spec: str) -> str:
    return f"""---
apiVersion: lading/v1
kind: Container
metadata: {{name: {name}}}
spec:
  image: {{name: app}}
  networks: [none]
  {spec}
"""


CHAIN = IMAGE + "".join(
    container(name, spec)
    for name, spec in {
        "a-web": "dependsOn: [{container: b-db, condition: healthy}, c-job]",
        "b-db": "health: {exec: ['true'], interval: 1s}\n  dependsOn: [{container: c-job, condition: completed}]",
        "c-job": "command: [exit, '0']",
    }.items()
)


def world_of(folder: Path, seed: int) -> World:
    chance = random.Random(seed)
    return World(folder, HostKey(folder), make_queue=lambda clock: ShuffledQueue(clock, chance))


def log(world: World, *methods: str) -> list[str]:
    """The calls of these names, as `method name`."""
    names = {item.metadata.uid: item.metadata.name for item in world.objects}
    return [f"{method} {names.get(task[:32], '?')}" for method, task in world.runtime.calls if method in methods]


@pytest.mark.parametrize("seed", range(10))
def test_processes_begin_in_the_order_of_their_conditions(tmp_path: Path, seed: int) -> None:
    world = world_of(tmp_path, seed)
    world.apply(CHAIN, FILES)
    world.converge()
    assert log(world, "start") == ["start c-job", "start b-db", "start a-web"]
    calls = [call for call in log(world, "start", "exec") if call != "start c-job"]
    assert calls.index("exec b-db") < calls.index("start a-web"), "it was seen to be healthy first"


@pytest.mark.parametrize("seed", range(10))
def test_all_goes_the_other_way_round(tmp_path: Path, seed: int) -> None:
    world = world_of(tmp_path, seed)
    world.apply(CHAIN, FILES)
    world.converge()
    keys = {item.key: item.metadata.name for item in world.objects}
    world.told.events.clear()
    deleted = {item.ref for item in world.objects}
    assert set(world.backend.delete([*deleted], data=True, cascade=False, force=False)) == deleted
    world.converge()
    gone = [keys[key] for key, reason, _ in world.told.events if reason == "Deleted"]
    assert gone == ["a-web", "b-db", "c-job", "app"]


def test_a_failed_job_holds_up_what_needs_it(tmp_path: Path) -> None:
    world = world_of(tmp_path, 0)
    world.apply(CHAIN.replace("exit, '0'", "exit, '3'"), FILES)
    world.run()
    for _ in range(5):
        world.now += timedelta(seconds=60)
        world.run()
    assert log(world, "start") == ["start c-job"]
    db = world.find(Kind.CONTAINER, "b-db")
    outcome = world.engine.outcome(db.key) if db else None
    assert outcome is not None
    assert outcome.waiting == "container/c-job has not completed"
    world.apply(CHAIN, FILES)
    world.converge()
    assert log(world, "start") == ["start c-job", "start c-job", "start b-db", "start a-web"]


def test_a_dependency_that_goes_is_refused_and_with_cascade_goes_last(tmp_path: Path) -> None:
    world = world_of(tmp_path, 0)
    world.apply(CHAIN, FILES)
    world.converge()
    db = Ref(kind=Kind.CONTAINER, namespace="default", name="b-db")
    with pytest.raises(FailedPrecondition, match="container/b-db is used by container/a-web"):
        world.backend.delete([db], data=False, cascade=False, force=False)
    keys = {item.key: item.metadata.name for item in world.objects}
    world.backend.delete([db], data=False, cascade=True, force=False)
    world.converge()
    assert [keys[key] for key, reason, _ in world.told.events if reason == "Deleted"] == ["a-web", "b-db"]
    assert world.task("c-job") is not None


def test_the_restart_of_a_dependency_is_followed_only_where_that_is_asked_for(tmp_path: Path) -> None:
    text = IMAGE + "".join(
        container(name, spec)
        for name, spec in {
            "db": "user: '1'",
            "follows": "dependsOn: [{container: db, restart: true}]",
            "stays": "dependsOn: [db]",
        }.items()
    )
    world = world_of(tmp_path, 0)
    world.apply(text, FILES)
    world.converge()
    world.apply(text.replace("'1'", "'2'"), FILES)
    world.converge()
    starts = log(world, "start")
    assert (starts.count("start db"), starts.count("start follows"), starts.count("start stays")) == (2, 2, 1)
