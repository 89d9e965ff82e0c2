"""Refuse modules that grow too long or are named for nothing in particular."""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDS_REASON = 400
REFUSED = 600
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}


def sources() -> Iterator[Path]:
    for folder in ("controller", "resources", "reconcilers", "manifests", "drivers", "tests", "benchmarks", "script"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def problems(reasons: dict[str, str]) -> Iterator[str]:
    for path in sources():
        name = str(path.relative_to(ROOT))
        if EMPTY_NAMES & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}:
            yield f"{name}: the name says nothing; name it for what it holds"
        lines = len(path.read_text().splitlines())
        if lines > REFUSED:
            yield f"{name}: {lines} lines, more than {REFUSED}; split it"
        elif lines > NEEDS_REASON and name not in reasons:
            yield f"{name}: {lines} lines, more than {NEEDS_REASON}; split it, or give a reason in pyproject.toml"
        elif lines <= NEEDS_REASON and name in reasons:
            yield f"{name}: {lines} lines; its reason in pyproject.toml is no longer needed"
    for name in reasons:
        if not (ROOT / name).exists():
            yield f"{name}: is given a reason in pyproject.toml but does not exist"


def main() -> int:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    found = list(problems(project["tool"].get("lading", {}).get("long-modules", {})))
    print("\n".join(found) or "module sizes and names: fine")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
