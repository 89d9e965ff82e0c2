"""What a hot change of one leaves alone in others: its health is what it was, and nobody waits for it again."""

import random
from pathlib import Path
from typing import Any

import pytest

from controller.store.seal import HostKey
from resources.meta import Key, Status
from tests.convergence.test_swaps import FILES, ONE, OWNED, TWO, addresses, manifests
from tests.convergence.test_wakeups import ShuffledQueue
from tests.convergence.world import World

BASE: dict[str, dict[str, Any]] = {
    "db": {"health": {"exec": ["true"], "interval": "5s"}},
    "web": {"dependsOn": [{"container": "db", "condition": "healthy"}]},
}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "aliases": ({"db": [{"name": "n", "aliases": ["x"]}]}, {}),
    "a network more": ({"db": ["n", "m"]}, {}),
    "an address": ({"db": [{"name": "n", "ipv4": "10.7.0.77"}]}, {}),
    "memory": ({}, {"db": {"resources": {"memory": "64Mi"}}}),
    "both of them": ({"db": [{"name": "n", "aliases": ["x"]}], "web": ["n", "m"]}, {}),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CHANGES)
def test_nobody_waits_again_for_who_is_changed_while_it_runs(tmp_path: Path, name: str, seed: int) -> None:
    chance = random.Random(seed)
    world = World(tmp_path, HostKey(tmp_path), make_queue=lambda clock: ShuffledQueue(clock, chance))
    world.apply(manifests(ONE, {"db": ["n"], "web": ["n"]}, **BASE), FILES, OWNED)
    world.converge()
    told: list[Status] = []
    put = world.engine.objects.put_status

    def note(key: Key, status: Status) -> Any:
        told.append(status)
        return put(key, status)

    world.engine.objects.put_status = note  # type: ignore[method-assign]
    sites, more = CHANGES[name]
    specs = {one: {**BASE[one], **more.get(one, {})} for one in BASE}
    world.apply(manifests(TWO, {"db": ["n"], "web": ["n"], **sites}, **specs), FILES, OWNED)
    world.converge()
    assert set(addresses(world)) == {"db", "web"}
    assert "db is not" not in str(told)
    conditions = {condition.type: condition.status for status in told for condition in status.conditions}
    assert conditions["Healthy"] == "True"


def test_who_is_made_anew_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, HostKey(tmp_path))
    world.apply(manifests(ONE, {"db": ["n"], "web": ["n"]}, **BASE), FILES, OWNED)
    world.converge()
    specs = {"db": {**BASE["db"], "user": "7"}, "web": {**BASE["web"], "user": "7"}}
    world.runtime.calls.clear()
    world.apply(manifests(ONE, {"db": ["n"], "web": ["n"]}, **specs), FILES, OWNED)
    world.converge()
    names = {item.metadata.uid: item.metadata.name for item in world.objects}
    assert [names[task[:32]] for method, task in world.runtime.calls if method == "start"] == ["db", "web"]
