"""What is implied, with many clients at once, killed at every call, without wake-ups, and from any set to any other."""

import itertools
import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from controller.store.seal import HostKey
from resources.errors import FailedPrecondition, NotFound
from resources.kinds import Kind
from tests.convergence.mortal import WRITES, Death, MortalStore
from tests.convergence.shop import (
    FILES,
    NGINX,
    OWNED,
    SERVE,
    container,
    delete,
    emptied,
    image,
    names,
    published,
)
from tests.convergence.test_concurrency import LiveWorld
from tests.convergence.test_wakeups import DeafQueue, resynced
from tests.unit.reconcilers.engines import Killed


def test_many_clients_at_once(tmp_path: Path) -> None:
    world = published(tmp_path, made=LiveWorld, threads=4)
    problems: list[BaseException] = []
    chance = [random.Random(number) for number in range(4)]

    def client(number: int) -> None:
        own, turn = f"c{number}", chance[number]
        try:
            for _ in range(15):
                world.apply(container(own, turn.choice(["nginx:1.27", "nginx:1.28"])))
                with suppress(FailedPrecondition, NotFound):
                    delete(world, turn.choice([f"image/{NGINX}", "image/docker.io_library_nginx_1.28"]))
                if turn.random() < 0.5:
                    delete(world, f"container/{own}")
                    while world.find(Kind.CONTAINER, own) is not None:
                        time.sleep(0.001)
            world.apply(container(own))
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    world.converge()
    assert names(world) == [*(f"container/c{number}" for number in range(4)), f"image/{NGINX}"]
    assert all(world.task(f"c{number}") for number in range(4))
    emptied(world)
    world.engine.stop()
    world.jobs.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_call(tmp_path: Path, after: bool) -> None:
    assert "pull" in WRITES
    key = HostKey(tmp_path)
    first, second = container("web") + container("db"), container("web", "nginx:1.28")
    for number in range(200):
        world = published(tmp_path / str(number), key)
        world.apply(first, options=OWNED)
        world.converge()
        world.end()
        death = Death(number, after)
        world.begin(death.drivers, MortalStore(world.store, death))
        try:
            world.apply(second, options=OWNED)
            world.converge()
        except Killed:
            pass
        world.end()
        world.begin()
        world.apply(second, options=OWNED)
        world.converge()
        assert names(world) == ["container/web", "image/docker.io_library_nginx_1.28"], f"killed at {death.last}"
        emptied(world)
        if not death.over:
            assert number > 5
            return
    pytest.fail("200 calls are not enough")


def test_the_resync_alone_is_enough(tmp_path: Path) -> None:
    world = published(tmp_path, make_queue=DeafQueue)
    world.apply(container("web") + container("db"))
    resynced(world)
    delete(world, "container/web", "container/db")
    resynced(world)
    assert names(world) == []


IMAGES = ("nginx:1.27", "nginx:1.28", "shop/app:1")
STEPS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("abc"), st.sampled_from(IMAGES), min_size=1),
        st.sets(st.sampled_from(["registry", "archive", "always"]), max_size=2),
        st.integers(0, 12),
    ),
    min_size=2,
    max_size=4,
)
DECLARED = {
    "registry": image("one", "{from: {registry: 'nginx:1.27'}}"),
    "archive": image("two", "{from: {archive: ./app.tar}, tags: ['shop/app:1', 'nginx:1.28']}"),
    "always": image("three", "{from: {registry: 'shop/app:1'}, pull: always}"),
}
NUMBERS = itertools.count()


@settings(
    deadline=None, derandomize=True, max_examples=60, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
@given(steps=STEPS)
def test_from_any_set_to_any_other(tmp_path: Path, steps: Sequence[tuple[dict[str, str], set[str], int]]) -> None:
    """Also while the last set is still being made: each has so many steps of the loop."""
    world = published(tmp_path / str(next(NUMBERS)))
    world.machine.images.publish("shop/app:1", SERVE, layers=(b"app",))
    text = ""
    for containers, declared, hurry in steps:
        if "archive" in declared and "always" in declared:
            declared = declared - {"always"}
        wanted = [DECLARED[word] for word in sorted(declared)] + [container(*one) for one in sorted(containers.items())]
        if any(
            item.deleting and not item.metadata.implied and item.metadata.name in "".join(wanted)
            for item in world.objects
        ):
            world.converge()
        text = "".join(wanted)
        world.apply(text, FILES, OWNED)
        for _ in range(hurry):
            world.engine.step() or world.jobs.run()
    world.converge()
    assert world.plan(text, FILES, OWNED).empty
    containers, _, _ = steps[-1]
    assert {name for name in "abc" if world.task(name)} == set(containers)
    assert all(world.engine.users(item.ref) for item in world.objects if item.metadata.implied), names(world)
    emptied(world)
