"""Measure one and fifty containers: apply, apply again, delete; the engine's memory; the start of a command.

script/bench [--json FILE] [--containers N ...] [--rounds N]
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.measure import Command, Figure, engine, figure, manifest, memory, supervisors


def measure_start(command: Command, rounds: int) -> Figure:
    command("get", "container")  # the first starts the engine
    return figure("command start, get container", "ms", [command("get", "container") for _ in range(rounds)])


def measure_containers(command: Command, count: int, rounds: int, folder: Path) -> list[Figure]:
    path = manifest(folder, count)
    fresh, again, deleted, engines, conmons = [], [], [], [], []
    for _ in range(rounds):
        fresh.append(command("apply", "-f", path))
        again.append(command("apply", "-f", path))
        engines.append(memory([command.engine()]))
        conmons.append(memory(supervisors(command.run_root)))
        deleted.append(command("delete", "-f", path))
    return [
        figure(f"apply, {count}", "ms", fresh),
        figure(f"apply again, {count}", "ms", again),
        figure(f"delete, {count}", "ms", deleted),
        figure(f"engine memory, {count}", "MiB", engines),
        figure(f"supervisors' memory, {count}", "MiB", conmons),
    ]


def machine() -> dict[str, object]:
    return {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "architecture": platform.machine(),
    }


def table(figures: list[Figure]) -> str:
    rows = [("", "median", "least", "most", "runs")]
    rows += [
        (f"{f.what} ({f.unit})", f"{f.median:.1f}", f"{f.least:.1f}", f"{f.most:.1f}", str(f.runs)) for f in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/bench", description="Measure the lading command.")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--containers", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, engine() as command:
        figures = [measure_start(command, 30)]
        for count in options.containers:
            figures += measure_containers(command, count, options.rounds, Path(folder))
    print(table(figures))
    if options.json:
        document = {"machine": machine(), "figures": [asdict(one) for one in figures]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
