"""Paths of the host that no container gets by accident."""

from pathlib import PurePath

import pytest

from reconcilers.container.binds import check_bind
from resources.errors import InvalidArgument

STATE = (PurePath("/var/lib/lading"), PurePath("/run/lading"))


@pytest.mark.parametrize("path", ["/srv", "/var/lib/postgresql", "/dev/fuse", "/run/postgresql", "/process"])
def test_ordinary_paths(path: str) -> None:
    check_bind(PurePath(path), (), STATE)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/", "bindRoot"),
        ("/proc", "bindRoot"),
        ("/proc/1/root", "bindRoot"),
        ("/sys/fs/cgroup", "bindRoot"),
        ("/var/lib/lading", "bindState"),
        ("/var/lib", "bindState"),
        ("/run/lading/lading.sock", "bindState"),
    ],
)
def test_dangerous_ones_have_to_be_named(path: str, word: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        check_bind(PurePath(path), (), STATE)
    assert word in raised.value.hint
    check_bind(PurePath(path), ("bindRoot", "bindState"), STATE)
