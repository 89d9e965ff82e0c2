"""What a plan says of a container, case by case: tests/plans/container."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from resources.kinds import Kind
from tests.unit.reconcilers.container.worlds import World, container
from tests.unit.reconcilers.engines import made

NETWORKS: dict[str, dict[str, Any]] = {
    "front": {"subnets": [{"subnet": "10.1.0.0/24"}]},
    "back": {"subnets": [{"subnet": "10.2.0.0/24"}]},
    "inner": {"subnets": [{"subnet": "10.3.0.0/24"}], "internal": True},
}
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parents[3] / "plans/container").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
]


@pytest.mark.parametrize("case", CASES)
def test_plan(case: dict[str, Any]) -> None:
    world = World()
    world.config_object("conf", a="1")
    for name, spec in {**NETWORKS, **case.get("networksBefore", {})}.items():
        world.network(name, **spec)
    loop = world.life()
    loop.settle(container(**case["before"]))
    item = container(**case["after"])
    for name, spec in case.get("networksAfter", {}).items():
        world.add(made(Kind.NETWORK, name, spec))
    diff = loop.look(item.key, item, planning=True)
    said = [[change.path, change.old, change.new, change.kind.name.lower()] for change in diff.changes]
    assert diff.kind.name.lower() == case["kind"]
    assert len(said) == len(case["is"])
    for one, wanted in zip(said, case["is"], strict=True):
        assert _within(wanted, one), (wanted, one)
    if "actions" in case:
        assert [action.describe() for action in diff.actions] == case["actions"]
    for name, spec in case.get("networksAfter", {}).items():
        world.network(name, **spec)
    loop.settle(item)
    assert loop.plan(item) == []
    assert loop.look(item.key, item, planning=True).changes == ()


def _within(wanted: Any, found: Any) -> bool:
    """What a case writes of a map; the defaults of the rest are not repeated."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and _within(value, found[key]) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_within, wanted, found))
    return bool(wanted == found)
