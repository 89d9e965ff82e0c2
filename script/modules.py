"""Refuse modules that grow too long, are named for nothing in particular, or call themselves PURE and are not."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDS_REASON = 400
REFUSED = 600
IMPURE = {"os", "subprocess", "socket", "sqlite3", "time", "asyncio", "pyroute2", "structlog"}
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}


def sources() -> Iterator[Path]:
    for folder in ("controller", "resources", "reconcilers", "manifests", "drivers", "tests", "benchmarks", "script"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def problems(reasons: dict[str, str]) -> Iterator[str]:
    for path in sources():
        name = str(path.relative_to(ROOT))
        if EMPTY_NAMES & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}:
            yield f"{name}: the name says nothing; name it for what it holds"
        text = path.read_text()
        yield from impurities(name, text)
        lines = len(text.splitlines())
        if lines > REFUSED:
            yield f"{name}: {lines} lines, more than {REFUSED}; split it"
        elif lines > NEEDS_REASON and name not in reasons:
            yield f"{name}: {lines} lines, more than {NEEDS_REASON}; split it, or give a reason in pyproject.toml"
        elif lines <= NEEDS_REASON and name in reasons:
            yield f"{name}: {lines} lines; its reason in pyproject.toml is no longer needed"
    for name in reasons:
        if not (ROOT / name).exists():
            yield f"{name}: is given a reason in pyproject.toml but does not exist"


def impurities(name: str, text: str) -> Iterator[str]:
    """A module whose head says PURE decides and touches nothing: it cannot import what touches the world."""
    tree = ast.parse(text)
    if "PURE" not in (ast.get_docstring(tree) or ""):
        return
    for node in ast.walk(tree):
        found = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in found:
            if module.split(".")[0] in IMPURE:
                yield f"{name}: is PURE and imports {module}"


def main() -> int:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    found = list(problems(project["tool"].get("lading", {}).get("long-modules", {})))
    print("\n".join(found) or "module sizes and names: fine")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
