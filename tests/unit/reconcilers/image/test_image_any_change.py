"""From any Image to any other: what comes out depends on where it goes, not on where it was."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconcilers.image.model import UID
from reconcilers.interface import Diff
from resources.kinds import Kind
from tests.unit.reconcilers.engines import deleted, made
from tests.unit.reconcilers.image.worlds import EMPTY, World, image

NAMES = ("one:1", "two:1", "three:1")

specs = st.fixed_dictionaries(
    {
        "letter": st.sampled_from("abm"),
        "source": st.sampled_from(("archive", "layout", "rootfs", "registry")),
        "pull": st.sampled_from((None, "always")),
        "tags": st.lists(st.sampled_from(NAMES), max_size=3),
        "platform": st.sampled_from((None, "linux/amd64", "linux/arm64")),
    }
)


def outcome(folder: Path, *steps: dict[str, Any]) -> tuple[bool, dict[str, str], str]:
    world = World(folder)
    world.archive("a")
    world.archive("b", names=("three:1",))
    world.archive_of_many("m", {"x": "one:1", "y": "two:1"})
    for letter in "abm":
        layers, platforms = (b"base", b"pulled " + letter.encode()), ("linux/amd64", "linux/arm64")
        world.images.publish(f"shop/{letter}:1", layers=layers, platforms=platforms)
    loop = world.life()
    for step in steps:
        given = ("tags", "platform", "pull")
        spec = {name: value for name, value in step.items() if name in given and value is not None}
        if step["source"] == "registry":
            item = made(Kind.IMAGE, "web", {"from": {"registry": f"shop/{step['letter']}:1"}, **spec})
        else:
            item = image("web", world.inputs.put(step["letter"]), step["source"], **spec)
        diff = loop.converge(item)
        ready = loop.status(item).ready
        assert ready == (diff == Diff())
        assert ready or diff.waiting
        assert loop.look(item.key, item) == diff
    cache = [name for name, where in world.images.names().list() if UID not in where.annotations]
    tags = {name: target for name, target in world.tags().items() if name not in cache}
    found = ready, tags, world.record(item)
    assert loop.converge(deleted(item)) == Diff()
    for name in cache:
        world.images.names().delete(name)
    world.images.prune([])
    assert world.left() == EMPTY
    return found


@settings(max_examples=150, deadline=None)
@given(before=st.lists(specs, max_size=2), after=specs)
def test_any_image_becomes_any_other(before: list[dict[str, Any]], after: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        changed = outcome(Path(folder), *before, after)
        fresh = outcome(Path(folder), after)
    if fresh[0]:
        assert changed == fresh
    else:
        assert not changed[0]
