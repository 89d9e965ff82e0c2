"""An engine for one test, driven by the `lading` command as a user drives it."""

import itertools
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.leaks import unreferenced_blobs

CHECKOUT = Path(__file__).resolve().parent.parent
START = (
    f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from controller.cli.main import main; "
    "sys.exit(main(sys.argv[1:]))"
)
COMMAND = (sys.executable, "-IS", "-c", START)
# What a driver keeps while it works; nothing may lie there once all is deleted.
TRANSIENT = {"ingest", "staging", "trash", "tmp"}


class Engine:
    def __init__(self, base: Path, prefix: Sequence[str] = ()) -> None:
        """`prefix` goes before each command: that of a machine (tests.machines) for an engine that lives there."""
        self.base = base
        self.prefix = prefix
        self.root = base / "s"
        self.run_root = base / "r"
        self._namespaces: set[str] = set()
        base.mkdir()

    def __call__(
        self, *arguments: str | Path, check: bool = True, stdin: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run one command. Its output is in the failure's message if it should have succeeded and did not."""
        words = [str(argument) for argument in arguments]
        for flag, name in itertools.pairwise(words):
            if flag in {"-n", "--namespace"}:
                self._namespaces.add(name)
        answer = subprocess.run(
            [*self.command, *words], input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and answer.returncode:
            raise AssertionError(
                f"lading {' '.join(words)} ended with {answer.returncode}\n{answer.stdout}{answer.stderr}"
            )
        return answer

    @property
    def command(self) -> list[str]:
        return [*self.prefix, *COMMAND, "--root", str(self.root), "--run-root", str(self.run_root)]

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self(*arguments, "-o", "json").stdout)

    def apply(self, manifest: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Apply a manifest given as text."""
        return self("apply", "-f", "-", *arguments, check=check, stdin=manifest)

    @property
    def pid(self) -> int | None:
        """The engine: the process that answers on the socket for commands."""
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.run_root / "command.sock"))
            except OSError:
                return None
            answer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid: int = struct.unpack("3i", answer)[0]
            return pid

    def end(self) -> list[str]:
        """Delete everything, shut the engine down, and say what was not as it should be."""
        problems = []
        if self.root.exists() or self.run_root.exists():
            for namespace in sorted(self._namespaces | {"default"}):
                problems += self._must("-n", namespace, "delete", "--all", "--data")
            problems += self._must("image", "prune", "-a")
            pid = self.pid
            problems += self._must("shutdown")
            if pid and not _ended(pid):
                problems.append(f"the engine {pid} lives on after its shutdown")
            problems += self._left_on_disk()
        if not problems:
            shutil.rmtree(self.base, ignore_errors=True)
        return problems

    def _must(self, *arguments: str) -> list[str]:
        try:
            self(*arguments)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            return [str(error)]
        return []

    def _left_on_disk(self) -> list[str]:
        problems = []
        for marker in self.root.rglob("oci-layout"):
            problems += [f"content store: {text}" for text in unreferenced_blobs(marker.parent)]
            problems += [f"content store: {blob} is left" for blob in marker.parent.glob("blobs/*/*")]
        for folder, _, names in os.walk(self.root):
            if Path(folder).name in TRANSIENT and (names or os.listdir(folder)):
                problems.append(f"{folder} is not empty: {sorted(os.listdir(folder))}")
        return problems


def _ended(pid: int, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False
