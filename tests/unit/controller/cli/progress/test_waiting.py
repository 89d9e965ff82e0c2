"""When a wait is over, and when it has failed."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from controller.cli.progress.showing import Look
from controller.cli.progress.waiting import Unsettled, judged, until_gone, until_ready
from resources.container import ContainerSpec
from resources.kinds import Kind
from resources.meta import Condition, Key, Ref, Status
from tests.unit.controller.api.backend import NOW, made
from tests.unit.controller.cli.fakes import FakeBackend, status


@pytest.mark.parametrize(
    ("ready", "settled", "done", "failed"),
    [("True", True, True, False), ("True", False, False, False), ("False", True, False, True)],
)
def test_a_job_that_has_ended_well_has_not_failed(ready: Any, settled: bool, done: bool, failed: bool) -> None:
    """The loop may be about to look once more: that is to be waited for, and is no failure."""
    job = made(Kind.CONTAINER, "job", ContainerSpec.parse({"image": "busybox"}))
    condition = Condition(type="Ready", status=ready, reason="Completed", last_transition_time=NOW)
    report = Status(phase="Completed", observed_generation=1, conditions=(condition,))
    objects = SimpleNamespace(get=lambda key: job, status=lambda key: report)
    backend: Any = SimpleNamespace(objects=objects, settled=lambda key: settled)
    look = until_ready(backend, job.key, job.ref)
    assert (look.done, look.failed) == (done, failed)


@pytest.mark.parametrize(("other_goes", "done"), [(True, False), (False, True)])
def test_what_is_implied_and_used_again_is_not_waited_for(backend: FakeBackend, other_goes: bool, done: bool) -> None:
    bridge = backend.objects.add(Kind.NETWORK, "bridge", {}, implied=True)
    backend.objects.report(bridge, status())
    ending: dict[str, Any] = {"deletion_timestamp": NOW}
    old = backend.objects.add(Kind.CONTAINER, "old", {"image": "nginx"}, **ending)
    new = backend.objects.add(Kind.CONTAINER, "new", {"image": "nginx"}, **(ending if other_goes else {}))
    backend.edges = [(old.ref, bridge.ref, "ready"), (new.ref, bridge.ref, "ready")]
    look = until_gone(backend, bridge.key, bridge.ref)
    assert (look.done, look.failed) == (done, False)
    assert look.message == ("stays: container/new needs it" if done else "goes with its last user")


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (status(False, "Creating", "no such user", reason="NotFound"), ""),
        (status(False, "Deleting", "its process is asked to end", reason="Deleting"), "its process is asked to end"),
        (status(False, "Deleting", "it cannot be unmounted", reason="Unavailable"), "it cannot be unmounted"),
    ],
)
def test_an_error_of_before_is_not_one_of_the_deletion(backend: FakeBackend, report: Status, said: str) -> None:
    web = backend.objects.add(Kind.CONTAINER, "web", {"image": "nginx"}, deletion_timestamp=NOW)
    backend.objects.report(web, report)
    look = until_gone(backend, web.key, web.ref)
    assert (look.phase, look.message, look.failed) == ("Deleting", said, False)


def test_an_error_of_an_earlier_manifest_is_not_one_of_this(backend: FakeBackend) -> None:
    web = backend.objects.add(Kind.CONTAINER, "web", {"image": "nginx"}, generation=2)
    old = status(False, "Failed", "no such user", reason="NotFound")
    backend.objects.report(web, old)
    look = until_ready(backend, web.key, web.ref)
    assert isinstance(look, Unsettled)
    assert not look.failed
    (condition,) = old.conditions
    now = condition.model_copy(update={"observed_generation": 2, "message": "it cannot be looked at"})
    backend.objects.report(web, old.model_copy(update={"phase": "Running", "conditions": (now,)}))
    look = until_ready(backend, web.key, web.ref)
    assert (look.message, look.tried_again) == ("it cannot be looked at", True)


def test_a_chain_of_any_length_is_judged_from_its_end_and_a_ring_at_all(backend: FakeBackend) -> None:
    chain = [Key(kind=Kind.CONTAINER, uid=f"{number:032x}") for number in range(3000)]
    refs = {key: Ref(kind=Kind.CONTAINER, namespace="default", name=f"c{key.uid[-5:]}") for key in chain}
    uses = {user: [used] for user, used in pairwise(chain)}
    asked: list[Key] = []

    def judge(_: Any, key: Key, ref: Ref) -> Look:
        asked.append(key)
        return Look(ref, "Checking") if key == chain[-1] else Look(ref, "Running", done=True)

    looks = judged(backend, refs, refs, judge, uses, chain)
    assert asked == chain[::-1]
    assert not any(look.done for look in looks.values()), "each waits for the next one"
    ring = {chain[0]: [chain[1]], chain[1]: [chain[0]]}
    assert [look.done for look in judged(backend, refs, chain[:2], judge, ring, ()).values()] == [True, True]
