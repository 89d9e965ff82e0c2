"""Each key once, never twice at once, and never forgotten."""

import threading
import time
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from controller.workqueue import LAST_RETRY, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_key_asked_for_twice_comes_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [queue.get(), queue.get()] == ["a", "b"]
    assert not queue.idle("a")
    queue.done("a")
    assert queue.idle("a")


def test_a_key_asked_for_while_it_is_processed_comes_again_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert queue.get() == "a"
    queue.add("a")
    queue.add("b")
    assert queue.get() == "b"
    queue.done("a")
    assert queue.get() == "a"


def test_the_earliest_time_wins_and_asking_at_once_cancels_it() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    queue.add("b")
    assert queue.get() == "b"
    queue.done("b")
    clock.now += 5
    assert queue.get() == "a"
    queue.done("a")
    queue.add_after("c", 3)
    queue.add("c")
    assert queue.get() == "c"
    queue.done("c")
    clock.now += 100
    queue.add("end")
    assert queue.get() == "end", "a later time that was overtaken is not kept"


def test_failures_wait_longer_each_time_until_one_goes_well() -> None:
    queue: WorkQueue[str] = WorkQueue(Clock())
    delays = [queue.add_backoff("a") for _ in range(30)]
    assert delays[0] < 0.2
    assert delays[3] > delays[0]
    assert max(delays) <= LAST_RETRY * 1.1
    assert queue.failing("a")
    queue.forget("a")
    assert not queue.failing("a")
    assert queue.add_backoff("a") < 0.2


def test_a_delayed_key_wakes_a_worker_that_waits() -> None:
    queue: WorkQueue[str] = WorkQueue()
    found: list[str | None] = []
    worker = threading.Thread(target=lambda: found.append(queue.get()))
    worker.start()
    queue.add_after("a", 0.02)
    worker.join(5)
    assert found == ["a"]


def test_closing_ends_every_worker() -> None:
    queue: WorkQueue[str] = WorkQueue()
    workers = [threading.Thread(target=queue.get) for _ in range(4)]
    for worker in workers:
        worker.start()
    queue.close()
    for worker in workers:
        worker.join(5)
    assert not any(worker.is_alive() for worker in workers)


@given(st.lists(st.sampled_from("abcdef"), max_size=60))
def test_no_key_is_processed_twice_at_once_and_none_is_lost(keys: list[str]) -> None:
    queue: WorkQueue[str] = WorkQueue()
    active: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    lock = threading.Lock()
    overlaps = []

    def work() -> None:
        while (key := queue.get()) is not None:
            with lock:
                active[key] += 1
                if active[key] > 1:
                    overlaps.append(key)
            with lock:
                active[key] -= 1
                seen[key] += 1
            queue.done(key)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for key in keys:
        queue.add(key)
    assert queue.wait_idle(5)
    queue.close()
    for worker in workers:
        worker.join(5)
    assert not overlaps
    assert set(seen) == set(keys)
    assert all(seen[key] <= keys.count(key) for key in seen)


def test_wait_idle_does_not_wait_for_what_is_due_later() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 60)
    begun = time.monotonic()
    assert queue.wait_idle(5)
    assert time.monotonic() - begun < 4
