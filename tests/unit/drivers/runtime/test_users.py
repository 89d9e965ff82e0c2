"""Users and groups of hostile images (RT-06 to RT-08)."""

import os
from pathlib import Path

import pytest

from drivers.runtime.users import User, resolve_user
from resources.errors import EngineError, FailedPrecondition, InvalidArgument

PASSWD = """root:x:0:0:root:/root:/bin/sh
web:x:101:102:web:/srv:/bin/sh
1000:x:0:0:digits for a name:/root:/bin/sh
bad:x:-1:0::/:
huge:x:4294967296:0::/:
spaced:x: 0:0::/:
short:x:7
rel:x:8:8::home
web2:x:101:103::/second
"""
GROUP = "root:x:0:\nweb:x:102:\nlogs:x:44:other,web\nvideo:x:45:web,web\n77:x:0:web\nneg:x:-5:web\nlast:x:46:web2"


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("", (), User(0, 0, (), "/root")),
        ("root", (), User(0, 0, (), "/root")),
        ("0", (), User(0, 0, (), "/root")),
        ("web", (), User(101, 102, (44, 45, 0), "/srv")),
        ("101", (), User(101, 102, (44, 45, 0), "/srv")),
        ("web:logs", (), User(101, 44, (), "/srv")),
        ("web:45", (), User(101, 45, (), "/srv")),
        ("web", ("99", "video"), User(101, 102, (44, 45, 0, 99), "/srv")),
        ("1000", (), User(1000, 0, (), "/")),
        ("1000:1000", (), User(1000, 1000, (), "/")),
        ("2147483647", (), User(2147483647, 0, (), "/")),
        ("007", (), User(7, 0, (), "/")),
        ("web:77", (), User(101, 77, (), "/srv")),
        ("rel", (), User(8, 8, (), "/")),
        ("web2", (), User(101, 103, (46,), "/second")),
    ],
)
def test_resolution(rootfs: Path, user: str, groups: tuple[str, ...], expected: User) -> None:
    assert resolve_user(rootfs, user, groups) == expected


@pytest.mark.parametrize(
    "user",
    [
        "4294967296", "2147483648", "-1", "0x0", "1000:abc!", "+1", " 1", "1 ", "web:", "web:4294967296", "a\nb", "a b",
        "٣", "a" * 100_000, "9" * 100_000, "../etc", "web:-1", "\0", ":", "root:y:z", "٣:0",
    ],
)  # fmt: skip
def test_what_can_be_no_user_is_refused(rootfs: Path, user: str) -> None:
    with pytest.raises(InvalidArgument):
        resolve_user(rootfs, user)


@pytest.mark.parametrize("user", ["nobody", "bad", "huge", "spaced", "short", "web:nogroup", "web:neg"])
def test_an_unknown_name_never_falls_back_to_root(rootfs: Path, user: str) -> None:
    with pytest.raises(FailedPrecondition, match=r"no (user|group)"):
        resolve_user(rootfs, user)


def test_an_image_without_files_knows_numbers_only(tmp_path: Path) -> None:
    assert resolve_user(tmp_path, "", ()) == User(0, 0, (), "/")
    assert resolve_user(tmp_path, "5:6") == User(5, 6, (), "/")
    with pytest.raises(FailedPrecondition):
        resolve_user(tmp_path, "root")
    with pytest.raises(FailedPrecondition):
        resolve_user(tmp_path / "none", "0")


def hostile_fifo(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def hostile_directory(path: Path, outside: Path) -> None:
    path.mkdir()


def hostile_size(path: Path, outside: Path) -> None:
    path.touch()
    os.truncate(path, 2 << 30)


def hostile_count(path: Path, outside: Path) -> None:
    path.write_text("a:x:1:1\n" * 20_000)


def hostile_loop(path: Path, outside: Path) -> None:
    path.symlink_to("passwd")


def hostile_socket(path: Path, outside: Path) -> None:
    os.mknod(path, 0o140600)


@pytest.mark.parametrize(
    "make", [hostile_fifo, hostile_directory, hostile_size, hostile_count, hostile_loop, hostile_socket]
)
@pytest.mark.timeout(10)
def test_hostile_files_are_named_and_hold_nobody_up(rootfs: Path, tmp_path: Path, make: object) -> None:
    (rootfs / "etc/passwd").unlink()
    make(rootfs / "etc/passwd", tmp_path)  # type: ignore[operator]
    with pytest.raises(EngineError, match="etc/passwd"):
        resolve_user(rootfs, "web")


def test_links_stay_inside(tmp_path: Path) -> None:
    rootfs, outside = tmp_path / "root", tmp_path / "outside"
    (rootfs / "etc").mkdir(parents=True)
    outside.write_text("evil:x:0:0::/:\n")
    for target in (outside, Path("../../outside"), Path("/proc/self/root") / outside.relative_to("/")):
        (rootfs / "etc/passwd").unlink(missing_ok=True)
        (rootfs / "etc/passwd").symlink_to(target)
        with pytest.raises(FailedPrecondition):
            resolve_user(rootfs, "evil")
    (rootfs / "etc/passwd").unlink()
    (rootfs / "usr/lib").mkdir(parents=True)
    (rootfs / "usr/lib/passwd").write_text("svc:x:9:9::/srv:\n")
    (rootfs / "etc/passwd").symlink_to("/usr/lib/passwd")
    assert resolve_user(rootfs, "svc") == User(9, 9, (), "/srv")


def test_bytes_that_are_no_text_do_no_harm(rootfs: Path) -> None:
    (rootfs / "etc/passwd").write_bytes(b"\xff\xfe:x:0:0::/:\n\0\0:::\n:x:0:0::/:\nok:x:3:3::/h\xff:\n")
    assert resolve_user(rootfs, "ok").uid == 3
