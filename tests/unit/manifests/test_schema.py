"""The JSON Schema takes what the loader takes, and refuses what a schema can refuse."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from manifests.interface import Text
from manifests.load import load
from manifests.node import ListNode, MapNode, Node
from manifests.parse import parse
from manifests.schema import schema
from resources.errors import Unsupported
from resources.kinds import SUPPORTED, Kind

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/manifest.yaml"))
WHOLE = jsonschema.Draft202012Validator(schema())


def plain(node: Node) -> Any:
    if isinstance(node, MapNode):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    return [plain(item) for item in node.items] if isinstance(node, ListNode) else node.value


def documents(text: str) -> list[Any]:
    nodes, problems = parse("m.yaml", text)
    assert problems == []
    return [plain(node) for node in nodes]


def manifest(kind: str, spec: str) -> Any:
    return documents(f"apiVersion: lading/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n")[0]


@pytest.mark.parametrize("kind", [None, *SUPPORTED])
def test_it_is_a_schema_of_the_dialect_it_names(kind: Kind | None) -> None:
    found = schema(kind)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(found)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_fit(path: Path) -> None:
    for document in documents(path.read_text()):
        WHOLE.validate(document)
        jsonschema.Draft202012Validator(schema(Kind(document["kind"]))).validate(document)


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (
            "Container",
            "{image: a, networks: [host, {name: b}], restart: always, dependsOn: [a, {container: b}], health: none}",
        ),
        ("Container", "{image: {name: a}, ports: ['8080:80', 80, '[::1]:8443:443', '53-54/udp', {container: 80}]}"),
        ("Container", "{image: a, resources: {memory: 512Mi, cpus: 1.5, pids: 3}, stop: {timeout: 1m30s}}"),
        ("Container", "{image: a, tty: '${TTY}', resources: {pids: '${PIDS}'}, restart: '${POLICY}'}"),
        ("Container", "{image: a, env: {A: 1, B: true, C: x, D: {secret: s, key: k}}}"),
        (
            "Container",
            "{image: a, security: {userNamespace: {size: 65536}}, mounts: [{tmpfs: {mode: '1777'}, target: /t}]}",
        ),
        ("Network", "{subnets: [10.42.0.0/24, {subnet: 'fd00::/64'}]}"),
        ("Volume", "{size: 1073741824, owner: {mode: '0750'}}"),
    ],
)
def test_short_forms_and_variables_fit(kind: str, spec: str) -> None:
    WHOLE.validate(manifest(kind, spec))


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Container", "{}"),
        ("Container", "{image: 1}"),
        ("Container", "{image: a, imag: b}"),
        ("Container", "{image: a, command: sleep}"),
        ("Container", "{image: a, command: [1]}"),
        ("Container", "{image: a, command: null}"),
        ("Container", "{image: a, tty: 'yes'}"),
        ("Container", "{image: a, restart: sometimes}"),
        ("Container", "{image: a, restart: {policy: sometimes}}"),
        ("Container", "{image: a, ports: ['a:b']}"),
        ("Container", "{image: a, ports: [{container: 0}]}"),
        ("Container", "{image: a, networks: [{nam: b}]}"),
        ("Container", "{image: a, resources: {memory: 512m}}"),
        ("Container", "{image: a, resources: {pids: 0}}"),
        ("Container", "{image: a, health: maybe}"),
        ("Container", "{image: a, mounts: [{volume: v}]}"),
        ("Container", "{image: a, env: {A: {secrt: s, key: k}}}"),
        ("Container", "{image: a, state: gone}"),
        ("Image", "{from: {archve: a}}"),
        ("Image", "{}"),
        ("Volume", "{driver: floppy}"),
        ("Volume", "{owner: {mode: 750}}"),
        ("Secret", "{data: {a/b: c}}"),
        ("Config", "{data: {a: [b]}}"),
        ("Network", "{mtu: big}"),
        ("Nothing", "{}"),
    ],
)
def test_what_is_wrong_does_not_fit_and_does_not_load(kind: str, spec: str) -> None:
    wrong = manifest(kind, spec)
    assert not WHOLE.is_valid(wrong)
    assert load([Text("m.json", json.dumps(wrong).encode())]).failed


@pytest.mark.parametrize(
    "change",
    [{"apiVersion": "v1"}, {"kind": None}, {"metadata": {}}, {"metadata": {"name": "-x"}}, {"status": {}}, {"spec": 1}],
)
def test_the_envelope_is_checked(change: dict[str, Any]) -> None:
    right = manifest("Volume", "{}")
    WHOLE.validate(right)
    assert not WHOLE.is_valid({**right, **change})


def test_one_kind_is_not_another() -> None:
    assert not jsonschema.Draft202012Validator(schema(Kind.IMAGE)).is_valid(manifest("Volume", "{}"))


def test_nothing_is_there_that_is_not_used() -> None:
    assert "ContainerSpec" not in schema(Kind.VOLUME)["$defs"]
    assert "description" in schema(Kind.CONTAINER)["$defs"]["RestartMap"]["properties"]["maxRetries"]


def test_a_kind_of_a_later_version_has_none() -> None:
    with pytest.raises(Unsupported, match="Source is not supported by this version"):
        schema(Kind.SOURCE)
