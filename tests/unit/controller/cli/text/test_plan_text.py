"""What a plan says: to people, and as JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cli.text.plan_text import plan_text, visible
from controller.plan import Change, Plan, Verb, from_json, to_json
from reconcilers.interface import ChangeKind, FieldChange
from resources.errors import InvalidArgument
from tests.unit.controller.making import ref

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.lists(st.text(max_size=4), max_size=2)
)
FIELDS = st.builds(FieldChange, st.text(max_size=10), VALUES, VALUES, st.sampled_from(ChangeKind), st.booleans())
CHANGES = st.builds(
    Change,
    st.sampled_from([ref("container/web"), ref("volume/v", "other")]),
    st.sampled_from(Verb),
    st.sampled_from(ChangeKind),
    st.lists(FIELDS, max_size=3).map(tuple),
    st.lists(st.text(max_size=8), max_size=2).map(tuple),
    st.text(max_size=8),
    st.text(max_size=8),
    st.text(max_size=8),
)
PLANS = st.builds(Plan, st.integers(0, 9), st.lists(CHANGES, max_size=4).map(tuple))


@given(PLANS)
def test_a_plan_comes_back_from_its_json_form(plan: Plan) -> None:
    assert from_json(json.loads(json.dumps(to_json(plan)))) == plan


@pytest.mark.parametrize(
    "damage",
    [
        None,
        [],
        {},
        {"format": 2},
        {"format": 1, "revision": 1, "changes": [{}]},
        {"format": 1, "revision": "x", "changes": []},
    ],
)
def test_what_is_no_plan_is_refused(damage: Any) -> None:
    with pytest.raises(InvalidArgument):
        from_json(damage)


@given(PLANS, st.integers(1, 60), st.booleans())
def test_no_character_of_a_user_reaches_the_terminal_as_a_command(plan: Plan, width: int, actions: bool) -> None:
    for line in plan_text(plan, actions=actions).split("\n"):
        assert line.isprintable()
    for line in plan_text(plan, width=width).split("\n")[:-2]:
        assert len(line) <= width
    assert plan_text(plan, color=True).replace("\x1b", "").replace("\n", "").isprintable()
    assert (plan_text(plan) == "nothing to change\n") == plan.empty


def test_a_plan_reads_like_this() -> None:
    def field(path: str, old: Any, new: Any, kind: ChangeKind, drift: bool = False) -> FieldChange:
        return FieldChange(path, old, new, kind, drift)

    web = Change(
        ref("container/web"),
        Verb.UPDATE,
        ChangeKind.RECREATE,
        (
            field("spec.image", "nginx:1.26", "nginx:1.27", ChangeKind.RECREATE),
            field("metadata.labels.app", None, "\x1b[2J‮", ChangeKind.HOT),
            field("spec.ports", [], [{"container": 80}], ChangeKind.HOT),
        ),
        ("stop the task",),
        position="shop.yaml:12:1",
    )
    plan = Plan(
        1,
        (
            Change(ref("secret/tls"), Verb.CREATE, actions=("write the secret",)),
            Change(ref("volume/same"), Verb.NONE),
            web,
            Change(ref("container/db", "shop"), Verb.UPDATE, ChangeKind.HOT, waiting="image/db is not ready"),
            Change(
                ref("container/x"),
                Verb.NONE,
                ChangeKind.HOT,
                (field("spec.resources.pids", 17, 2048, ChangeKind.HOT, True),),
            ),
            Change(ref("container/y"), Verb.NONE, ChangeKind.HOT, (field("spec.env.A", "(x)", "(x)", ChangeKind.HOT),)),
            Change(ref("volume/v"), Verb.DELETE, ChangeKind.DATA_LOSS, actions=("delete the data",)),
        ),
    )
    assert plan_text(plan) == (
        "+ secret/tls\n"
        "    · write the secret\n"
        "± container/web   recreate   shop.yaml:12:1\n"
        "    spec.image: nginx:1.26 → nginx:1.27\n"
        "    metadata.labels.app: (none) → \\x1b[2J\\u202e  (hot)\n"
        '    spec.ports: [] → [{"container": 80}]  (hot)\n'
        "~ container/db in shop   hot\n"
        "    waits: image/db is not ready\n"
        "! container/x   hot\n"
        "    spec.resources.pids: 17 → 2048  (drift)\n"
        "~ container/y   hot\n"
        "    spec.env.A: (x)\n"
        "- volume/v   data-loss\n"
        "    · delete the data\n"
        "\n"
        "1 to create, 1 to change (hot), 1 to change (recreate), 1 to follow (hot), 1 to delete, 1 drifted\n"
    )
    assert "    · stop the task\n" in plan_text(plan, actions=True)
    assert plan_text(plan, color=True).startswith("\x1b[32m+ secret/tls\x1b[0m\n")
    assert visible("a\tb\n") == "a\\tb\\n"
