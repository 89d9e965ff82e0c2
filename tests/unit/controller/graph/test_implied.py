"""What nobody declared and containers need: made with the first user, gone with the last, taken over by whoever declares it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.admission.admit import Admission
from controller.graph import dependencies
from controller.graph.blockers import blockers
from controller.graph.implied import as_used, image_object_name
from controller.graph.users import Users
from controller.interface import ApplyOptions, Submission
from controller.store.snapshot import Snapshot
from resources.image_reference import normalize
from resources.kinds import Kind
from resources.meta import NAME, Condition, Status
from resources.object import Object
from tests.unit.controller.making import LATER, NOW, admitted, made, ref, snapshot, stored, submission

BRIDGE, NGINX = ref("network/bridge"), ref("image/docker.io_library_nginx_1.27")
WEB = {"image": "nginx:1.27"}
OWNED = ApplyOptions(owner="shop", prune=True)


def apply(*submissions: Submission, before: Snapshot | None = None, options: ApplyOptions | None = None) -> Snapshot:
    """As the store has it in the end: what is deleted is gone."""
    admission = admitted(list(submissions), before, options)
    assert admission.problems == ()
    after = stored(admission, before)
    return after.replaced([], [item.key for item in after.list() if item.deleting])


def told(items: Sequence[Object]) -> list[str]:
    return [str(item.ref) for item in items]


def find(snapshot: Snapshot, text: str, namespace: str = "default") -> Object:
    found = snapshot.find(ref(text, namespace))
    assert found is not None
    return found


def deleting(before: Snapshot, *items: Object) -> Snapshot:
    marks = {"deletion_timestamp": NOW, "delete_data": True}
    return before.replaced(
        item.model_copy(update={"metadata": item.metadata.model_copy(update=marks)}) for item in items
    )


def test_a_container_brings_its_network_and_its_image() -> None:
    admission = admitted([submission("container/web", WEB, line=3)])
    assert told(admission.written) == ["container/web", str(BRIDGE), str(NGINX)]
    assert admission.created == (ref("container/web"), BRIDGE, NGINX)
    _, network, image = admission.written
    for item in (network, image):
        meta = item.metadata
        assert (meta.implied, meta.owner, meta.field_managers, meta.namespace) == (True, "", (), "default")
        assert meta.uid not in {other.metadata.uid for other in admission.written if other is not item}
    assert network.effective.driver == "bridge"
    assert network.spec.written() == {}
    assert image.spec.written() == {"from": {"registry": "docker.io/library/nginx:1.27"}}
    assert image.effective.pull == "missing"
    places = {item: str(position) for item, position in admission.positions.items()}
    assert places[NGINX] == f"m.yaml:{3 + len('spec.image')}:1"
    assert places[BRIDGE] == f"m.yaml:{3 + len('spec.networks[0].name')}:1"
    edges = {edge.dependency for edge in dependencies.edges(admission.written)}
    assert edges == {BRIDGE, NGINX}


def test_nothing_comes_with_what_needs_nothing() -> None:
    for spec in (
        {"networks": [{"name": "host"}]},
        {"networks": [{"name": "none"}]},
        {"networks": [{"container": "x"}]},
    ):
        admission = admitted(
            [
                submission("container/web", {"image": {"name": "i"}, **spec}),
                submission("container/x", {"image": {"name": "i"}, "networks": [{"name": "none"}]}),
                submission("image/i", {"from": {"registry": "nginx:1.27"}}),
            ]
        )
        assert admission.problems == ()
        assert not [item for item in admission.written if item.metadata.implied]


@pytest.mark.parametrize("source", [{"registry": "nginx:1.27"}, {"registry": "docker.io/library/nginx:1.27"}])
def test_an_image_that_has_the_reference_is_meant(source: dict[str, str]) -> None:
    for spec in ({"from": source}, {"from": {"archive": "a.tar"}, "tags": ["nginx:1.27"]}):
        admission = admitted([submission("container/web", WEB), submission("image/mine", spec)])
        assert told(admission.written) == ["container/web", "image/mine", str(BRIDGE)]


def test_they_are_shared_in_a_namespace_and_not_over_namespaces() -> None:
    before = apply(submission("container/web", WEB))
    again = admitted([submission("container/other", WEB)], before)
    assert told(again.written) == ["container/other"]
    elsewhere = admitted([submission("container/web", WEB, namespace="b")], before)
    assert [(str(item.ref), item.metadata.namespace) for item in elsewhere.written if item.metadata.implied] == [
        (str(BRIDGE), "b"),
        (str(NGINX), "b"),
    ]


def test_applying_the_same_again_writes_nothing() -> None:
    before = apply(submission("container/web", WEB), options=OWNED)
    again = admitted([submission("container/web", WEB)], before, OWNED)
    assert (again.written, again.deleted) == ((), ())


def test_they_go_with_their_last_user() -> None:
    before = apply(submission("container/web", WEB), submission("container/db", WEB), options=OWNED)
    one = admitted([submission("container/web", WEB)], before, OWNED, now=LATER)
    assert told(one.deleted) == ["container/db"]
    none = admitted([], before, OWNED, now=LATER)
    assert sorted(told(none.deleted)) == ["container/db", "container/web", str(NGINX), str(BRIDGE)]
    assert {item.metadata.deletion_timestamp for item in none.deleted} == {LATER}
    other = admitted([submission("container/web", {"image": "redis"}), submission("container/db", WEB)], before, OWNED)
    assert told(other.written) == ["container/web", "image/docker.io_library_redis_latest"]
    assert other.deleted == ()


def test_prune_is_for_what_has_an_owner() -> None:
    before = apply(submission("container/web", WEB))
    assert admitted([], before, OWNED).deleted == ()
    assert admitted([], before, ApplyOptions(owner="", adopt=True)).deleted == ()


def test_what_is_being_deleted_and_is_needed_again_stays() -> None:
    before = apply(submission("container/web", WEB))
    going = deleting(before, find(before, "container/web"), find(before, str(BRIDGE)), find(before, str(NGINX)))
    admission = admitted([submission("container/db", WEB)], going)
    assert admission.problems == ()
    assert told(admission.written) == ["container/db", str(BRIDGE), str(NGINX)]
    for item in admission.written[1:]:
        assert item.key == find(before, str(item.ref)).key
        assert not item.deleting
        assert not item.metadata.delete_data
        assert (item.metadata.generation, item.metadata.resource_version) == (1, 7)


def test_a_network_of_ones_own_that_is_being_deleted_is_implied_from_then_on() -> None:
    before = apply(submission("network/bridge", {"internal": True}, labels={"a": "b"}), options=OWNED)
    going = deleting(before, find(before, "network/bridge"))
    admission = admitted([submission("container/web", WEB)], going)
    assert admission.problems == ()
    (bridge,) = [item for item in admission.written if item.ref == BRIDGE]
    assert bridge.key == find(before, "network/bridge").key
    meta = bridge.metadata
    assert (meta.implied, meta.owner, meta.labels, meta.generation) == (True, "", {}, 2)
    assert not bridge.effective.internal


def test_a_declaration_that_is_taken_back_leaves_what_is_implied() -> None:
    web = submission("container/web", WEB)
    declared = (
        submission("network/bridge", {"internal": True}),
        submission("image/mine", {"from": {"registry": "nginx:1.27"}}),
    )
    before = apply(web, *declared, options=OWNED)
    admission = admitted([web], before, OWNED)
    assert admission.problems == ()
    assert told(admission.deleted) == ["image/mine"]
    assert told(admission.written) == [str(BRIDGE), str(NGINX)]
    after = apply(web, before=before, options=OWNED)
    alone = apply(web, options=OWNED)
    assert [(str(i.ref), i.effective, i.metadata.implied) for i in after.list()] == [
        (str(i.ref), i.effective, i.metadata.implied) for i in alone.list()
    ]


def test_whoever_declares_it_takes_it_over() -> None:
    before = apply(submission("container/web", WEB))
    spec = {"from": {"registry": "docker.io/library/nginx:1.27"}}
    admission = admitted(
        [submission("network/bridge", {"internal": True}), submission(str(NGINX), spec)],
        before,
        ApplyOptions(owner="me"),
    )
    assert admission.problems == ()
    for item in admission.written:
        old = find(before, str(item.ref))
        assert (item.key, item.metadata.implied, item.metadata.owner) == (old.key, False, "me")
    network, image = admission.written
    assert (network.metadata.generation, image.metadata.generation) == (2, 1)
    assert image.metadata.field_managers[0].name == "apply:me"
    going = deleting(before, find(before, str(BRIDGE)))
    taken = admitted([submission("network/bridge", {})], going)
    assert taken.problems == ()
    assert not taken.written[0].deleting


def test_an_image_declared_later_wins_and_the_implied_one_goes() -> None:
    before = apply(submission("container/web", WEB))
    mine = submission("image/zzz", {"from": {"archive": "a.tar"}, "tags": ["nginx:1.27"]})
    admission = admitted([mine], before)
    assert admission.problems == ()
    assert told(admission.deleted) == [str(NGINX)]
    after = admission.over(before)
    assert dependencies.needs(find(after, "container/web"), after)[0].target == ref("image/zzz")
    back = admitted([submission("image/zzz", {"from": {"archive": "a.tar"}})], stored(admission, before))
    assert told(back.written) == ["image/zzz", str(NGINX)]


def test_a_name_that_is_anothers_is_told_apart() -> None:
    taken = submission(str(NGINX), {"from": {"archive": "a.tar"}})
    admission = admitted([taken, submission("container/web", WEB)])
    assert admission.problems == ()
    (image,) = [item for item in admission.written if item.kind is Kind.IMAGE and item.metadata.implied]
    assert image.metadata.name == image_object_name("docker.io/library/nginx:1.27", hashed=True)
    assert image.metadata.name.startswith(f"{NGINX.name}-")
    both = admitted(
        [
            taken,
            submission(f"image/{image.metadata.name}", {"from": {"archive": "a.tar"}}),
            submission("container/web", WEB, line=5),
        ]
    )
    (problem,) = both.problems
    assert str(problem) == (
        f"m.yaml:{5 + len('spec.image')}:1: spec.image: no Image of the namespace has docker.io/library/nginx:1.27, "
        "and none can be named after it"
    )


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("nginx", "docker.io_library_nginx_latest"),
        ("localhost:5000/a/b__c:x", "localhost_5000_a_b__c_x"),
        ("[::1]:5000/x", "1__5000_x_latest"),
    ],
)
def test_names_are_made_of_the_reference(reference: str, name: str) -> None:
    assert image_object_name(normalize(reference)) == name


PARTS = st.text("abz019-_./:", min_size=1, max_size=30)


@given(PARTS, st.integers(0, 8), st.booleans())
def test_every_name_is_one_and_long_ones_are_told_apart(part: str, times: int, hashed: bool) -> None:
    reference = f"docker.io/{part * times}x"
    name = image_object_name(reference, hashed=hashed)
    assert NAME.fullmatch(name)
    if len(reference) > 128:
        assert name != image_object_name(reference + "y", hashed=hashed)


def test_a_user_that_is_going_itself_leaves_it_as_it_is() -> None:
    before = apply(submission("container/web", WEB))
    bridge, web = find(before, str(BRIDGE)), find(before, "container/web")
    assert as_used(bridge, before, LATER) is bridge
    ending = deleting(before, web)
    assert as_used(bridge, ending, LATER) is bridge
    both = deleting(before, web, bridge)
    going = find(both, str(BRIDGE))
    assert as_used(going, both, LATER) is going
    again = as_used(going, deleting(before, bridge), LATER)
    assert not again.deleting
    assert not again.metadata.delete_data
    gone = before.replaced([], [web.key])
    assert as_used(bridge, gone, LATER).metadata.deletion_timestamp == LATER
    image = find(before, str(NGINX))
    declared = before.replaced([made("image/mine", {"from": {"registry": "nginx:1.27"}})])
    assert as_used(image, declared, LATER).deleting


def test_users_of_an_image_are_those_that_mean_it() -> None:
    before = apply(submission("container/web", WEB))
    web, own = find(before, "container/web"), find(before, str(NGINX))
    users = Users(before.objects.values())
    assert users.of(NGINX) == (web.key,)
    mine = made("image/mine", {"from": {"registry": "nginx:1.27"}})
    assert users.update(mine) == {NGINX, mine.ref}
    assert (users.of(NGINX), users.used(NGINX), users.of(mine.ref)) == ((), False, (web.key,))
    users.update(find(deleting(snapshot(mine), mine), "image/mine"))
    assert users.of(NGINX) == (web.key,), "what is going is not meant any more"
    assert users.forget(mine.key) >= {NGINX}
    assert users.update(web.model_copy(update={"effective": made("container/web", {"image": "x"}).effective})) == {
        NGINX,
        BRIDGE,
    }
    assert not users.used(BRIDGE)
    assert users.forget(own.key) == frozenset()


def test_why_an_implied_image_is_not_there_is_told_where_it_is_used() -> None:
    before = apply(submission("container/web", {**WEB, "networks": [{"name": "none"}]}))
    web, image = find(before, "container/web"), find(before, str(NGINX))
    condition = Condition(
        type="Ready", status="False", reason="NotFound", message="no such tag", last_transition_time=NOW
    )
    told = f"{NGINX} is not ready: no such tag"
    for phase, words in (("Failed", told), ("Retrying", told), ("Pulling", f"{NGINX} is not ready")):
        status = Status(phase=phase, observed_generation=1, conditions=(condition,))
        targets = dependencies.targets(web, before)
        assert blockers(web, targets, (), {image.key: status}.get) == (words,)
    kept = Status(
        phase="Failed",
        observed_generation=1,
        conditions=(condition, condition.model_copy(update={"type": "Available", "status": "True"})),
    )
    assert blockers(web, dependencies.targets(web, before), (), {image.key: kept}.get) == ()


CONTAINERS = st.dictionaries(
    st.sampled_from("abc"),
    st.fixed_dictionaries(
        {
            "image": st.sampled_from(
                ["x", "docker.io/library/x:latest", "y", "docker.io_library_x:latest", {"name": "own"}]
            )
        },
        optional={"networks": st.sampled_from([[{"name": "none"}], [{"name": "bridge"}]])},
    ),
)
DECLARED = st.fixed_dictionaries(
    {},
    optional={
        "network/bridge": st.sampled_from([{}, {"internal": True}]),
        "image/mine": st.sampled_from([{"from": {"registry": "x"}}, {"from": {"archive": "a"}, "tags": ["y:latest"]}]),
        "image/docker.io_library_x_latest": st.just({"from": {"archive": "a"}}),
    },
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(CONTAINERS, DECLARED, st.sampled_from(["gone", "going"])), min_size=2, max_size=4))
def test_what_is_there_in_the_end_is_decided_by_what_is_declared_in_the_end(steps: list[Any]) -> None:
    def submitted(containers: dict[str, Any], declared: dict[str, Any]) -> list[Submission]:
        own = {"image/own": {"from": {"archive": "own"}}}
        return [
            *(submission(f"container/{name}", spec) for name, spec in containers.items()),
            *(submission(text, spec) for text, spec in {**own, **declared}.items()),
        ]

    def meant(found: Snapshot) -> dict[str, Any]:
        """What each container uses, whatever it is called."""
        answer: dict[str, Any] = {}
        for item in found.list():
            if item.deleting:
                continue
            targets = [found.find(need.target) for need in dependencies.needs(item, found)]
            assert None not in targets
            assert not any(target.deleting for target in targets if target)
            answer[str(item.ref) if not item.metadata.implied else f"{item.kind} {item.effective}"] = (
                item.effective,
                [target.effective for target in targets if target],
            )
        return answer

    before = Snapshot()
    for containers, declared, how in steps:
        admission: Admission = admitted(submitted(containers, declared), before, OWNED)
        if admission.problems:
            # What was declared and is going keeps its name for a while.
            assert all("is being deleted" in str(problem) for problem in admission.problems)
            return
        again = admitted(
            submitted(containers, declared), stored(admission, before), OWNED, now=NOW + timedelta(hours=1)
        )
        assert (again.written, again.deleted, again.problems) == ((), (), ())
        before = stored(admission, before)
        if how == "gone":
            before = before.replaced([], [item.key for item in before.list() if item.deleting])
    assert meant(before) == meant(stored(admitted(submitted(*steps[-1][:2]), None, OWNED)))
