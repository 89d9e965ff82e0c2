"""The oracle's own test: each class of leak is planted and must be reported. Else a green run means nothing."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.leak_plants import PLANTS, Ground, detached, hierarchies, removed, run, table, wait_for
from tests.leaks import OWNER_VARIABLE, Scope, Store, diff, settled, snapshot

pytestmark = pytest.mark.host


@pytest.fixture
def ground(short_path: Path, instance: str) -> Ground:
    return Ground(short_path, instance, os.environ[OWNER_VARIABLE])


@pytest.fixture
def scope(ground: Ground) -> Scope:
    def records() -> list[str]:
        file = ground.path / "records"
        return [file.read_text()] if file.exists() else []

    return Scope(
        roots=(ground.path,),
        marks=(ground.mark,),
        token=ground.token,
        watched=(os.getpid(),),
        stores=(Store("snapshots", ground.path / "snapshots", records),),
        state=(ground.path / "state",),
    )


@pytest.mark.parametrize("name", PLANTS)
def test_each_planted_leak_is_reported(name: str, ground: Ground, scope: Scope) -> None:
    kind, plant = PLANTS[name]
    before = snapshot(scope)
    with plant(ground) as text:
        leaks = diff(before, snapshot(scope), scope)
    assert any(leak.kind == kind and text in leak.what for leak in leaks), [str(leak) for leak in leaks]
    assert settled(before, scope) == []


def test_all_at_once_are_all_reported(ground: Ground, scope: Scope) -> None:
    """One leak must not hide another. (Those that share a name with another of the list stay out.)"""
    chosen = {
        "tmpfs_below_a_root", "named_network_namespace", "link_with_our_alias", "address_on_loopback",
        "route_to_nowhere", "firewall_table", "kernel_setting", "tcp_listener", "fifo", "orphan_with_our_mark",
        "zombie", "cgroup_in_the_first_hierarchy", "loop_device", "shared_memory", "half_an_ingest",
    }  # fmt: skip
    before = snapshot(scope)
    with ExitStack() as stack:
        wanted = [(PLANTS[name][0], stack.enter_context(PLANTS[name][1](ground))) for name in sorted(chosen)]
        leaks = diff(before, snapshot(scope), scope)
    for kind, text in wanted:
        assert any(leak.kind == kind and text in leak.what for leak in leaks), (kind, text)


def test_a_quiet_host_has_no_leaks(scope: Scope) -> None:
    before = snapshot(scope)
    assert settled(before, scope) == []


def test_other_peoples_work_is_not_blamed_on_us(ground: Ground, scope: Scope) -> None:
    before = snapshot(scope)
    elsewhere = Path(f"/tmp/foreign-{os.getpid()}")
    elsewhere.mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", elsewhere)
    group = hierarchies()[-1] / f"foreign-{os.getpid()}"
    group.mkdir()
    try:
        with table("foreign"), detached("sleep", "67", env={"PATH": "/bin:/usr/bin"}) as pid:
            (group / "cgroup.procs").write_text(str(pid))
            after = snapshot(scope)
            assert diff(before, after, scope) == []
            strictly = {leak.kind for leak in diff(before, after, replace(scope, strict=True))}
            assert {"mount", "file", "nft table", "process", "cgroup"} <= strictly
    finally:
        run("umount", elsewhere)
        elsewhere.rmdir()
        wait_for(lambda: removed(group))


def test_a_setting_or_route_that_is_taken_away_is_reported(scope: Scope) -> None:
    run("ip", "route", "add", "blackhole", "10.255.79.0/24")
    before = snapshot(scope)
    run("ip", "route", "del", "blackhole", "10.255.79.0/24")
    leaks = diff(before, snapshot(scope), scope)
    assert [(leak.kind, leak.change) for leak in leaks] == [("route", "gone")]


def test_the_list_is_long_enough() -> None:
    assert len({kind for kind, _ in PLANTS.values()}) >= 25
    assert len(PLANTS) >= 40
