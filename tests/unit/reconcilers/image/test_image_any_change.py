"""From any Image to any other: what comes out depends on where it goes, not on where it was."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconcilers.interface import Diff
from tests.unit.reconcilers.engines import deleted
from tests.unit.reconcilers.image.worlds import EMPTY, World, image

NAMES = ("one:1", "two:1", "three:1")

specs = st.fixed_dictionaries(
    {
        "letter": st.sampled_from("abm"),
        "source": st.sampled_from(("archive", "layout", "rootfs")),
        "tags": st.lists(st.sampled_from(NAMES), max_size=3),
        "platform": st.sampled_from((None, "linux/amd64", "linux/arm64")),
    }
)


def outcome(folder: Path, *steps: dict[str, Any]) -> tuple[bool, dict[str, str], str]:
    world = World(folder)
    world.archive("a")
    world.archive("b", names=("three:1",))
    world.archive_of_many("m", {"x": "one:1", "y": "two:1"})
    loop = world.life()
    for step in steps:
        spec = {name: value for name, value in step.items() if name in ("tags", "platform") and value is not None}
        item = image("web", world.inputs.put(step["letter"]), step["source"], **spec)
        diff = loop.converge(item)
        ready = loop.status(item).ready
        assert ready == (diff == Diff())
        assert ready or diff.waiting
        assert loop.look(item.key, item) == diff
    found = ready, world.tags(), world.record(item)
    assert loop.converge(deleted(item)) == Diff()
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
