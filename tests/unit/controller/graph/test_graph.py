"""Order, cycles, and what has to wait for what."""

import threading
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.graph import dependencies, order
from controller.graph.blockers import blockers
from controller.graph.users import Users
from resources.errors import InvalidArgument
from resources.meta import Key, Ref, Status
from resources.object import Object
from tests.unit.controller.making import NOW, made, ref, snapshot, status


def web(**spec: object) -> Object:
    return made("container/web", {"image": "nginx", **spec})


def blocked(item: Object, *others: Object, statuses: Mapping[Key, Status] | None = None) -> tuple[str, ...]:
    everything = snapshot(item, *others)
    users = Users(everything.objects.values())
    using = [everything.objects[key] for key in users.of(item.ref)]
    return blockers(item, dependencies.targets(item, everything), using, (statuses or {}).get)


def deleting(item: Object) -> Object:
    return item.model_copy(update={"metadata": item.metadata.model_copy(update={"deletion_timestamp": NOW})})


DB = made("container/db", {"image": "postgres"})
CONDITIONS = {
    "started": ("Started", "container/db has not started"),
    "healthy": ("Healthy", "container/db is not healthy"),
    "completed": ("Completed", "container/db has not completed"),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_dependency_blocks_until_its_condition_holds(condition: str) -> None:
    item = web(dependsOn=[{"container": "db", "condition": condition}])
    type, words = CONDITIONS[condition]
    assert blocked(item, DB) == (words,)
    assert blocked(item, DB, statuses={DB.key: status("!" + type, "Ready")}) == (words,)
    assert blocked(item, DB, statuses={DB.key: status(type)}) == ()


def test_a_status_of_an_earlier_generation_says_nothing() -> None:
    item = web(dependsOn=[{"container": "db"}])
    changed = DB.model_copy(update={"metadata": DB.metadata.model_copy(update={"generation": 2})})
    assert blocked(item, changed, statuses={DB.key: status("Started")}) == ("container/db has not started",)
    assert blocked(item, changed, statuses={DB.key: status("Started", generation=2)}) == ()


def test_what_is_missing_not_ready_or_going_is_named_once_and_in_order() -> None:
    config = made("config/c", {"data": {"a": "1"}})
    going = deleting(made("volume/v", {}))
    item = web(
        env={"A": {"secret": "s", "key": "a"}, "B": {"secret": "s", "key": "b"}, "C": {"config": "c", "key": "x"}},
        mounts=[{"volume": "v", "target": "/v"}, {"image": {"name": "i"}, "target": "/i"}],
    )
    image = made("image/i", {"from": {"registry": "i"}})
    assert blocked(item, config, going, image) == (
        "secret/s does not exist",
        "config/c has no key 'x'",
        "volume/v is being deleted",
        "image/i is not ready",
    )


@pytest.mark.parametrize(
    ("given", "tag"),
    [("web", "web:latest"), ("shop/web:1", "docker.io/shop/web:1"), ("nginx", "docker.io/library/nginx:latest")],
)
def test_a_reference_to_an_image_means_the_image_of_the_namespace_with_that_tag(given: str, tag: str) -> None:
    item = made("container/web", {"image": given})
    image = made("image/built", {"from": {"archive": "a.tar"}, "tags": [tag]})
    elsewhere = made("image/built", {"from": {"archive": "a.tar"}, "tags": [tag]}, namespace="other")
    assert blocked(item, image) == ("image/built is not ready",)
    assert blocked(item, elsewhere) == ()
    assert blocked(item, image, statuses={image.key: status("Ready")}) == ()
    assert dependencies.edges([item, image]) == (dependencies.Edge(item.ref, image.ref, "ready", "spec.image"),)
    users = Users([item, image])
    assert users.of(image.ref) == (item.key,)
    assert users.of(elsewhere.ref) == ()


def test_what_is_still_used_is_not_deleted() -> None:
    config = deleting(made("config/c", {"data": {"a": "1"}}))
    item = web(env={"A": {"config": "c", "key": "a"}}, dependsOn=[{"container": "db"}])
    assert blocked(config, item) == ("container/web still uses it",)
    assert blocked(deleting(item), config) == ()
    assert blocked(deleting(DB), item, config) == ("container/web still uses it",)


def test_users_follow_changes_renames_and_ends() -> None:
    image = made("image/i", {"from": {"archive": "a"}, "tags": ["x:1"]})
    item = made("container/web", {"image": "x:1", "mounts": [{"volume": "v", "target": "/v"}]})
    users = Users([image, item])
    assert users.of(ref("volume/v")) == (item.key,)
    other = made("image/i", {"from": {"archive": "a"}, "tags": ["y:1"]})
    users.update(image.model_copy(update={"effective": other.effective}))
    assert users.of(image.ref) == ()
    users.update(image)
    renamed = image.model_copy(update={"metadata": image.metadata.model_copy(update={"name": "j"})})
    users.update(renamed)
    assert users.of(renamed.ref) == (item.key,)
    assert users.of(image.ref) == ()
    users.update(item.model_copy(update={"effective": web().effective}))
    assert users.of(ref("volume/v")) == users.of(renamed.ref) == ()
    users.forget(item.key)
    users.forget(item.key)


def test_users_can_be_asked_while_they_change() -> None:
    items = [made(f"container/c{n}", {"image": "i", "dependsOn": [{"container": "db"}]}) for n in range(50)]
    users = Users()
    problems: list[Exception] = []

    def change() -> None:
        try:
            for _ in range(20):
                for item in items:
                    users.update(item)
                    users.of(DB.ref)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(users.of(DB.ref)) == 50


def test_layers_bring_what_is_needed_first_and_independent_things_together() -> None:
    volume, image = made("volume/v", {}), made("image/i", {"from": {"registry": "i"}})
    first = made("container/a", {"image": {"name": "i"}, "mounts": [{"volume": "v", "target": "/v"}]})
    second = made("container/b", {"image": {"name": "i"}, "dependsOn": [{"container": "a"}]})
    items = [second, first, image, volume]
    found = order.layers([item.ref for item in items], dependencies.edges(items))
    assert [[str(one) for one in layer] for layer in found] == [
        ["image/i", "volume/v"],
        ["container/a"],
        ["container/b"],
    ]


def test_a_cycle_is_named_with_the_fields_that_make_it() -> None:
    items = [
        made("container/a", {"image": "i", "dependsOn": [{"container": "b"}]}),
        made("container/b", {"image": "i", "networks": [{"container": "c"}]}),
        made("container/c", {"image": "i", "pid": "container:a"}),
        made("container/d", {"image": "i", "dependsOn": [{"container": "a"}]}),
    ]
    edges = dependencies.edges(items)
    (cycle,) = order.cycles(edges)
    words = order.cycle_words(cycle)
    for part in (
        "container/a needs container/b (spec.dependsOn[0].container)",
        "container/b needs container/c (spec.networks[0].container)",
        "container/c needs container/a (spec.pid)",
    ):
        assert part in words
    assert [edge.dependency for edge in cycle] == [edge.dependent for edge in (*cycle[1:], cycle[0])]
    with pytest.raises(InvalidArgument, match="a cycle of dependencies: container/"):
        order.layers([item.ref for item in items], edges)


def test_an_object_that_needs_itself_is_a_cycle_and_never_its_own_blocker() -> None:
    item = made("container/a", {"image": "i", "pid": "container:a"})
    assert [edge.dependent for (edge,) in order.cycles(dependencies.edges([item]))] == [item.ref]
    assert blocked(item) == ()
    assert blocked(deleting(item)) == ()


NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(NAMES, st.sets(NAMES), max_size=6), st.booleans())
def test_order_respects_every_edge_and_nothing_blocks_itself(needs: dict[str, set[str]], going: bool) -> None:
    items = [
        made(f"container/{name}", {"image": "i", "dependsOn": [{"container": other} for other in sorted(others)]})
        for name, others in needs.items()
    ]
    items = [deleting(item) if going else item for item in items]
    edges = dependencies.edges(items)
    refs = [item.ref for item in items]
    cyclic = order.cycles([edge for edge in edges if edge.dependency in refs])
    try:
        place: dict[Ref, int] = {one: number for number, layer in enumerate(order.layers(refs, edges)) for one in layer}
    except InvalidArgument:
        assert cyclic
    else:
        assert not cyclic
        assert set(place) == set(refs)
        for edge in edges:
            if edge.dependency in place:
                assert place[edge.dependency] < place[edge.dependent]
    for item in items:
        assert not any(
            words.startswith(f"{item.ref} ") for words in blocked(item, *(o for o in items if o is not item))
        )
