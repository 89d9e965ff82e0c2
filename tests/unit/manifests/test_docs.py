"""docs/manifests.md is true: its manifests load, its errors are ours, every field is in it."""

import re
from pathlib import Path

import pytest

from manifests.interface import Text
from manifests.load import load
from manifests.shapes import form
from manifests.supported import REFUSED, Refused
from resources.kinds import SUPPORTED, Kind
from resources.object import SPECS

PAGE = (Path(__file__).parents[3] / "docs" / "manifests.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_its_manifests_load(block: str) -> None:
    loaded = load([Text("manifests.md", block.encode())])
    assert [str(problem) for problem in loaded.problems] == []
    assert loaded.manifests


def test_it_has_a_manifest_of_every_kind() -> None:
    kinds = {located.manifest.kind for block in BLOCKS for located in load([Text("m", block.encode())]).manifests}
    assert kinds == set(SUPPORTED)


@pytest.mark.parametrize("kind", SUPPORTED)
def test_every_field_is_in_it(kind: Kind) -> None:
    refused = {entry.steps[1] for entry in REFUSED.get(kind, ()) if len(entry.steps) > 1}
    assert [name for name in (*form(SPECS[kind]).fields, *refused) if not re.search(rf"[`.]{name}\b", PAGE)] == []


@pytest.mark.parametrize(
    "entry", [entry for entries in REFUSED.values() for entry in entries], ids=lambda entry: entry.path
)
def test_what_is_refused_is_in_it(entry: Refused) -> None:
    section = PAGE[PAGE.index("## Not yet supported") :]
    field = "networks" if "networks" in entry.steps else entry.steps[-1]
    assert re.search(rf"[`.]{field}\b", section)


def test_its_errors_are_ours() -> None:
    spec = "{image: a, networks: [host], environment: {}, resources: {memory: 512m}, ports: 22:22}"
    document = f"apiVersion: lading/v1\nkind: Container\nmetadata: {{name: web}}\nspec: {spec}\n"
    found = [f"{problem.path}: {problem.message}" for problem in load([Text("m", document.encode())]).problems]
    shown = re.findall(r"^shop.yaml:[0-9:]+ (spec\..*)$", PAGE, re.MULTILINE)
    assert len(shown) == 3
    assert set(shown) == set(found)
