"""Starting an engine for a command that found none."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from controller.cli import words
from controller.cli.client import starting
from controller.cli.server import serving
from controller.settings import Settings
from tests.unit.controller.cli.clients import START, call


def test_an_engine_is_started_from_where_the_command_is(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the program that would become the engine all but its last step is done."""
    spawned: list[Sequence[str]] = []

    def spawn(path: str, arguments: Sequence[str], environment: Mapping[str, str], **_: object) -> int:
        assert path == sys.executable
        spawned.append(arguments)
        return os.getpid()

    monkeypatch.setattr(os, "posix_spawn", spawn)
    line = words.scan(["--root", str(short_path / "s"), "--run-root", str(short_path / "r"), "get", "container"])
    starting._spawn(line, str(short_path / "log"))
    assert Path(starting.CHECKOUT, "controller", "cli", "main.py").is_file()
    (arguments,) = spawned
    assert list(arguments[-2:]) == ["serve", "--background"]
    elsewhere = {"PATH": os.environ["PATH"]}
    helped = subprocess.run(
        [*arguments, "--help"], cwd=short_path, env=elsewhere, capture_output=True, timeout=60, check=False
    )
    assert (helped.returncode, helped.stderr) == (0, b"")
    assert b"lading serve" in helped.stdout


def test_roots_are_said_by_flags_and_by_the_environment() -> None:
    environment = {b"LADING_ROOT": b"/a", b"LADING_RUN_ROOT": b""}
    line = words.scan(["get", "container"], environment)
    assert (line.root, line.run_root, line.flaw) == ("/a", words.RUN_ROOT, "")
    line = words.scan(["--root", "/b", "get", "container", "--run-root=/c"], environment)
    assert (line.root, line.run_root) == ("/b", "/c")
    assert words.scan(["get"]).root == words.ROOT


@pytest.mark.parametrize(("verb", "code"), [("get", 1), ("exec", 125)])
def test_a_relative_root_of_the_environment_is_refused(short_path: Path, verb: str, code: int) -> None:
    environment = {**os.environ, "LADING_ROOT": "here"}
    answer = call(short_path, verb, "web", "ls", env=environment, cwd=short_path)
    assert answer.returncode == code
    assert answer.stderr == b"lading: LADING_ROOT is no absolute path: another folder would mean another engine\n"
    assert list(short_path.iterdir()) == []


def test_the_environment_says_where_the_engine_is(server: Path) -> None:
    environment = {**os.environ, "LADING_RUN_ROOT": str(server), "LADING_ROOT": str(server)}
    program = START
    found = subprocess.run(
        [sys.executable, "-IS", "-c", program, "get", "container"],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, b"nothing in namespace default\n")


def test_a_served_engine_takes_its_roots_from_the_environment(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Settings] = []

    def served_at(found: Settings, _: object) -> int:
        served.append(found)
        return 0

    monkeypatch.setattr("controller.daemon.serve", served_at)
    monkeypatch.setenv("LADING_ROOT", str(short_path / "s"))
    monkeypatch.setenv("LADING_RUN_ROOT", str(short_path / "r"))
    mask = os.umask(0o022)
    try:
        assert serving.run(["serve"], words.scan(["serve"], os.environb)) == 0
    finally:
        os.umask(mask)
    assert (served[0].root, served[0].run_root) == (short_path / "s", short_path / "r")
