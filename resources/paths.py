"""Paths of fields as messages, plans and inputs write them: `spec.mounts[0].target`, `spec.files["site.conf"]`."""

import json
import re
from collections.abc import Iterable, Iterator

_PLAIN = re.compile(r"[A-Za-z0-9_/-]+")
_STEP = re.compile(r'\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|\.?([A-Za-z0-9_/-]+)')


def join(path: str, step: str | int) -> str:
    """Add a key or an index; a key that is more than a plain word is quoted, so that `split` can take it apart."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    if _PLAIN.fullmatch(step) is None:
        return f"{path}[{json.dumps(step)}]"
    return f"{path}.{step}" if path else step


def joined(steps: Iterable[str | int]) -> str:
    path = ""
    for step in steps:
        path = join(path, step)
    return path


def split(path: str) -> Iterator[str | int]:
    """The steps of a path that `join` made."""
    for match in _STEP.finditer(path):
        index, quoted, plain = match.groups()
        yield int(index) if index else json.loads(quoted) if quoted else plain
