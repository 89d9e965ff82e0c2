"""The models by themselves: what they refuse, that they refuse nothing of what they have written, paths of fields."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from resources import paths
from resources.container import ContainerSpec
from resources.kinds import SUPPORTED, Kind
from resources.meta import Checked
from resources.object import SPECS


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"networks": [{"name": "host"}, {"name": "a"}]}, "networks\\[0\\]: host, none"),
        ({"networks": [{"name": "host"}], "ports": [{"container": 80}]}, "ports: on the host's network"),
        (
            {"mounts": [{"volume": "v", "target": "/a"}, {"tmpfs": {}, "target": "/a/"}]},
            "mounts\\[1\\]: the target /a stands twice",
        ),
        (
            {"ports": [{"container": 80, "host": 80}, {"container": 81, "host": 80}]},
            "the host's port 80/tcp stands twice",
        ),
        ({"pid": "container:../x"}, "a name is"),
        ({"pid": "shared"}, "is one of private, host and container:NAME"),
        ({"env": {"A": {"secret": "s", "config": "c", "key": "k"}}}, "say exactly one of secret and config"),
    ],
)
def test_conflicts_are_refused_by_the_models_too(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ContainerSpec.parse({"image": "a", **fields})


def test_the_same_port_at_two_addresses_is_two() -> None:
    ports = [{"container": 80, "host": 80, "address": "127.0.0.1"}, {"container": 80, "host": 80, "address": "::1"}]
    assert len(ContainerSpec.parse({"image": "a", "ports": ports}).ports) == 2


@pytest.mark.parametrize("kind", SUPPORTED)
def test_conflicts_of_a_spec_hold_for_any_part_of_it(kind: Kind) -> None:
    spec = SPECS[kind].model_construct()
    assert not isinstance(spec, Checked) or list(spec.conflicts()) == []


def test_what_is_written_parses_to_the_same() -> None:
    data = {
        "image": {"name": "web"},
        "user": "101:101",
        "mounts": [{"secret": "s", "target": "/s", "mode": "0400"}, {"tmpfs": {"size": "64Mi"}, "target": "/t"}],
        "networks": [{"name": "none"}],
        "resources": {"memory": "512Mi", "cpus": 1.5},
        "stop": {"signal": "SIGTERM", "timeout": "1m30s"},
    }
    spec = ContainerSpec.parse(data)
    assert spec.written() == data
    assert ContainerSpec.parse(spec.full()).full() == spec.full()


@given(st.lists(st.integers(0, 999) | st.text(min_size=0, max_size=8), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_paths_come_apart_as_they_were_joined(steps: list[str | int]) -> None:
    assert list(paths.split(paths.joined(steps))) == steps


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        (["spec", "mounts", 0, "target"], "spec.mounts[0].target"),
        (["spec", "files", "site.conf"], 'spec.files["site.conf"]'),
        (["a/b"], "a/b"),
        (["x", 'a"b\n'], 'x["a\\"b\\n"]'),
    ],
)
def test_paths(steps: list[str | int], path: str) -> None:
    assert paths.joined(steps) == path
