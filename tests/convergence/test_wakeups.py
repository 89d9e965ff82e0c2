"""Wake-ups cost time and never correctness: with none at all but the resync, and in any order, the same comes of it."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.store.seal import HostKey
from controller.workqueue import WorkQueue
from resources.meta import Key
from tests.convergence.test_crashes import SCENARIOS, Scenario
from tests.convergence.world import World


class DeafQueue(WorkQueue[Key]):
    """Hears nothing but the resync."""

    listening = False

    def add(self, key: Key) -> None:
        if self.listening:
            super().add(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Lost."""


class ShuffledQueue(WorkQueue[Key]):
    def __init__(self, clock: Callable[[], float], chance: random.Random) -> None:
        super().__init__(clock)
        self._chance = chance

    def get(self, *, wait: bool = True) -> Key | None:
        with self._changed:
            self._release_due()
            self._chance.shuffle(self._queue)
            return super().get(wait=wait)


def converged(folder: Path, key: HostKey, scenario: Scenario, converge: Callable[[World], None], **how: Any) -> World:
    world = World(folder, key, **how)
    for act in (scenario.before, scenario.act):
        if act is not None:
            act(world)
            converge(world)
    world.end()
    return world


def resynced(world: World) -> None:
    """Converge with no wake-up but that of the timer."""
    queue = world.queue
    assert isinstance(queue, DeafQueue)
    for _ in range(60):
        queue.listening = True
        world.engine.wake_all()
        world.wiring.sweep()
        queue.listening = False
        world.run()
        if not world.unrest():
            return
        world.now += timedelta(seconds=60)
    pytest.fail(f"{world.unrest()}")


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_resync_alone_converges_everything(tmp_path: Path, name: str) -> None:
    key = HostKey(tmp_path)
    calm = converged(tmp_path / "calm", key, SCENARIOS[name], World.converge)
    deaf = converged(tmp_path / "deaf", key, SCENARIOS[name], resynced, make_queue=DeafQueue)
    assert deaf.state() == calm.state()
    refs = [item.ref for item in deaf.objects]
    deaf.backend.delete(refs, data=True, cascade=True, force=False)
    resynced(deaf)
    assert (
        not {"objects", "tasks", "snapshots", "roots", "sandboxes", "projections", "stages", "blobs"}
        & deaf.left().keys()
    )


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_order_of_the_queue_makes_no_difference(tmp_path: Path, name: str) -> None:
    key = HostKey(tmp_path)
    calm = converged(tmp_path / "calm", key, SCENARIOS[name], World.converge)
    for number in range(8):
        chance = random.Random(number)
        world = converged(
            tmp_path / str(number), key, SCENARIOS[name], World.converge,
            make_queue=lambda clock, chance=chance: ShuffledQueue(clock, chance),
        )  # fmt: skip
        assert world.state() == calm.state(), f"order {number}"
        world.delete_all()
        assert not world.left(), f"order {number}"
