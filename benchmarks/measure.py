"""Timed runs of the `lading` command against an engine with roots of its own."""

import json
import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

IMAGE = Path(__file__).resolve().parent.parent / ".cache" / "images" / "busybox.tar"


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of some runs, and their extremes."""

    what: str
    unit: str
    median: float
    least: float
    most: float
    runs: int


def figure(what: str, unit: str, values: list[float]) -> Figure:
    return Figure(what, unit, statistics.median(values), min(values), max(values), len(values))


class Command:
    def __init__(self, base: Path) -> None:
        self.run_root = base / "r"
        self._words = ["lading", "--root", str(base / "s"), "--run-root", str(self.run_root)]

    def __call__(self, *arguments: str | Path) -> float:
        """Run the command and return how many milliseconds it took."""
        words = [*self._words, *map(str, arguments)]
        began = time.perf_counter()
        self._run(words)
        return (time.perf_counter() - began) * 1000

    def runtime(self) -> str:
        host = json.loads(self._run([*self._words, "version", "-o", "json"]))["engine"]
        return f"{host['runtime']} {host['runtimeVersion']}"

    def _run(self, words: list[str]) -> str:
        answer = subprocess.run(words, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {answer.returncode}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def engine(self) -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.run_root / "command.sock"))
            answer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", answer)[0]
        return pid


@contextmanager
def engine() -> Iterator[Command]:
    base = Path(tempfile.mkdtemp(prefix="ld-", dir="/tmp"))
    command = Command(base)
    try:
        yield command
    finally:
        command("delete", "--all", "--data")
        command("shutdown")
        shutil.rmtree(base)


def manifest(folder: Path, containers: int) -> Path:
    archive = json.dumps(str(IMAGE))
    documents = [
        f"apiVersion: lading/v1\nkind: Image\nmetadata: {{name: busybox}}\nspec: {{from: {{archive: {archive}}}}}\n"
    ]
    documents += [
        f"apiVersion: lading/v1\nkind: Container\nmetadata: {{name: sleeper-{number}}}\n"
        "spec:\n  image: {name: busybox}\n  command: [sleep, infinity]\n"
        # A first process ignores what it does not handle: a polite signal would only measure the time limit.
        "  stop: {signal: SIGKILL}\n"
        for number in range(containers)
    ]
    path = folder / f"{containers}.yaml"
    path.write_text("---\n".join(documents))
    return path


def memory(pids: list[int]) -> float:
    """Proportional memory of some processes, in MiB: shared pages are counted once."""
    total = 0
    for pid in pids:
        match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        total += int(match[1]) if match else 0
    return total / 1024


def supervisors(run_root: Path) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"conmon") and any(word.startswith(bytes(run_root)) for word in words):
            found.append(int(name))
    return found
