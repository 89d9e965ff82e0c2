"""What the state of a job means for the work that is wanted, and how conditions tell it."""

from datetime import timedelta

import pytest

from reconcilers.attempts import AttemptFailed, Turn, attempted, progress_text, turn
from reconcilers.conditions import condition, failure, status
from reconcilers.interface import Context, JobState
from resources.errors import Cancelled, DataLoss, ResourceExhausted, Unavailable
from resources.kinds import Kind
from tests.unit.reconcilers.engines import NOW, made


def failed(cause: Exception, work: str = "a", number: int = 1) -> JobState:
    return JobState(running=False, error=AttemptFailed(cause, work, number, NOW))


def test_begun_when_nothing_stands_in_its_way() -> None:
    other = failed(DataLoss("bad"), work="b")
    for state in (None, JobState(running=False), other, JobState(running=False, error=Cancelled("stopped"))):
        assert turn(state, "a", NOW) == Turn(start=1)


def test_running_is_waited_for() -> None:
    found = turn(JobState(True, "import", 1, 3), "a", NOW)
    assert (found.start, found.failed, found.message) == (0, False, "import 33%")
    assert progress_text(JobState(True)) == "queued"


def test_what_can_never_work_is_not_tried_again() -> None:
    found = turn(failed(DataLoss("bad", hint="send another")), "a", NOW + timedelta(days=1))
    assert found == Turn(failed=True, reason="DataLoss", message="bad (send another)")


def test_where_no_other_work_can_be_wanted_it_is_tried_again_all_the_same() -> None:
    state = failed(DataLoss("bad"))
    assert turn(state, "a", NOW, insist=True).wake_at == NOW + timedelta(seconds=0.5)
    assert turn(state, "a", NOW + timedelta(days=1), insist=True) == Turn(start=2)


@pytest.mark.parametrize(("number", "seconds"), [(1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (1000, 60)])
def test_what_may_pass_is_tried_again_ever_later(number: int, seconds: float) -> None:
    state = failed(Unavailable("busy"), number=number)
    due = NOW + timedelta(seconds=seconds)
    found = turn(state, "a", due - timedelta(milliseconds=1))
    assert (found.start, found.wake_at, found.failed) == (0, due, True)
    assert turn(state, "a", due) == Turn(start=number + 1)


def test_what_fails_for_good_is_told_from_what_goes_on() -> None:
    assert turn(failed(DataLoss("bad")), "a", NOW).failure == "Failed"
    assert turn(failed(Unavailable("away")), "a", NOW).failure == "Retrying"


def test_a_job_says_what_it_was_for_and_when_it_failed() -> None:
    def work(progress: object) -> None:
        raise ZeroDivisionError("oops")

    with pytest.raises(AttemptFailed) as error:
        attempted("a", 3, lambda: NOW, work)(lambda *_: None)
    found = error.value
    assert (found.work, found.number, found.at, found.retryable) == ("a", 3, NOW, True)
    assert (found.reason, str(found)) == ("InternalError", "ZeroDivisionError: oops")

    def cancelled(progress: object) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        attempted("a", 3, lambda: NOW, cancelled)(lambda *_: None)


def test_a_group_of_errors_is_told_whole() -> None:
    group = ExceptionGroup("teardown", [ResourceExhausted("full"), ExceptionGroup("more", [Unavailable("away")])])
    assert failure(group) == ("ResourceExhausted", "full; away")


def test_conditions_carry_generation_and_time() -> None:
    item = made(Kind.NETWORK, "net", {"driver": "host"}, generation=7)
    said = status(
        item,
        "Odd",
        condition(item, Context(NOW), None, "Perhaps", "who knows"),
        condition(item, Context(NOW), True, "Fine", type="Mounted"),
        path="/x",
        absent=None,
    )
    ready, mounted = said.conditions
    assert (ready.type, ready.status, ready.reason, ready.message) == ("Ready", "Unknown", "Perhaps", "who knows")
    assert (mounted.type, mounted.status) == ("Mounted", "True")
    assert {c.observed_generation for c in said.conditions} == {7} == {said.observed_generation}
    assert {c.last_transition_time for c in said.conditions} == {NOW}
    assert said.fields == {"path": "/x"}
