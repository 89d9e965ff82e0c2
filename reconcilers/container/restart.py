"""Whether and when a process that has ended runs again (PURE).

The first restart is at once; each further one waits twice as long as the last, until an attempt has been up for ten
seconds. How many came in a row is in the task record, so the count goes on with the next engine.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from drivers.runtime.interface import TaskState
from resources.container_parts import Restart

STEADY = timedelta(seconds=10)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Verdict:
    due: datetime | None
    """When to run again; None is never."""
    failures: int = 0
    """How many restarts came in a row, this one included."""
    exhausted: bool = False
    """maxRetries is why it is never."""


def verdict(policy: Restart, task: TaskState, *, forced: bool = False) -> Verdict:
    """`forced`: it was ended because it was unhealthy, so whatever the policy says."""
    if not forced and not _wanted(policy, task):
        return Verdict(None)
    before = 0 if _was_steady(task) else int(task.applied.get("failures", 0))
    if policy.max_retries and before >= policy.max_retries:
        return Verdict(None, before, exhausted=True)
    # When it ended is not known after a reboot: long ago.
    return Verdict((task.finished_at or _LONG_AGO) + delay(policy, before), before + 1)


def delay(policy: Restart, failures: int) -> timedelta:
    if failures == 0:
        return timedelta(0)
    millis = min(policy.backoff.max, policy.backoff.initial * (1 << min(failures - 1, 32)))
    return timedelta(milliseconds=millis)


def succeeded(task: TaskState) -> bool:
    return task.exit_known and task.exit_code == 0


def _wanted(policy: Restart, task: TaskState) -> bool:
    if policy.policy == "on-failure":
        return not succeeded(task)
    return policy.policy != "never"


def _was_steady(task: TaskState) -> bool:
    if task.rebooted or task.started_at is None or task.finished_at is None:
        return task.rebooted
    return task.finished_at - task.started_at >= STEADY
