"""The real command, run against a real command server in this process."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[4]
START = (
    f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from controller.cli.main import main; "
    "sys.exit(main(sys.argv[1:]))"
)


def command(run_root: Path, *argv: str, options: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, "-IS", *options, "-c", START, "--run-root", str(run_root), *argv]


def call(run_root: Path, *argv: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command(run_root, *argv), capture_output=True, timeout=60, check=False, **options)


def until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.005)
