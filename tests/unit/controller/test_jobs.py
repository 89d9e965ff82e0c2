"""Long work: bounded, cancellable, told once, begun again after a failure."""

import threading
from collections.abc import Iterator

import pytest

from controller.jobs import ThreadJobs, job_key
from reconcilers.interface import JobPart, JobProgress
from resources.errors import Cancelled, Unavailable
from resources.kinds import Kind
from resources.meta import Key

JOB = f"image:{'a' * 32}/import"
KEY = Key(kind=Kind.IMAGE, uid="a" * 32)


class Ends:
    def __init__(self) -> None:
        self.keys: list[Key] = []
        self._one = threading.Semaphore(0)

    def __call__(self, key: Key) -> None:
        self.keys.append(key)
        self._one.release()

    def wait(self) -> None:
        assert self._one.acquire(timeout=5)


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def jobs(ends: Ends) -> Iterator[ThreadJobs]:
    made = ThreadJobs({"images": 1}, ends)
    yield made
    made.close()


def test_a_job_runs_once_and_wakes_its_key(jobs: ThreadJobs, ends: Ends) -> None:
    release, runs = threading.Event(), []

    def work(progress: JobProgress) -> None:
        runs.append(1)
        progress("reading", 3, 10)
        assert release.wait(5)

    jobs.start(JOB, "images", work)
    jobs.start(JOB, "images", work)
    release.set()
    ends.wait()
    state = jobs.state(JOB)
    assert state is not None
    assert (state.running, state.what, state.done, state.total, state.error) == (False, "reading", 3, 10, None)
    assert runs == [1]
    assert ends.keys == [KEY] == [job_key(JOB)]


def test_each_thing_a_job_does_is_told_whichever_thread_tells_of_it(jobs: ThreadJobs, ends: Ends) -> None:
    def work(progress: JobProgress) -> None:
        def fetch(what: str) -> None:
            for done in range(201):
                progress(what, done, 200)

        threads = [threading.Thread(target=fetch, args=(f"layer {number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    jobs.start(JOB, "images", work)
    ends.wait()
    state = jobs.state(JOB)
    assert state is not None
    assert not state.running
    assert sorted(state.parts, key=lambda part: part.what) == [JobPart(f"layer {n}", 200, 200) for n in range(8)]


def test_a_failed_job_says_why_and_is_begun_again_when_asked(jobs: ThreadJobs, ends: Ends) -> None:
    outcomes: list[Exception | None] = [Unavailable("no"), None]

    def work(_: JobProgress) -> None:
        error = outcomes.pop(0)
        if error:
            raise error

    jobs.start(JOB, "images", work)
    ends.wait()
    state = jobs.state(JOB)
    assert state is not None
    assert isinstance(state.error, Unavailable)
    jobs.start(JOB, "images", work)
    ends.wait()
    state = jobs.state(JOB)
    assert state is not None
    assert state.error is None


def test_what_is_more_than_the_pool_waits_and_can_be_cancelled_before_it_begins(jobs: ThreadJobs, ends: Ends) -> None:
    release = threading.Event()
    jobs.start(JOB, "images", lambda _: release.wait(5) and None)
    second = f"image:{'b' * 32}/import"
    ran: list[int] = []
    jobs.start(second, "images", lambda _: ran.append(1))
    jobs.cancel(second)
    release.set()
    ends.wait()
    ends.wait()
    state = jobs.state(second)
    assert state is not None
    assert isinstance(state.error, Cancelled)
    assert not ran


def test_a_running_job_is_cancelled_at_its_next_word_and_forgotten(jobs: ThreadJobs, ends: Ends) -> None:
    begun, release, ended = threading.Event(), threading.Event(), []

    def work(progress: JobProgress) -> None:
        begun.set()
        release.wait(5)
        try:
            progress("reading", 1, 2)
        except Cancelled:
            ended.append("cancelled")
            raise

    jobs.start(JOB, "images", work)
    assert begun.wait(5)
    jobs.forget(JOB)
    release.set()
    ends.wait()
    assert ended == ["cancelled"]
    assert jobs.state(JOB) is None
    assert jobs.running() == 0


def test_a_lane_leaves_room_for_others(ends: Ends) -> None:
    """Of six at once two may be of one lane; what is of no lane may take all that is left."""
    jobs = ThreadJobs({"pulls": 6}, ends)
    release, begun = threading.Event(), threading.Semaphore(0)
    started: list[str] = []

    def start(number: int, lane: str) -> None:
        def work(progress: JobProgress) -> None:
            started.append(lane)
            begun.release()
            assert release.wait(5)

        jobs.start(f"image:{number:032x}/import", "pulls", work, lane)

    for number in range(4):
        start(number, "slow")
    for number in range(4, 7):
        start(number, f"other{number}")
    for _ in range(5):
        assert begun.acquire(timeout=5)
    assert not begun.acquire(timeout=0.1)
    assert sorted(started) == ["other4", "other5", "other6", "slow", "slow"]
    start(7, "")
    start(8, "")
    assert begun.acquire(timeout=5)
    assert not begun.acquire(timeout=0.1)
    release.set()
    for _ in range(9):
        ends.wait()
    assert sorted(started[6:]) == ["", "slow", "slow"]
    assert jobs.running() == 0
    jobs.close()
