"""Which OCI runtime is taken: the one that was seen to work, tried once in a boot, with what the other one said."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.kernel.cgroup import detect
from drivers.runtime import choice
from drivers.runtime.interface import RuntimeInfo
from resources.errors import Unavailable

pytestmark = pytest.mark.host

REFUSES = (
    "#!/bin/sh\ncase $1 in --version) echo crun version 1.8.1;; *) echo it does not like this host >&2; exit 1;; esac\n"
)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder where runtimes are looked for: a crun that refuses everything, and the real runc."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "crun").write_text(REFUSES)
    (folder / "crun").chmod(0o755)
    real = choice.find("runc")
    assert real is not None
    (folder / "runc").symlink_to(real)
    monkeypatch.setattr(choice, "_PLACES", (str(folder),))
    return folder


@pytest.fixture
def choose(short_path: Path, instance: str) -> Callable[..., RuntimeInfo]:
    return lambda preferred=None: choice.choose(short_path / "r", instance, detect(), preferred)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runtimes that were tried, in order."""
    names: list[str] = []
    real = choice.try_out

    def counted(candidate: choice.Candidate, *rest: object) -> str | None:
        names.append(candidate.name)
        return real(candidate, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(choice, "try_out", counted)
    return names


def test_the_next_one_is_taken_with_what_the_first_one_said(
    places: Path, choose: Callable[..., RuntimeInfo], tried: list[str]
) -> None:
    found = choose()
    assert (found.name, found.path) == ("runc", places / "runc")
    assert found.reason == "crun 1.8.1: it does not like this host"
    assert tried == ["crun", "runc"]


def test_it_is_tried_once_in_a_boot(
    places: Path, choose: Callable[..., RuntimeInfo], tried: list[str], short_path: Path
) -> None:
    first = choose()
    assert choose() == first
    assert tried == ["crun", "runc"]
    memory = short_path / "r" / "runtime.json"
    remembered = json.loads(memory.read_text())
    key = json.loads(remembered["key"])
    memory.write_text(json.dumps({**remembered, "key": json.dumps({**key, "boot": "another"})}))
    assert choose() == first
    assert tried == ["crun", "runc"] * 2
    memory.write_text('{"key"')  # cut short
    assert choose() == first
    assert tried == ["crun", "runc"] * 3


def test_a_runtime_that_was_replaced_is_tried_again(
    places: Path, choose: Callable[..., RuntimeInfo], tried: list[str]
) -> None:
    choose()
    real = places / "runc"
    (places / "new").write_text(REFUSES + "# another one\n")
    (places / "new").chmod(0o755)
    os.replace(places / "new", places / "crun")
    assert choose().path == real
    assert tried == ["crun", "runc"] * 2


def test_the_preferred_one_is_tried_first(places: Path, choose: Callable[..., RuntimeInfo], tried: list[str]) -> None:
    assert choose("runc").reason == "preferred"
    assert tried == ["runc"]


def test_one_that_is_not_installed_is_a_reason_too(places: Path, choose: Callable[..., RuntimeInfo]) -> None:
    (places / "crun").unlink()
    found = choose()
    assert (found.name, found.reason) == ("runc", "crun is not installed")


def test_none_that_works_is_told_with_what_each_said(places: Path, choose: Callable[..., RuntimeInfo]) -> None:
    (places / "runc").unlink()
    with pytest.raises(Unavailable) as caught:
        choose()
    assert "crun 1.8.1: it does not like this host; runc is not installed" in caught.value.message
    assert "install" in caught.value.hint
