"""How far work on an image is (PURE): layer by layer, and in all."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from reconcilers.attempts import progress_text
from reconcilers.interface import JobPart, JobState

_DIGEST = "sha256:"


def progress_words(state: JobState) -> str:
    what, done, total = _in_all(state)
    return progress_text(replace(state, what=what, done=done, total=total))


def progress_fields(state: JobState) -> dict[str, Any]:
    what, done, total = _in_all(state)
    layers = [{"digest": digest, "done": part.done, "total": part.total} for digest, part in _layers(state)]
    return {"what": what, "done": done, "total": total, "layers": layers}


def _in_all(state: JobState) -> tuple[str, int, int]:
    """Of layers, all together: the work tells of one after the other, and of several at once."""
    layers = [part for _, part in _layers(state)]
    what = state.what.rpartition(_DIGEST)[0].rstrip() if _digest(state.what) else state.what
    if not layers:
        return what, state.done, state.total
    return what, sum(part.done for part in layers), sum(part.total for part in layers)


def _layers(state: JobState) -> Iterator[tuple[str, JobPart]]:
    for part in state.parts:
        digest = _digest(part.what)
        if digest:
            yield digest, part


def _digest(what: str) -> str:
    last = what.rpartition(" ")[2]
    return last if last.startswith(_DIGEST) else ""
