"""What is submitted, over what is stored: what is written, what is not, and everything that is wrong with it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.admission.admit import Admission, Refused
from controller.interface import ApplyOptions, Content, Submission
from controller.store.snapshot import Snapshot
from resources import kinds
from resources.object import Suspension
from tests.unit.controller.making import (
    LATER,
    NOW,
    admitted,
    declared,
    made,
    only,
    problems,
    ref,
    snapshot,
    stored,
    submission,
)

IMAGE = {"from": {"registry": "nginx"}}
WEB = {"image": "nginx"}


def applied(*submissions: Submission, before: Snapshot | None = None, **options: Any) -> Snapshot:
    admission = admitted(list(submissions), before, ApplyOptions(**options))
    assert problems(admission) == []
    return stored(admission, before)


def test_a_new_object_has_its_defaults_its_identity_and_who_set_what() -> None:
    item = only(admitted([submission("container/web", {**WEB, "env": {"A": "1"}}, labels={"app": "shop"})]))
    assert item.metadata.resource_version == 0
    assert item.metadata.generation == 1
    assert item.metadata.creation_timestamp == NOW
    assert item.spec.written() == {"image": "nginx", "env": {"A": "1"}}
    assert item.effective.full()["restart"] == {
        "policy": "never",
        "maxRetries": 0,
        "backoff": {"initial": "100ms", "max": "30s"},
    }
    (manager,) = item.metadata.field_managers
    assert manager.name == "cli"
    assert set(manager.fields) == {"spec.image", "spec.env.A", "metadata.labels.app"}


def test_applying_the_same_again_writes_nothing_and_keeps_the_uid() -> None:
    before = applied(submission("container/web", WEB), owner="shop")
    again = admitted([submission("container/web", WEB)], before, ApplyOptions(owner="shop"), now=LATER)
    assert again.written == ()
    assert again.unchanged == (ref("container/web"),)
    changed = only(admitted([submission("container/web", {"image": "redis"})], before, ApplyOptions(owner="shop")))
    assert changed.key == next(iter(before.objects))
    assert changed.metadata.generation == 2
    assert changed.metadata.resource_version == 7


def test_the_generation_counts_changes_of_what_is_meant_and_not_of_how_it_is_said() -> None:
    before = applied(submission("container/web", WEB))
    said = only(admitted([submission("container/web", {**WEB, "restart": {"policy": "never"}})], before))
    assert said.metadata.generation == 1
    labelled = only(admitted([submission("container/web", WEB, labels={"a": "1"})], before))
    assert labelled.metadata.generation == 1


def test_newer_defaults_are_taken_by_applying_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before = applied(submission("container/web", WEB))
    old = before.list()[0]
    stop = old.effective.stop.model_copy(update={"timeout": 5000})
    earlier = old.model_copy(
        update={"effective": old.effective.model_copy(update={"stop": stop}), "defaults_version": 0}
    )
    before = before.replaced([earlier])
    assert only(admitted([submission("container/web", WEB)], before)).defaults_version == kinds.DEFAULTS_VERSION
    other = admitted([submission("container/other", WEB)], before)
    assert other.over(before).find(ref("container/web")) is earlier


def test_managers_take_fields_from_each_other() -> None:
    before = applied(submission("container/web", {**WEB, "user": "1", "tty": True}))
    spec = {"image": "redis", "user": "1"}
    item = only(admitted([submission("container/web", spec)], before, ApplyOptions(manager="api"), now=LATER))
    managers = {one.name: (set(one.fields), one.time) for one in item.metadata.field_managers}
    assert managers == {"cli": ({"spec.tty"}, NOW), "api": ({"spec.image", "spec.user"}, LATER)}
    after = stored(admitted([submission("container/web", spec)], before, ApplyOptions(manager="api")), before)
    last = only(admitted([submission("container/web", WEB)], after, ApplyOptions(owner="shop")))
    assert [one.name for one in last.metadata.field_managers] == ["cli", "api", "apply:shop"]
    assert last.metadata.field_managers[1].fields == ("spec.user",)


def test_an_object_has_one_owner() -> None:
    before = applied(submission("container/web", WEB), owner="shop")
    for owner in ("", "other"):
        found = admitted([submission("container/web", WEB, line=4)], before, ApplyOptions(owner=owner))
        (words,) = problems(found)
        assert words.startswith("m.yaml:17:1: container/web belongs to the owner 'shop'")
        assert "--adopt" in words
        assert found.written == ()
    taken = only(admitted([submission("container/web", WEB)], before, ApplyOptions(owner="other", adopt=True)))
    assert taken.metadata.owner == "other"
    nobodys = applied(submission("container/web", WEB))
    assert (
        only(admitted([submission("container/web", WEB)], nobodys, ApplyOptions(owner="shop"))).metadata.owner == "shop"
    )


def test_prune_deletes_what_the_owner_has_and_the_manifests_lack() -> None:
    before = applied(submission("container/web", WEB), submission("container/old", WEB), owner="shop")
    before = applied(submission("container/free", WEB), before=before)
    options = ApplyOptions(owner="shop", prune=True)
    found = admitted([submission("container/web", WEB)], before, options, now=LATER)
    assert problems(found) == []
    (gone,) = found.deleted
    assert gone.ref == ref("container/old")
    assert gone.metadata.deletion_timestamp == LATER
    assert admitted([submission("container/web", WEB)], stored(found, before), options).deleted == ()
    (words,) = problems(admitted([], before, ApplyOptions(prune=True)))
    assert "needs --owner" in words


def test_prune_refuses_what_others_use_and_names_them() -> None:
    before = applied(submission("volume/v", {}), owner="shop")
    uses = {**WEB, "mounts": [{"volume": "v", "target": "/v"}]}
    before = applied(submission("container/web", uses), before=before)
    options = ApplyOptions(owner="shop", prune=True)
    (words,) = problems(admitted([], before, options))
    assert "volume/v would be deleted, but container/web uses it" in words
    both = applied(submission("container/web", uses), before=before, owner="shop")
    pruned = admitted([], both, options)
    assert problems(pruned) == []
    assert len(declared(pruned.deleted)) == 2


def test_only_one_namespace_is_written_when_that_is_said() -> None:
    before = applied(submission("container/x", WEB, namespace="b"), owner="s")
    options = ApplyOptions(owner="s", prune=True, only_namespace="a")
    found = admitted([submission("container/web", WEB, namespace="a")], before, options)
    assert found.deleted == ()
    (words,) = problems(admitted([submission("container/web", WEB, namespace="b")], before, options))
    assert "only a may be written" in words


def test_references_are_looked_for_here_then_in_the_store_and_in_no_other_namespace() -> None:
    before = applied(submission("secret/stored", {"data": {"a": "1"}}), submission("secret/x", {}, namespace="other"))
    spec = {
        "image": {"name": "img"},
        "env": {"A": {"secret": "stored", "key": "a"}, "B": {"secret": "x", "key": "a"}},
        "dependsOn": [{"container": "dab"}],
    }
    found = admitted(
        [submission("container/web", spec), submission("image/img", IMAGE), submission("container/db", WEB)], before
    )
    missing, misspelt = problems(found)
    assert ": spec.env.B" in missing
    assert missing.endswith(": secret/x is neither in these manifests nor in namespace default")
    assert misspelt.startswith("m.yaml:28:1: spec.dependsOn[0].container: container/dab is neither in these manifests")
    assert misspelt.endswith("; did you mean 'db'?")


def test_a_key_that_is_missing_is_named_with_those_there_are() -> None:
    spec = {**WEB, "env": {"A": {"config": "c", "key": "b"}}, "mounts": [{"secret": "s", "key": "x", "target": "/s"}]}
    found = admitted(
        [
            submission("container/web", spec),
            submission("config/c", {"data": {"z": "", "a": ""}}),
            submission("secret/s", {"generate": {"g": {}}}),
        ]
    )
    assert [words.split(": ", 2)[2] for words in problems(found)] == [
        "config/c has no key 'b'; it has a, z",
        "secret/s has no key 'x'; it has g",
    ]


def test_a_key_that_stored_objects_use_is_not_taken_away() -> None:
    before = applied(
        submission("config/c", {"data": {"a": "", "b": ""}}),
        submission("container/web", {**WEB, "env": {"A": {"config": "c", "key": "a"}}}),
    )
    (words,) = problems(admitted([submission("config/c", {"data": {"b": ""}})], before))
    assert "the key 'a' would be gone, but container/web uses it in spec.env.A" in words
    both = admitted([submission("config/c", {"data": {"b": ""}}), submission("container/web", WEB)], before)
    assert problems(both) == []


def test_what_is_being_deleted_is_neither_applied_nor_referred_to() -> None:
    going = made("volume/v", {}, deletion_timestamp=NOW, resource_version=3)
    before = snapshot(going)
    (words,) = problems(admitted([submission("volume/v", {})], before))
    assert "volume/v is being deleted; apply it again when it is gone" in words
    spec = {**WEB, "mounts": [{"volume": "v", "target": "/v"}]}
    (words,) = problems(admitted([submission("container/web", spec)], before))
    assert "volume/v is being deleted" in words


def test_a_cycle_is_named_with_file_and_line_also_through_the_store() -> None:
    before = applied(submission("container/b", WEB), submission("container/c", WEB))
    before = applied(submission("container/b", {**WEB, "dependsOn": [{"container": "c"}]}), before=before)
    found = admitted(
        [submission("container/c", {**WEB, "dependsOn": [{"container": "b"}]}, file="c.yaml", line=3)], before
    )
    (words,) = problems(found)
    assert words.startswith("c.yaml:30:1: spec.dependsOn[0].container: a cycle of dependencies: ")
    assert "container/c needs container/b (c.yaml:30:1)" in words
    assert "container/b needs container/c (spec.dependsOn[0].container)" in words


def test_every_problem_is_told_at_once_and_refused_changes_nothing() -> None:
    found = admitted(
        [
            submission("container/a", {"image": {"name": "x"}}, file="a.yaml"),
            submission("container/b", {"image": {"name": "y"}}, file="b.yaml"),
        ]
    )
    assert [words[:6] for words in problems(found)] == ["a.yaml", "b.yaml"]
    with pytest.raises(Refused) as refused:
        found.check()
    assert len(refused.value.problems) == 2
    assert not refused.value.retryable
    assert "image/x" in str(refused.value)
    (words,) = problems(admitted([submission("container/a", WEB), submission("container/a", WEB, line=9)]))
    assert "container/a stands already at m.yaml:14:1" in words


def test_a_stop_by_hand_is_kept_until_a_manifest_says_a_state() -> None:
    before = applied(submission("container/web", WEB))
    stopped = Suspension(state="stopped", by="cli", at=NOW)
    before = before.replaced(item.model_copy(update={"suspension": stopped}) for item in before.list())
    assert admitted([submission("container/web", WEB)], before).written == ()
    assert only(admitted([submission("container/web", {"image": "b"})], before)).suspension == stopped
    running = {**WEB, "state": "running"}
    started = admitted([submission("container/web", running)], before)
    assert only(started).suspension is None
    after = stored(started, before)
    again = after.replaced(item.model_copy(update={"suspension": stopped}) for item in after.list())
    assert only(admitted([submission("container/web", running)], again)).suspension is None


def test_large_content_is_remembered_by_its_digest_and_a_new_one_is_a_change() -> None:
    spec = {"from": {"archive": "./web.tar"}}

    def image(digit: str, before: Snapshot | None = None) -> Admission:
        archive = Content("sha256:" + digit * 64, 10)
        return admitted([submission("image/web", spec, contents={"spec.from.archive": archive})], before)

    before = stored(image("a"))
    assert before.list()[0].inputs["spec.from.archive"].digest == "sha256:" + "a" * 64
    assert image("a", before).written == ()
    assert only(image("b", before)).metadata.generation == 2


NAMES = st.sampled_from(["a", "b", "c"])
TEXTS = st.text(max_size=5).filter(lambda text: "\0" not in text)
CONTAINERS = st.fixed_dictionaries(
    {"image": st.sampled_from(["nginx", "redis:7"])},
    optional={
        "env": st.dictionaries(NAMES, TEXTS, max_size=2),
        "command": st.lists(st.sampled_from(["x", "y"]), max_size=2),
        "networks": st.sampled_from([[{"name": "host"}], [{"name": "none"}], [{"name": "bridge", "aliases": ["x"]}]]),
        "stop": st.fixed_dictionaries({}, optional={"timeout": st.sampled_from(["1s", "1m30s"])}),
        "health": st.sampled_from(["none", {"tcp": {"port": 80}}]),
        "resources": st.fixed_dictionaries({}, optional={"memory": st.sampled_from(["64Mi", 1000])}),
        "state": st.sampled_from(["running", "stopped"]),
    },
)
SUBMISSIONS = st.fixed_dictionaries(
    {
        "container": st.dictionaries(NAMES, CONTAINERS, max_size=3),
        "config": st.dictionaries(NAMES, st.builds(lambda d: {"data": d}, st.dictionaries(NAMES, TEXTS)), max_size=2),
        "secret": st.dictionaries(
            NAMES,
            st.builds(lambda d: {"data": d, "generate": {"made": {}}}, st.dictionaries(NAMES, TEXTS, max_size=2)),
            max_size=2,
        ),
    }
).map(
    lambda kinds: [submission(f"{kind}/{name}", spec) for kind, named in kinds.items() for name, spec in named.items()]
)


@settings(max_examples=200, deadline=None)
@given(SUBMISSIONS, SUBMISSIONS)
def test_admitting_twice_changes_nothing_whatever_was_there_before(
    first: list[Submission], second: list[Submission]
) -> None:
    options = ApplyOptions(owner="o", prune=True)
    before = stored(admitted(first, options=options))
    after = stored(admitted(second, before, options), before, version=8)
    again = admitted(second, after, options)
    assert problems(again) == []
    assert again.written == again.deleted == ()
    assert set(again.unchanged) == {one.located.manifest.ref for one in second}
