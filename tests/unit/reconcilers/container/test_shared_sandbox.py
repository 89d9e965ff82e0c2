"""A container in the sandbox of another."""

from typing import Any

import pytest

from reconcilers.interface import ChangeKind, Context, Diff
from resources.object import Object
from tests.unit.reconcilers.container.connected import FRONT, networked
from tests.unit.reconcilers.container.worlds import ContainerLoop, World, container, held
from tests.unit.reconcilers.engines import deleted


def paired(**spec: Any) -> tuple[World, ContainerLoop, Object, Object]:
    world = networked()
    loop, web = world.life(), world.add(container("web", networks=[FRONT]))
    loop.converge(web)
    side = container("side", networks=[{"container": "web"}], **spec)
    loop.converge(side)
    return world, loop, web, side


def netns(world: World, item: Object) -> str | None:
    found = {n["type"]: n.get("path") for n in world.spec(item)["linux"]["namespaces"]}
    return found.get("network")


def test_it_has_the_namespace_and_the_files_and_nothing_of_its_own() -> None:
    world, loop, web, side = paired()
    assert netns(world, side) == netns(world, web) == f"/fake/netns/{world.task(web).id}"
    files = {m["destination"]: m["source"] for m in world.spec(side)["mounts"]}
    assert files["/etc/resolv.conf"] == f"/fake/sandboxes/{world.task(web).id}/resolv.conf"
    assert (world.sandboxes.list(), world.names.list()) == ([world.task(web).id], [world.task(web).id])
    assert dict(world.ipam().addresses(side.metadata.uid)) == {}
    assert loop.look(side.key, side) == Diff()


def test_its_sandbox_stays_when_the_other_is_stopped_and_started() -> None:
    world, loop, web, side = paired()
    before = world.running(side)
    loop.settle(held(web, "stopped"))
    assert loop.look(side.key, side).changes == ()
    loop.settle(web)
    loop.converge(side)
    assert (world.running(side), netns(world, side)) == (before, f"/fake/netns/{world.task(web).id}")


def test_it_starts_again_in_the_sandbox_of_the_other_made_again() -> None:
    world, loop, _, side = paired()
    web = world.add(container("web", networks=[FRONT], command=["other"]))
    loop.settle(web)
    diff = loop.look(side.key, side)
    assert [(c.path, c.old, c.new, c.kind) for c in diff.changes] == [
        ("spec.networks[0].container", "1", "2", ChangeKind.RESTART)
    ]
    loop.settle(side)
    assert (world.running(side).attempt, netns(world, side)) == (2, f"/fake/netns/{world.task(web).id}")
    assert loop.look(side.key, side) == Diff()


@pytest.mark.parametrize(
    ("planned", "shares", "kind"),
    [
        (ChangeKind.RECREATE, {}, ChangeKind.RESTART),
        (ChangeKind.RESTART, {}, ChangeKind.NONE),
        (ChangeKind.RESTART, {"pid": "container:web"}, ChangeKind.RESTART),
        (ChangeKind.HOT, {"pid": "container:web"}, ChangeKind.NONE),
    ],
)
def test_a_plan_sees_what_comes_of_the_other(planned: ChangeKind, shares: dict[str, Any], kind: ChangeKind) -> None:
    world, loop, web, side = paired(**shares)
    context = Context(world.now, world.objects, planning=True, changing={web.ref: planned})
    found = loop.reconciler.diff(side, loop.reconciler.observe(side.key, side, context), context)
    assert found.kind is kind
    assert ("create the process (attempt 2)" in [a.describe() for a in found.actions]) is (kind is ChangeKind.RESTART)


def test_it_waits_for_the_other_to_run() -> None:
    world, loop, web, side = paired()
    loop.settle(held(web, "stopped"))
    world.exit(side, 1)
    loop.settle(side)
    again = side.model_copy(update={"restart_request": "1"})
    assert loop.converge(again).waiting == "container/web does not run"


def test_the_sandbox_of_one_on_the_hosts_network_is_the_hosts() -> None:
    world = networked()
    loop, web = world.life(), world.add(container("web", networks=[{"name": "host"}]))
    loop.converge(web)
    side = container(
        "side", networks=[{"container": "web"}], health={"tcp": {"port": 80}, "interval": "1s", "startPeriod": "0s"}
    )
    loop.converge(side)
    assert netns(world, side) is None
    world.prober.listen(None, 80)
    world.later(2)
    loop.converge(side)
    assert world.prober.probes[-1] == (None, 80, None)


def test_one_in_anothers_sandbox_has_none_to_share() -> None:
    world, loop, _, side = paired()
    world.add(side)
    third = container("third", networks=[{"container": "side"}])
    assert "container/side is itself in the sandbox of another" in loop.converge(third).waiting


def test_of_its_own_network_it_keeps_nothing_when_it_moves_to_anothers() -> None:
    world = networked()
    loop, web = world.life(), world.add(container("web", networks=[FRONT]))
    loop.converge(web)
    ports = [{"container": 80, "host": 8080}]
    loop.converge(container("side", networks=[FRONT], ports=ports))
    side = container("side", networks=[{"container": "web"}])
    assert loop.look(side.key, side).kind is ChangeKind.RECREATE
    loop.settle(side)
    assert (world.ports.list(), dict(world.ipam().addresses(side.metadata.uid))) == ([], {})
    assert loop.look(side.key, side) == Diff()
    loop.settle(deleted(side))
    loop.settle(deleted(web))
    assert world.left() == []
