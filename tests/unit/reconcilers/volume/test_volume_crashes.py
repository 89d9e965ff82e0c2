"""Volumes whose engine is killed at any step, what a killed one left, and any volume made into any other."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconcilers.interface import ChangeKind, Diff
from resources.errors import DataLoss
from resources.object import Object
from tests.unit.reconcilers.engines import Fuse, Loop, deleted, killed_at_every_step
from tests.unit.reconcilers.volume.worlds import CONTENT, SEEDS_ROOT, World, volume

OWNER = {"uid": 999, "gid": 998, "mode": "0750"}
FROM_IMAGE = {"image": {"name": "seed"}, "path": "/data"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "inputs")


def reason(loop: Loop, item: Object) -> str:
    ready = loop.status(item).condition("Ready")
    assert ready is not None
    return ready.reason


def test_killed_after_every_step_the_next_life_goes_on(tmp_path: Path) -> None:
    def make() -> World:
        world = World(tmp_path)
        world.seeded_image()
        return world

    item = volume(populate=FROM_IMAGE, owner=OWNER, size="1Gi")

    def work(world: World, fuse: Fuse) -> None:
        life = world.life(fuse)
        real = world.copy_up.copy_up

        def copy(root: Path, path: str, target: Path) -> None:
            fuse.step()
            real(root, path, target)
            fuse.step()

        world.copy_up.copy_up = copy  # type: ignore[method-assign]
        life.converge(item)
        world.local.break_mount(item.metadata.uid)
        life.converge(item)
        life.converge(deleted(item, data=True))

    rounds = 0
    for world in killed_at_every_step(make, work):
        rounds += 1
        world.copy_up.copy_up = type(world.copy_up).copy_up.__get__(world.copy_up)  # type: ignore[method-assign]
        life = world.life()
        assert life.converge(item) == Diff()
        assert world.data(item) == CONTENT
        assert life.status(item).ready
        assert world.life().converge(deleted(item, data=True)) == Diff()
        assert world.left() == []
    assert rounds >= 6


def test_what_a_killed_population_left_is_removed(world: World) -> None:
    world.seeded_image()
    image = world.images.names().list()[0][1]
    found = world.images.image(image.digest)
    assert found is not None
    item = volume()
    world.life().converge(item)
    mounts = world.snapshots.view(f"populate-{item.metadata.uid}", found.chain_id)
    world.mounts[SEEDS_ROOT.name] = tuple(mounts)
    loop = world.life()
    assert loop.converge(item) == Diff()
    assert loop.acted == ["DropPopulate"]
    assert world.mounts == {}


def test_inputs_are_needed_until_it_is_populated(world: World) -> None:
    loop = world.life()
    digest = world.archive("s")
    item = volume(populate={"archive": "./seed.tar"}, input=digest)

    def needed(desired: Object) -> frozenset[str]:
        reconciler = loop.reconciler
        return reconciler.inputs_needed(desired, reconciler.observe(desired.key, desired, loop.context()))  # type: ignore[attr-defined]

    assert needed(item) == {digest}
    loop.converge(item)
    assert needed(item) == frozenset()
    assert needed(deleted(volume("other", populate={"archive": "./seed.tar"}, input=digest))) == frozenset()
    loop.converge(deleted(item))
    assert needed(replace_uid(item)) == frozenset()


def replace_uid(item: Object) -> Object:
    return item.model_copy(update={"metadata": item.metadata.model_copy(update={"uid": "e" * 32})})


specs = st.fixed_dictionaries(
    {},
    optional={
        "driver": st.sampled_from(("local", "tmpfs")),
        "size": st.sampled_from(("1Gi", "2Gi", "3Gi")),
        "owner": st.fixed_dictionaries(
            {}, optional={"uid": st.integers(0, 2), "gid": st.integers(0, 2), "mode": st.sampled_from(("0700", "0755"))}
        ),
        "reclaim": st.sampled_from(("retain", "delete")),
        "populate": st.just({"archive": "./seed.tar"}),
    },
)


@settings(max_examples=150, deadline=None)
@given(before=specs, after=specs, rebooted=st.booleans())
def test_any_volume_becomes_any_other_or_says_why_not(
    before: dict[str, Any], after: dict[str, Any], rebooted: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        digest = world.archive("s")
        loop = world.life()
        assert loop.converge(volume(**before, input=digest)) == Diff()
        kept = world.data(volume())
        if rebooted:
            world.host.reboot()
        item = volume(**after, input=digest)
        diff = loop.converge(item)
        if diff != Diff():
            assert diff.kind is ChangeKind.DATA_LOSS
            assert reason(loop, item) == DataLoss.reason
            assert world.local.list() or world.tmpfs.list()
        else:
            state = world.local.inspect(item.metadata.uid) or world.tmpfs.inspect(item.metadata.uid)
            assert state is not None
            assert state.size == item.effective.size
            wanted = {
                k: v for k, v in (("uid", item.effective.owner.uid), ("gid", item.effective.owner.gid)) if v is not None
            }
            assert replace(state, **wanted) == state
            assert loop.status(item).ready
            assert kept.items() <= world.data(item).items() or rebooted
        assert loop.look(item.key, item) == diff
        assert loop.converge(deleted(item, data=True)) == Diff()
        assert world.left() == []
