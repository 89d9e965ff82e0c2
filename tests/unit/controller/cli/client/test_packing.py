import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from controller.cli.client import files, packing
from resources.errors import InvalidArgument, NotFound


def members(chunks: list[bytes]) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        return {info.name: info for info in archive.getmembers()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    base = tmp_path / "tree"
    (base / "folder").mkdir(parents=True)
    (base / "folder/file").write_bytes(b"x" * 1000)
    os.link(base / "folder/file", base / "hard")
    (base / "soft").symlink_to("/etc/passwd")
    (base / "weird\n\udcff").write_bytes(b"")
    os.mkfifo(base / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(base / "socket"))
    (base / "folder/file").chmod(0o4755)
    return base


def test_a_folder_holds_what_it_holds(tree: Path) -> None:
    found = members(list(packing.folder(str(tree))))
    assert set(found) == {"folder", "folder/file", "hard", "soft", "weird\n\udcff", "fifo"}
    assert found["folder/file"].mode == 0o4755
    assert (found["hard"].islnk(), found["hard"].linkname) == (True, "folder/file")
    assert (found["soft"].issym(), found["soft"].linkname) == (True, "/etc/passwd")
    assert found["fifo"].isfifo()
    assert {(info.uname, info.gname) for info in found.values()} == {("", "")}


def test_one_thing_under_its_name_or_another(tree: Path) -> None:
    assert set(members(list(packing.named(f"{tree}/folder/")))) == {"folder", "folder/file"}
    assert set(members(list(packing.named(f"{tree}/folder", "new")))) == {"new", "new/file"}
    assert set(members(list(packing.named(f"{tree}/soft")))) == {"soft"}


def test_capabilities_of_programs_are_kept(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    try:
        os.setxattr(program, "security.capability", capability)
    except OSError as error:
        pytest.skip(f"this file system or user cannot set it: {error}")
    with tarfile.open(fileobj=io.BytesIO(b"".join(packing.folder(str(tmp_path))))) as archive:
        value = archive.getmember("program").pax_headers["SCHILY.xattr.security.capability"]
    assert value.encode("utf-8", "surrogateescape") == capability


def test_a_file_that_changes_while_it_is_packed_spoils_nothing_else(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x" * 900_000)
    source = packing.folder(str(tmp_path))
    chunks = [next(source)]
    os.truncate(tmp_path / "a", 10)
    (tmp_path / "b").write_bytes(b"y" * 2_000_000)
    found = members([*chunks, *source])
    assert set(found) == {"a", "b"}
    assert found["a"].size == 900_000


def test_a_folder_of_manifests_is_found_sorted(tree: Path) -> None:
    (tree / ".git").mkdir()
    for name in ("z.yml", "a.yaml", "folder/m.json", ".hidden.yaml", ".git/x.yaml"):
        (tree / name).write_text("")
    assert files.find(str(tree)) == [f"{tree}/{name}" for name in ("a.yaml", "folder/m.json", "z.yml")]
    assert files.find("-") == ["-"]
    (tree / "empty").mkdir()
    with pytest.raises(NotFound):
        files.find(str(tree / "empty"))


def test_one_name_is_for_one_thing(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="5 things came"):
        files.receive(str(tmp_path / "new"), "", io.BytesIO(b"".join(packing.folder(str(tree)))))
    assert sorted(os.listdir(tmp_path)) == ["tree"]
    with pytest.raises(NotFound):
        files.receive(str(tmp_path / "none/new"), "", io.BytesIO(b""))
