"""Measure one and fifty containers: apply, apply again, delete; the engine's memory; the start of a command.

script/bench [--into DIR] [--containers N ...] [--rounds N]
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Command, Figure, engine, figure, manifest, memory, supervisors

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEXT = """# Benchmarks

Measured by `script/bench` through the `lading` command, as a user runs it, against an engine with roots of its own.
Each figure is the median of so many runs, with the least and the most; everything that a command prints or waits for is in
its time. The containers are busybox on one bridge network, and are waited for until they run, or are gone.

{machine}.

{table}

- *apply* creates and starts; *apply again* finds that nothing has changed, and looks at the host for that; *delete* kills
  (the first process of such a container ignores a polite signal) and removes every trace.
- *engine memory* is the proportional set size of the engine's one process; *supervisors' memory* is that of all conmon
  processes, one a container.
- *command start* is `lading get container` with an engine running and nothing to list.

The same in JSON: [benchmarks.json](benchmarks.json).
"""


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


def machine(command: Command) -> dict[str, object]:
    return {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "runtime": command.runtime(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def rows(figures: list[Figure]) -> list[tuple[str, ...]]:
    return [
        ("", "median", "least", "most", "runs"),
        *((f"{f.what} ({f.unit})", f"{f.median:.1f}", f"{f.least:.1f}", f"{f.most:.1f}", str(f.runs)) for f in figures),
    ]


def plain(figures: list[Figure]) -> str:
    table = rows(figures)
    widths = [max(len(row[column]) for row in table) for column in range(5)]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def markdown(figures: list[Figure], host: dict[str, object]) -> str:
    first, *rest = rows(figures)
    lines = [first, ("---", "--:", "--:", "--:", "--:"), *rest]
    table = "\n".join(f"| {' | '.join(row)} |" for row in lines)
    said = "{date}: Linux {kernel} on {architecture}, {cpus} CPUs, Python {python}, {runtime}".format(**host)
    return TEXT.format(machine=said, table=table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/bench", description="Measure the lading command.")
    parser.add_argument("--into", type=Path, default=DOCS, help="the folder for benchmarks.md and benchmarks.json")
    parser.add_argument("--containers", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, engine() as command:
        figures = [measure_start(command, 30)]
        for count in options.containers:
            figures += measure_containers(command, count, options.rounds, Path(folder))
        host = machine(command)
    print(plain(figures))
    document = {"machine": host, "figures": [asdict(one) for one in figures]}
    (options.into / "benchmarks.json").write_text(json.dumps(document, indent=2) + "\n")
    (options.into / "benchmarks.md").write_text(markdown(figures, host))
    return 0


if __name__ == "__main__":
    sys.exit(main())
