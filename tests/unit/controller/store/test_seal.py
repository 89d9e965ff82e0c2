"""The host's key: what it seals only it opens, and nothing else than equality is told."""

import base64
import os
import stat
from pathlib import Path

import pytest

from controller.store.seal import HostKey, generate
from resources.errors import DataLoss
from resources.secret import Sealed


def test_what_is_sealed_is_opened_also_by_the_next_engine(tmp_path: Path) -> None:
    sealed = HostKey(tmp_path).seal(b"hunter2\0\xff")
    again = HostKey(tmp_path)
    assert not again.created
    assert again.open(sealed) == b"hunter2\0\xff"
    assert again.open(again.seal(b"")) == b""


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert HostKey(root).created
    key = root / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    assert [path.name for path in root.iterdir()] == ["key"]
    before = key.read_bytes()
    key.chmod(0o644)
    HostKey(root)
    assert key.read_bytes() == before
    assert stat.S_IMODE(key.stat().st_mode) == 0o400


def test_equal_values_have_equal_digests_and_different_seals(tmp_path: Path) -> None:
    key = HostKey(tmp_path)
    one, two, other = key.seal(b"a"), key.seal(b"a"), key.seal(b"b")
    assert one.digest == two.digest == key.digest(b"a") != other.digest
    assert one.value != two.value
    assert HostKey(tmp_path / "other").digest(b"a") != one.digest


def test_another_key_or_a_changed_byte_is_said_plainly(tmp_path: Path) -> None:
    key = HostKey(tmp_path / "a")
    sealed = key.seal(b"hunter2")
    with pytest.raises(DataLoss, match="is not the key it was sealed with"):
        HostKey(tmp_path / "b").open(sealed)
    for value in ("", "AAAA", "not base64!", sealed.value[:-4] + "AAA="):
        with pytest.raises(DataLoss, match="cannot be opened"):
            key.open(Sealed(digest=sealed.digest, value=value))


def test_files_are_sealed_apart_from_values(tmp_path: Path) -> None:
    key = HostKey(tmp_path / "a")
    sealed = key.seal_bytes(b"a plan")
    assert b"a plan" not in sealed
    assert key.open_bytes(sealed) == b"a plan"
    with pytest.raises(DataLoss, match="no plan that lading saved"):
        key.open_bytes(b"a plan")
    with pytest.raises(DataLoss, match="another key"):
        HostKey(tmp_path / "b").open_bytes(sealed)
    with pytest.raises(DataLoss, match="another key"):
        key.open_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(DataLoss, match="another key"):
        key.open_bytes(sealed[:20])
    value = base64.b64decode(key.seal(b"a value of the store").value)
    with pytest.raises(DataLoss, match="another key"):
        key.open_bytes(sealed[: sealed.index(b"\n") + 1] + value)


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_never_replaced(tmp_path: Path, damage: bytes) -> None:
    HostKey(tmp_path)
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "key").write_bytes(damage)
    with pytest.raises(DataLoss, match="is damaged"):
        HostKey(tmp_path)
    assert (tmp_path / "key").read_bytes() == damage


def test_a_link_in_place_of_the_key_is_not_followed(tmp_path: Path) -> None:
    HostKey(tmp_path / "other")
    os.symlink(tmp_path / "other" / "key", tmp_path / "key")
    with pytest.raises(DataLoss, match="cannot be read"):
        HostKey(tmp_path)


def test_generated_secrets_have_their_length_and_differ() -> None:
    found = {generate(32) for _ in range(100)}
    assert len(found) == 100
    assert all(len(one) == 32 and one.isalnum() and one.isascii() for one in found)
