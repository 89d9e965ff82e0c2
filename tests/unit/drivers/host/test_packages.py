"""What `doctor --fix` runs, told by programs that only write down how they were called."""

from pathlib import Path

import pytest

from drivers.host import packages
from drivers.host.interface import Finding, Installed, Level

CONMON = Finding("conmon", Level.MISSING, "conmon is not installed", "it stays", "install conmon", "conmon")
GROUP = Finding("group", Level.WARNING, "no group lading", "only root", "groupadd --system lading")


class Apt:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._called = folder / "called"
        monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
        monkeypatch.setattr(packages, "find", self._find)
        monkeypatch.setattr(packages, "_ENVIRONMENT", {**packages._ENVIRONMENT, "PATH": f"{folder}:/usr/bin:/bin"})
        self.write("groupadd", "exit 0")

    def write(self, name: str, script: str) -> None:
        path = self._folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $* $DEBIAN_FRONTEND" >>{self._called}\n{script}\n')
        path.chmod(0o755)

    def _find(self, name: str) -> Path | None:
        path = self._folder / name
        return path if path.exists() else None

    def calls(self) -> list[str]:
        return self._called.read_text().splitlines() if self._called.exists() else []


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    return Apt(tmp_path, monkeypatch)


def test_installs_packages_without_asking_and_makes_the_group(apt: Apt) -> None:
    apt.write("apt-get", "exit 0")
    done = packages.install([CONMON, GROUP])
    assert done == Installed(("apt-get install conmon", "groupadd --system lading"))
    assert apt.calls() == [
        "apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends conmon noninteractive",
        "groupadd --system lading noninteractive",
    ]


def test_fetches_fresh_lists_only_when_the_old_ones_do_not_do(apt: Apt) -> None:
    apt.write("apt-get", f'case "$*" in *update*) touch {apt._folder}/fresh;; *) test -e {apt._folder}/fresh;; esac')
    assert packages.install([CONMON]).steps == ("apt-get update", "apt-get install conmon")
    assert [call.split()[4] for call in apt.calls()] == ["install", "update", "install"]


def test_says_what_went_wrong(apt: Apt) -> None:
    apt.write("apt-get", "echo E: no such package >&2; exit 100")
    done = packages.install([CONMON])
    assert done.problems == ("apt-get install conmon: E: no such package",)


def test_says_what_to_install_where_there_is_no_apt(apt: Apt) -> None:
    (problem,) = packages.install([CONMON]).problems
    assert "no apt-get" in problem
    assert "Debian's package: conmon" in problem
    assert apt.calls() == []


def test_only_root_installs(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> None:
    apt.write("apt-get", "exit 0")
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    assert "root" in packages.install([CONMON]).problems[0]
    assert apt.calls() == []
