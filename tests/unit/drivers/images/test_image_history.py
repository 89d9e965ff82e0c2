"""How an image was made, as its config says it: believed by nothing, shown with its sizes."""

import json
from typing import Any

import pytest

from drivers.images.history import steps
from drivers.images.interface import Descriptor
from resources.errors import InvalidArgument

LAYERS = [Descriptor("", f"sha256:{number:064}", number * 10) for number in (1, 2)]


def config(history: Any) -> bytes:
    return json.dumps({"history": history}).encode()


def test_steps_that_changed_files_have_their_layers() -> None:
    made = steps(
        config([{"created_by": "ADD rootfs"}, {"created_by": "ENV A=b", "empty_layer": True}, {"comment": "last"}]),
        LAYERS,
    )
    assert [(step.created_by, step.comment, step.layer) for step in made] == [
        ("ADD rootfs", "", LAYERS[0]),
        ("ENV A=b", "", None),
        ("", "last", LAYERS[1]),
    ]


@pytest.mark.parametrize("history", [None, [], [{"created_by": "ADD rootfs"}]])
def test_layers_that_no_step_speaks_of_are_there_all_the_same(history: Any) -> None:
    assert [step.layer for step in steps(config(history), LAYERS)] == LAYERS


def test_more_steps_than_layers_have_none() -> None:
    assert [step.layer for step in steps(config([{}] * 3), LAYERS)] == [*LAYERS, None]


def test_what_is_no_text_is_none() -> None:
    [step, _] = steps(config([{"created": 1, "created_by": ["x"], "comment": None, "empty_layer": "yes"}]), LAYERS)
    assert (step.created, step.created_by, step.comment, step.layer) == ("", "", "", LAYERS[0])


@pytest.mark.parametrize("history", ["x", {"a": 1}, [1], [[]]])
def test_what_is_no_list_of_steps_is_refused(history: Any) -> None:
    with pytest.raises(InvalidArgument, match="history"):
        steps(config(history), LAYERS)
