"""A layer under extraction whose folders are swapped for links by another thread (TAR-02)."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.images.extract import extract
from drivers.images.tar import TarReader
from resources.errors import EngineError
from tests.races import exchanging, picture
from tests.unit.drivers.images import tars

pytestmark = pytest.mark.host


def test_nothing_lands_outside_while_a_folder_turns_into_a_link(tmp_path: Path) -> None:
    root, sentinel = tmp_path / "root", tmp_path / "host"
    (root / "dir").mkdir(parents=True)
    sentinel.mkdir()
    (sentinel / "file").write_bytes(b"of the host")
    (sentinel / "deeper").mkdir()
    (root / "evil").symlink_to(sentinel)
    before = picture(sentinel)
    data = (
        tars.folder("dir", mode=0o777, uid=1)
        + tars.entry("dir/file", b"ours", mode=0o4755, uid=1)
        + tars.folder("dir/deeper", mode=0o777)
        + tars.entry("dir/deeper/x", b"ours")
        + tars.symlink("dir/link", "x")
        + tars.hardlink("dir/twin", "dir/file")
        + tars.entry("dir/node", type=b"3", device=(1, 3), mode=0o777)
        + tars.entry("dir/.wh.file")
        + tars.entry("dir/.wh..wh..opq")
        + tars.END
    )
    landed, deadline = 0, time.monotonic() + 15
    with exchanging(root / "dir", root / "evil") as swaps:
        for turn in range(10_000):
            with suppress(EngineError):
                extract(TarReader(tars.Stream(data)), root, ())
                landed += 1
            if time.monotonic() > deadline:
                assert turn > 500
                break
    assert swaps() > 1000
    assert landed > 0
    assert picture(sentinel) == before
    assert not os.path.lexists(tmp_path / "deeper")
