"""Whose a thing is, and what counts as a leak: decided on values, without a host."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from tests.leaks import Item, Scope, Snapshot, Store, diff, unreferenced_blobs
from tests.leaks.model import Process, names_path, ours
from tests.leaks.storage import store_items

ROOT = Path("/tmp/ld-1")


def host(*items: Item, processes: tuple[Process, ...] = ()) -> Snapshot:
    return Snapshot({(item.kind, item.identity): item for item in items}, {p.pid: p for p in processes})


def process(pid: int, parent: int = 1, command: str = "sleep", token: str = "", session: int = 0) -> Process:
    return Process(pid, 5, parent, session, "S", command, "0::/", token, "/")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("/tmp/ld-1", True),
        ("/tmp/ld-1/x", True),
        ("conmon -b /tmp/ld-1/b -n x", True),
        ("lowerdir=/tmp/ld-1/a:/tmp/ld-1/b", True),
        ("/tmp/ld-12", False),
        ("/tmp/ld-1.old", False),
        ("/tmp/ld-12 /tmp/ld-1", True),
    ],
)
def test_a_path_is_named_whole(text: str, names: bool) -> None:
    assert names_path(text, ROOT) is names


def test_only_what_is_ours_counts() -> None:
    mine, foreign = Item("mount", "a", ("/tmp/ld-1/m",)), Item("mount", "b", ("/srv",))
    scope = Scope(roots=(ROOT,))
    assert [leak.what for leak in diff(host(), host(mine, foreign), scope)] == ["a"]


def test_strictly_everything_counts() -> None:
    items = Item("mount", "a", ("/srv",)), Item("link", "b", ("eth7",))
    assert {leak.what for leak in diff(host(), host(*items), Scope(strict=True))} == {"a", "b"}


def test_a_name_with_our_mark_is_ours() -> None:
    item = Item("nft table", "t", ('{"name": "lading-t77"}',))
    assert diff(host(), host(item), Scope(marks=("t77",)))
    assert not diff(host(), host(item), Scope(marks=("t78",)))


def test_a_name_with_the_common_prefix_is_ours_unless_a_stranger_holds_it() -> None:
    table = (process(20, token="abc"), process(40))
    groups = [Item("cgroup", f"/lading-{pids}", ("/lading-x",), pids) for pids in ((), (20,), (40,))]
    scope = Scope(token="abc", prefixes=("lading",), ancestors=())
    found = diff(host(), host(*groups, processes=table), scope)
    assert [leak.what for leak in found] == ["/lading-()", "/lading-(20,)"]


def test_what_was_there_before_is_no_leak() -> None:
    item = Item("mount", "a", ("/tmp/ld-1/m",))
    assert not diff(host(item), host(item), Scope(roots=(ROOT,)))


def test_a_fault_counts_even_if_it_was_there_before() -> None:
    item = Item("orphan", "snapshot 7", fault=True)
    assert diff(host(item), host(item), Scope())


def test_what_everybody_shares_may_neither_change_nor_go() -> None:
    before = host(Item("setting", "net/x", value="0"), Item("route", "default", shared=True))
    after = host(Item("setting", "net/x", value="1"))
    assert [str(leak) for leak in diff(before, after, Scope())] == [
        "route gone: default",
        "setting changed: net/x: 0 -> 1",
    ]


def test_processes_are_ours_by_mark_by_path_and_by_descent() -> None:
    table = {
        p.pid: p
        for p in (
            process(10),
            process(11, parent=10),
            process(20, token="abc"),
            process(21, parent=20),
            process(22, session=20),
            process(30, command="conmon -b /tmp/ld-1/b"),
            process(40, token="abd"),
            process(50, command="conmon -b /tmp/ld-2/b"),
            process(60, command="vim lading-t1"),
            process(61, command="/usr/bin/conmon -c lading-t1"),
        )
    }
    scope = Scope(roots=(ROOT,), token="abc", ancestors=(10,), marks=("t1",))
    assert ours(table, scope) == {11, 20, 21, 22, 30, 61}


def test_what_only_strangers_hold_is_not_ours() -> None:
    table = (process(20, token="abc"), process(40))
    scope = Scope(token="abc", ancestors=())
    items = Item("namespace", "net:[1]", (), (40,)), Item("namespace", "net:[2]", (), (40, 20))
    assert [leak.what for leak in diff(host(), host(*items, processes=table), scope)] == ["net:[2]"]


def test_stores_are_compared_both_ways(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    found = list(store_items((Store("snapshots", tmp_path, lambda: ["b", "c"]),)))
    assert [(item.kind, item.identity.split()[1]) for item in found] == [
        ("orphan", str(tmp_path / "a")),
        ("missing", str(tmp_path / "c")),
    ]


def test_an_image_layout_is_looked_through(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, str]:
        digest = sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}"}

    layer, config = put(b"layer", "layer.tar"), put(b"{}", "config+json")
    manifest = put(json.dumps({"layers": [layer], "config": config}).encode(), "manifest+json")
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    assert unreferenced_blobs(tmp_path) == []

    stray = put(b"stray", "layer.tar")["digest"].removeprefix("sha256:")
    (blobs / config["digest"].removeprefix("sha256:")).unlink()
    (blobs / layer["digest"].removeprefix("sha256:")).write_bytes(b"altered")
    assert [text.split(" ", 1)[1] for text in unreferenced_blobs(tmp_path)] == [
        "is referred to by nothing",
        "is referred to and absent",
        "does not match its digest",
    ]
    assert unreferenced_blobs(tmp_path)[0].startswith(stray)
