"""Plans: every change in graph order, what it does to what runs, and no secret in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.admission import Admission
from controller.interface import ApplyOptions, Submission
from controller.orphans import orphans
from controller.plan import Change, Plan, Verb, fold, from_json, to_json
from controller.render import plan_text, summary, visible
from controller.store.snapshot import Snapshot
from reconcilers.interface import ChangeKind, Diff, FieldChange
from resources.errors import InvalidArgument
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object, Suspension
from tests.unit.controller.making import NOW, admitted, ref, stored, submission

WEB = {"image": "nginx"}


@dataclass(frozen=True, slots=True)
class Act:
    words: str

    def describe(self) -> str:
        return self.words


def planned(
    submissions: list[Submission],
    before: Snapshot | None = None,
    diffs: dict[str, Diff[Act]] | None = None,
    **options: Any,
) -> Plan:
    admission: Admission = admitted(submissions, before, ApplyOptions(**options))
    assert admission.problems == ()
    return fold(admission, before or Snapshot(), lambda item, _: (diffs or {}).get(str(item.ref), Diff()), changed=3)


def applied(*submissions: Submission, before: Snapshot | None = None, owner: str = "") -> Snapshot:
    return stored(admitted(list(submissions), before, ApplyOptions(owner=owner)), before)


def the_only(plan: Plan) -> Change:
    (change,) = [change for change in plan.changes if not change.empty and change.note != "implied"]
    return change


def test_what_is_needed_comes_first_and_deletions_last_the_other_way_round() -> None:
    old = [
        submission("volume/old", {}),
        submission("container/old", {**WEB, "mounts": [{"volume": "old", "target": "/v"}]}),
    ]
    new = [
        submission("container/web", {"image": {"name": "i"}, "dependsOn": [{"container": "db"}]}, line=5),
        submission("container/db", {"image": {"name": "i"}}),
        submission("image/i", {"from": {"registry": "i"}}),
    ]
    plan = planned(new, applied(*old, owner="o"), owner="o", prune=True)
    assert [(change.verb, str(change.ref)) for change in plan.changes] == [
        (Verb.CREATE, "image/i"),
        (Verb.CREATE, "container/db"),
        (Verb.CREATE, "container/web"),
        (Verb.DELETE, "container/old"),
        (Verb.DELETE, "volume/old"),
        (Verb.DELETE, "image/docker.io_library_nginx_latest"),
    ]
    assert plan.changes[2].position == "m.yaml:5:1"
    assert plan.revision == 3
    assert plan.changes_desired
    assert not plan.has_drift


def test_the_same_again_is_an_empty_plan() -> None:
    plan = planned([submission("container/web", WEB)], applied(submission("container/web", WEB)))
    assert plan.empty
    assert not plan.changes_desired
    assert plan_text(plan) == "nothing to change\n"


def test_what_the_reconciler_does_not_report_is_hot_and_what_it_does_is_not_told_twice() -> None:
    before = applied(submission("container/web", {**WEB, "ports": [{"container": 80}]}, labels={"a": "1", "b": "1"}))
    reported = FieldChange("spec.image", "nginx", "redis", ChangeKind.RECREATE)
    ports = FieldChange("spec.ports[0]", {"container": 80}, {"container": 81}, ChangeKind.HOT)
    diff = Diff((Act("create the task"),), (reported, ports), ChangeKind.RECREATE)
    after = submission(
        "container/web", {"image": "redis", "tty": True, "ports": [{"container": 81}]}, labels={"a": "2"}
    )
    change = the_only(planned([after], before, {"container/web": diff}))
    assert change.verb is Verb.UPDATE
    assert change.kind is ChangeKind.RECREATE
    assert {(field.path, field.old, field.new) for field in change.fields[2:]} == {
        ("metadata.labels.a", "1", "2"),
        ("metadata.labels.b", "1", None),
        ("spec.tty", False, True),
    }
    assert change.fields[:2] == (reported, ports)
    assert all(field.kind is ChangeKind.HOT for field in change.fields[2:])
    assert change.actions == ("create the task",)


def test_drift_is_no_change() -> None:
    before = applied(submission("container/web", WEB))
    drift = FieldChange("spec.resources.pids", 17, 2048, ChangeKind.HOT, drift=True)
    plan = planned([submission("container/web", WEB)], before, {"container/web": Diff((Act("put back"),), (drift,))})
    assert plan.has_drift
    assert not plan.changes_desired
    assert not plan.empty
    assert the_only(plan).verb is Verb.NONE
    assert summary(plan) == "1 drifted"


def test_secrets_show_only_that_they_change() -> None:
    before = applied(submission("secret/s", {"data": {"same": "same", "password": "hunter2", "gone": "bye"}}))
    after = submission("secret/s", {"data": {"same": "same", "password": "hunter3", "more": "moretext"}})
    plan = planned([after], before)
    assert {(field.path, field.old, field.new) for field in the_only(plan).fields} == {
        ("spec.data.gone", "(sealed)", None),
        ("spec.data.more", None, "(changed)"),
        ("spec.data.password", "(sealed)", "(changed)"),
    }
    shown = json.dumps(to_json(plan)) + plan_text(plan)
    for word in ("hunter", "bye", "moretext"):
        assert word not in shown
    sealed = next(iter(before.objects.values())).effective.entries["password"]
    assert sealed.value not in shown
    assert sealed.digest not in shown


def test_configs_show_short_texts_and_digests_of_the_rest() -> None:
    before = applied(submission("config/c", {"data": {"short": "debug", "long": "x" * 100}}))
    plan = planned([submission("config/c", {"data": {"short": "info", "long": "y\n"}})], before)
    by_path = {field.path: (field.old, field.new) for field in the_only(plan).fields}
    assert by_path["spec.data.short"] == ("debug", "info")
    assert all(str(value).startswith("sha256:") for value in by_path["spec.data.long"])


def test_what_depends_on_a_change_is_looked_at_too() -> None:
    before = applied(
        submission("config/c", {"data": {"a": "1"}}),
        submission("container/web", {**WEB, "env": {"A": {"config": "c", "key": "a"}}}),
        submission("container/next", {**WEB, "networks": [{"container": "web"}]}),
        submission("container/other", WEB),
    )
    looked: list[str] = []

    def look(item: Object, changing: Mapping[Ref, ChangeKind]) -> Diff[Act]:
        looked.append(str(item.ref))
        if item.ref != ref("container/web"):
            return Diff()
        change = FieldChange("spec.env.A", "(changed)", "(changed)", ChangeKind.RECREATE)
        return Diff((Act("again"),), (change,), ChangeKind.RECREATE)

    admission = admitted([submission("config/c", {"data": {"a": "2"}})], before)
    plan = fold(admission, before, look, changed=1)
    assert looked == ["config/c", "container/web", "container/next"]
    assert [(str(change.ref), change.verb, change.kind) for change in plan.changes] == [
        ("config/c", Verb.UPDATE, ChangeKind.HOT),
        ("container/web", Verb.NONE, ChangeKind.RECREATE),
    ]
    assert summary(plan) == "1 to change (hot), 1 to follow (recreate)"


def test_look_gets_the_object_as_it_would_be() -> None:
    before = applied(submission("container/web", WEB), submission("container/old", WEB), owner="o")
    admission = admitted([submission("container/web", {"image": "b"})], before, ApplyOptions(owner="o", prune=True))
    seen: dict[str, Object] = {}

    def look(item: Object, changing: Mapping[Ref, ChangeKind]) -> Diff[Act]:
        seen[item.metadata.name] = item
        return Diff()

    fold(admission, before, look, changed=1)
    assert seen["web"].effective.image == "b"
    assert seen["old"].deleting


def test_a_plan_says_why_it_writes_what_changes_no_field() -> None:
    before = applied(submission("container/web", WEB))
    restart = {**WEB, "restart": {"policy": "never"}}
    change = the_only(planned([submission("container/web", restart)], before))
    assert (change.kind, change.note) == (ChangeKind.NONE, "written differently, with the same meaning")
    item = before.list()[0]
    stop = item.effective.stop.model_copy(update={"timeout": 5000})
    earlier = item.model_copy(
        update={"effective": item.effective.model_copy(update={"stop": stop}), "defaults_version": 0}
    )
    change = the_only(planned([submission("container/web", WEB)], before.replaced([earlier])))
    assert change.note == "takes the defaults of this version"
    assert [(field.path, field.old, field.new) for field in change.fields] == [("spec.stop.timeout", "5s", "10s")]


def test_a_stop_by_hand_that_ends_is_a_change() -> None:
    before = applied(submission("container/web", {**WEB, "state": "running"}))
    stopped = Suspension(state="stopped", by="cli", at=NOW)
    before = before.replaced(item.model_copy(update={"suspension": stopped}) for item in before.list())
    change = the_only(planned([submission("container/web", {**WEB, "state": "running"})], before))
    assert [(field.path, field.old, field.new) for field in change.fields] == [("suspension", "stopped by cli", None)]


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


SPECS = st.fixed_dictionaries(
    {"image": st.sampled_from(["a", "b"])},
    optional={"tty": st.booleans(), "env": st.dictionaries(st.sampled_from("AB"), st.sampled_from(["1", "2"]))},
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), SPECS), st.dictionaries(st.sampled_from("abc"), SPECS))
def test_the_plan_after_an_apply_of_the_same_is_empty(first: dict[str, Any], second: dict[str, Any]) -> None:
    def submitted(specs: dict[str, Any]) -> list[Submission]:
        return [submission(f"container/{name}", spec) for name, spec in specs.items()]

    before = applied(*submitted(first), owner="o")
    plan = planned(submitted(second), before, owner="o", prune=True)
    assert plan.changes_desired == (first != second) or not plan.empty
    after = stored(admitted(submitted(second), before, ApplyOptions(owner="o", prune=True)), before)
    after = after.replaced([], [item.key for item in after.list() if item.deleting])
    assert planned(submitted(second), after, owner="o", prune=True).empty


def test_orphans_are_what_is_held_and_not_asked_for() -> None:
    keys = [Key(kind=Kind.CONTAINER, uid=uid) for uid in "cab"]
    volume = Key(kind=Kind.VOLUME, uid="a")
    assert orphans([*keys, volume], [keys[0]]) == (keys[1], keys[2], volume)
    assert orphans([], keys) == ()


def test_changes_are_values() -> None:
    change = Change(ref("container/web"), Verb.NONE)
    assert change.empty
    assert not replace(change, verb=Verb.CREATE).empty
