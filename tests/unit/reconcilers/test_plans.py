"""Decisions as data: tests/plans/<kind>/*.yaml, each a list of cases: what is desired and observed, what follows.

A case gives `desired` (spec, inputs, generation, deleting, deleteData, name; absent: nothing is), what differs from the
file's `observed`, and `context` (planning, blockers, dependencies). `expect` names what is checked of the answer: `actions`
(as described), `changes`, `kind`, `waiting` (a part of the text), `wakes` (seconds from now), `ready`, `reason`, `phase`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconcilers.conditions import Decision
from reconcilers.image import diff as image
from reconcilers.image.model import ObservedImage
from reconcilers.interface import Context, Diff
from reconcilers.network import diff as network
from reconcilers.network.model import ObservedNetwork
from reconcilers.volume import diff as volume
from reconcilers.volume.model import ObservedVolume
from resources.kinds import Kind
from resources.meta import Status
from resources.object import Object
from tests.unit.reconcilers.decoding import decoded
from tests.unit.reconcilers.engines import NOW, made

PLANS = Path(__file__).resolve().parents[2] / "plans"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked of a kind: a diff, and a status of what exists."""

    kind: Kind
    observed: Any
    diff: Callable[[Object | None, Any, Context], Diff[Any]]
    status: Callable[[Object, Any, Context], Status]


def deciding(kind: Kind, observed: Any, decide: Callable[[Object | None, Any, Context], Decision[Any]]) -> Subject:
    return Subject(
        kind,
        observed,
        lambda desired, seen, context: decide(desired, seen, context).diff,
        lambda desired, seen, context: decide(desired, seen, context).status(desired, context),
    )


SUBJECTS = {
    "image": deciding(Kind.IMAGE, ObservedImage, image.decide),
    "volume": deciding(Kind.VOLUME, ObservedVolume, volume.decide),
    "network": deciding(Kind.NETWORK, ObservedNetwork, network.decide),
}


def cases() -> list[Any]:
    found = []
    for path in sorted(path for path in PLANS.glob("*/*.yaml") if path.parent.name in SUBJECTS):
        document = yaml.safe_load(path.read_text())
        for case in document["cases"]:
            subject = SUBJECTS[path.parent.name]
            name = f"{path.parent.name}: {case['case']}"
            found.append(pytest.param(subject, document.get("observed"), case, id=name))
    return found


def desired_object(subject: Subject, given: Mapping[str, Any] | None) -> Object | None:
    if given is None:
        return None
    return made(
        subject.kind,
        given.get("name", "web"),
        given["spec"],
        inputs=given.get("inputs"),
        generation=given.get("generation", 1),
        deleting=given.get("deleting", False),
        delete_data=given.get("deleteData", False),
    )


def summary(diff: Diff[Any], status: Status | None) -> dict[str, Any]:
    ready = status.condition("Ready") if status else None
    return {
        "actions": [action.describe() for action in diff.actions],
        "changes": [
            {"path": c.path, "old": c.old, "new": c.new, "kind": c.kind.name.lower(), "drift": c.drift}
            for c in diff.changes
        ],
        "kind": diff.kind.name.lower(),
        "waiting": diff.waiting,
        "wakes": None if diff.wake_at is None else (diff.wake_at - NOW).total_seconds(),
        "ready": status.ready if status else None,
        "reason": ready.reason if ready else None,
        "phase": status.phase if status else None,
    }


@pytest.mark.parametrize(("subject", "base", "case"), cases())
def test_plan(subject: Subject, base: dict[str, Any] | None, case: dict[str, Any]) -> None:
    seen = None if base is None else {**base, **case.get("observed", {})}
    observed = decoded(subject.observed, seen) if seen is not None else None
    desired = desired_object(subject, case.get("desired"))
    given = case.get("context", {})
    context = Context(NOW, {}, tuple(given.get("blockers", ())), given.get("planning", False))
    diff = subject.diff(desired, observed, context)
    found = summary(diff, subject.status(desired, observed, context) if desired else None)
    expected = dict(case["expect"])
    assert expected.keys() <= found.keys()
    waiting = expected.pop("waiting", None)
    if waiting:
        assert waiting in found["waiting"]
    elif waiting is not None:
        assert found["waiting"] == ""
    for change in expected.get("changes", ()):
        change.setdefault("drift", False)
    assert {name: found[name] for name in expected} == expected
    assert diff.kind == max((change.kind for change in diff.changes), default=0)


def test_every_kind_has_cases() -> None:
    # Those of containers are of a kind of their own: container/test_container_plans.py.
    assert {path.name for path in PLANS.iterdir()} == {*SUBJECTS, "container"}
