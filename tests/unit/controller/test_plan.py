"""Plans: every change in graph order, what it does to what runs, and no secret in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.admission.admit import Admission
from controller.cli.text.plan_text import plan_text, summary
from controller.interface import ApplyOptions, Submission
from controller.plan import Change, Plan, Verb, fold, to_json
from controller.sources.orphans import orphans
from controller.store.snapshot import Snapshot
from manifests.interface import Text
from manifests.load import load
from reconcilers.interface import ChangeKind, Diff, FieldChange
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object, Suspension
from tests.unit.controller.making import NOW, admitted, ref, stored, submission

HEAD = "apiVersion: lading/v1\nkind: Container\nmetadata: {name: web}\nspec: "
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
    ports = FieldChange("spec.ports", [{"container": 80}], [{"container": 81}], ChangeKind.HOT)
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
    assert change.fields[:2] == (reported, FieldChange("spec.ports[0]", "80/tcp", "81/tcp", ChangeKind.HOT))
    assert all(field.kind is ChangeKind.HOT for field in change.fields[2:])
    assert change.actions == ("create the task",)


def ports(*written: str) -> dict[str, Any]:
    (located,) = load([Text("m", (HEAD + json.dumps({"image": "nginx", "ports": written})).encode())]).manifests
    return located.manifest.spec.written()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ((), ("127.0.0.1:19080:80",), [("[0]", None, "127.0.0.1:19080:80/tcp")]),
        ((), ("[::1]:5353:53/udp", "80"), [("[0]", None, "[::1]:5353:53/udp"), ("[1]", None, "80/tcp")]),
        (("80",), (), [("[0]", "80/tcp", None)]),
        (("8080:80",), ("8081:80",), [("[0]", "8080:80/tcp", "8081:80/tcp")]),
        (("1:1", "2:2", "3:3"), ("1:1", "3:3"), [("[1]", "2:2/tcp", None)]),
        (("1:1", "3:3"), ("1:1", "2:2", "3:4"), [("[1]", "3:3/tcp", "2:2/tcp"), ("[2]", None, "3:4/tcp")]),
        (("1:1", "2:2"), ("2:2", "1:1"), []),
        ((), ("8000-8009:80-89", "9000:9000"), [("[0]", None, "8000-8009:80-89/tcp"), ("[10]", None, "9000:9000/tcp")]),
        (
            ("8000-8009:80-89",),
            ("8003:83",),
            [("[0]", "8000-8002:80-82/tcp", None), ("[4]", "8004-8009:84-89/tcp", None)],
        ),
        (
            (),
            ("127.0.0.1:1-2:1-2", "127.0.0.2:3:3"),
            [("[0]", None, "127.0.0.1:1-2:1-2/tcp"), ("[2]", None, "127.0.0.2:3:3/tcp")],
        ),
    ],
)
@pytest.mark.parametrize("reported", [False, True])
def test_ports_are_shown_as_people_write_them(
    old: tuple[str, ...], new: tuple[str, ...], told: list[tuple[str, str | None, str | None]], reported: bool
) -> None:
    before = applied(submission("container/web", ports(*old)))
    found = FieldChange("spec.ports", ports(*old)["ports"], ports(*new)["ports"], ChangeKind.HOT)
    diff: Diff[Act] = Diff((), (found,) if reported else (), ChangeKind.HOT)
    change = the_only(planned([submission("container/web", ports(*new))], before, {"container/web": diff}))
    assert [(one.path.removeprefix("spec.ports"), one.old, one.new) for one in change.fields] == told
    assert {one.kind for one in change.fields} <= {ChangeKind.HOT}


def test_networks_are_told_by_their_names() -> None:
    def on(*networks: Any) -> Submission:
        return submission("container/web", {**WEB, "networks": list(networks)})

    net, back, bridge = ({"name": name} for name in ("net", "back", "bridge"))
    declared = applied(submission("network/net"), submission("network/back"))
    before = applied(on(net, back), before=declared)

    def told(*networks: Any) -> list[tuple[str, Any, Any]]:
        return [(one.path, one.old, one.new) for one in the_only(planned([on(*networks)], before)).fields]

    assert told(back, net) == [("spec.networks", "net, back", "back, net")]
    assert told(back) == [("spec.networks[0]", "net", None)]
    assert told(bridge, net, back) == [("spec.networks[0]", None, "bridge")]
    assert told(net, {**back, "aliases": ["x"]}) == [("spec.networks[1].aliases", [], ["x"])]
    assert told(net, back, {**bridge, "aliases": ["x"]})[0][2] == {"name": "bridge", "aliases": ["x"]}
    new = FieldChange("spec.networks[1]", None, on(back).located.manifest.spec.full()["networks"][0], ChangeKind.HOT)
    diff: Diff[Act] = Diff((), (new,), ChangeKind.HOT)
    change = the_only(planned([on(net, back)], applied(on(net), before=declared), {"container/web": diff}))
    assert change.fields == (replace(new, new="back"),)


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
