"""What is read and tried on this very machine; the leak oracle sees to it that trying leaves nothing."""

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from drivers.host.findings import findings
from drivers.host.interface import Level
from drivers.host.linux import LinuxHost
from drivers.kernel.cgroup import detect
from tests.engines import COMMAND

pytestmark = pytest.mark.host


def test_this_machine_can_run_containers(short_path: Path) -> None:
    facts = LinuxHost(short_path / "not" / "there", short_path / "r", "lading").facts()
    assert facts.kernel == platform.release()
    assert facts.cgroup.mode == detect().mode.value
    assert facts.runtime.name in ("crun", "runc")
    assert facts.tools[facts.runtime.name].version.startswith(facts.runtime.version.split("+")[0])
    assert facts.tools["conmon"].path is not None
    assert facts.overlay_error == ""
    assert facts.space.path == str(short_path)
    assert facts.space.total == os.statvfs(short_path).f_blocks * os.statvfs(short_path).f_frsize
    assert facts.seccomp
    assert (facts.network_errors, facts.obstacles) == ({}, ())
    assert [finding for finding in findings(facts) if finding.level is Level.MISSING] == []
    assert os.listdir(short_path) == []


def test_a_place_that_takes_no_overlay_is_found_by_trying() -> None:
    facts = LinuxHost(Path("/proc/lading"), Path("/dev/shm"), "lading").facts()
    assert "/proc" in facts.overlay_error
    assert facts.run_file_system == "tmpfs"


def test_doctor_runs_without_an_engine(short_path: Path) -> None:
    words = [*COMMAND, "--root", str(short_path / "s"), "--run-root", str(short_path / "r"), "doctor"]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    assert "containers run with" in told.stdout
    answer = subprocess.run([*words, "-o", "json"], capture_output=True, text=True, check=True)
    assert "missing" not in {finding["level"] for finding in json.loads(answer.stdout)["findings"]}
    assert os.listdir(short_path) == []
