"""Failures are events: one for each that differs, and no more for trying again."""

import pytest

from controller.reports.failures import Failures
from resources.errors import InvalidArgument, NotFound
from resources.kinds import Kind
from resources.meta import Key, Status
from tests.unit.controller.cli.fake_objects import status
from tests.unit.controller.cli.fakes import FakeEvents

KEY = Key(kind=Kind.IMAGE, uid="a" * 32)
PULLING = status(False, "Pulling", "pull x 3%", reason="Pulling")


def retrying(message: str, reason: str = "Unavailable") -> Status:
    return status(False, "Retrying", f"{message}; it is tried again", reason=reason)


class Told(Failures):
    def __init__(self) -> None:
        self.log = FakeEvents()
        super().__init__(self.log)
        self.before: Status | None = None

    def reports(self, *reports: Status) -> list[str]:
        """What is told when these are reported one after the other."""
        begin = len(self.log.entries)
        for report in reports:
            self.note(KEY, self.before, report, again=False)
            self.before = report
        assert {event.reason for event in self.log.entries} <= {"Failed"}
        return [event.message for event in self.log.entries[begin:]]


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_job_that_fails_again_and_again_is_told_once(told: Told) -> None:
    assert told.reports(*[PULLING, retrying("nobody answers at port 40001")] * 3) == [
        "nobody answers at port 40001; it is tried again"
    ]
    assert told.reports(retrying("nobody answers at port 40002")) == [], "another number is no other failure"
    assert told.reports(PULLING, retrying("there is no such host")) == ["there is no such host; it is tried again"]
    assert told.reports(PULLING, retrying("there is no such host", "NotFound")) != []


def test_that_it_goes_on_for_long_is_told_now_and_then(told: Told) -> None:
    said = told.reports(*[PULLING, retrying("nobody answers")] * 120)
    assert [message.partition("again")[2] for message in said] == ["", " (for the 10th time)", " (for the 100th time)"]
    assert [event.data for event in told.log.entries] == [{}, {"count": 10}, {"count": 100}]


def test_looking_at_it_is_not_failing(told: Told) -> None:
    assert len(told.reports(*[retrying("nobody answers")] * 50)) == 1


def test_after_it_has_worked_a_failure_is_news(told: Told) -> None:
    for _ in range(2):
        assert len(told.reports(retrying("nobody answers"))) == 1
        assert told.reports(status()) == []


def test_waiting_and_an_exit_code_are_no_failures(told: Told) -> None:
    waiting = status(False, "Waiting", "container/db is not healthy", reason="Waiting")
    assert told.reports(waiting, status(False, "Failed", "it ended with exit code 1", reason="Failed")) == []


def test_an_action_fails_in_every_pass(told: Told) -> None:
    report = status(False, "Creating", "no such user", reason="NotFound")
    for _ in range(10):
        told.note(KEY, report, report, again=True)
    assert [event.message for event in told.log.entries] == ["no such user", "no such user (for the 10th time)"]


def test_what_nobody_desires_can_fail_too(told: Told) -> None:
    told.tell(KEY, NotFound("no root"))
    told.tell(KEY, ExceptionGroup("several", [NotFound("no root"), InvalidArgument("no way")]))
    assert [event.message for event in told.log.entries] == ["no root", "no root; no way"]
