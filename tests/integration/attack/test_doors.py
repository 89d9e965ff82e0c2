"""Somebody removes what clients find the engine by, or what keeps a second engine out."""

import subprocess
from collections.abc import Callable

import pytest

from tests.engines import Engine
from tests.integration.command.outside import until

pytestmark = pytest.mark.host


def test_a_second_engine_stays_out_and_removed_sockets_come_back(engine: Callable[[], Engine]) -> None:
    made = engine()
    made("get", "container")
    until(lambda: (made.run_root / "lading.sock").exists(), what="the HTTP API")
    pid = made.pid
    (made.root / "engine.lock").unlink()
    second = subprocess.run([*made.command, "serve"], capture_output=True, text=True, timeout=60, check=False)
    assert (second.returncode, second.stderr.startswith("lading: another engine (pid ")) == (1, True), second.stderr
    for name in ("command.sock", "lading.sock"):
        (made.run_root / name).unlink()
    until(lambda: (made.run_root / "lading.sock").exists(), what="the HTTP API again")
    assert made.pid == pid
    assert "started an engine" not in made("get", "container").stderr
