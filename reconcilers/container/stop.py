"""Ending a process (PURE): the signal, the patience, and then the kill. When it was asked is noted with the task."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pydantic

from drivers.images.interface import ImageConfig
from drivers.runtime.interface import TaskState, TaskStatus
from reconcilers.container.actions import ContainerAction, ResumeTask, SignalTask
from reconcilers.container.create import Steps
from reconcilers.container.intent import stop_signal
from reconcilers.container.model import Incarnation
from resources.container import ContainerSpec

KILL = 9
NOTE = "stop"
_AGAIN = timedelta(seconds=1)


def stopping(life: Incarnation, spec: ContainerSpec | None, image: ImageConfig | None, now: datetime) -> Steps:
    """`wake_at` is set while there is a process to wait for; nothing at all when there is none.

    Without a spec, that of the record holds.
    """
    task = life.task
    if task is None or task.status not in (TaskStatus.RUNNING, TaskStatus.PAUSED):
        return Steps()
    asked = spec or _applied_spec(task.applied)
    since = since_when(task)
    deadline = (since or now) + timedelta(milliseconds=asked.stop.timeout if asked else 0)
    if now >= deadline:
        kill = SignalTask(life.id, task.attempt, KILL, stopping=since or now, everything=True)
        return Steps((kill,), wake_at=now + _AGAIN)
    actions: list[ContainerAction] = []
    if task.status is TaskStatus.PAUSED:  # it heeds nothing but a kill
        actions.append(ResumeTask(life.id))
    if since is None or "signal" not in task.notes[NOTE]:
        number = stop_signal(asked, image) if asked else KILL
        actions.append(SignalTask(life.id, task.attempt, number, stopping=since or now))
    return Steps(tuple(actions), wake_at=deadline)


def since_when(task: TaskState) -> datetime | None:
    """When this attempt was asked to end."""
    noted = task.notes.get(NOTE)
    if not isinstance(noted, Mapping) or noted.get("attempt") != task.attempt:
        return None
    return datetime.fromisoformat(noted["at"])


def note(attempt: int, at: datetime, signal: int | None = None) -> Mapping[str, Any]:
    """Written before the signal, and with it once it is sent: a crash in between neither loses it nor why it came."""
    sent = {} if signal is None else {"signal": signal}
    return {NOTE: {"attempt": attempt, "at": at.isoformat(), **sent}}


def _applied_spec(applied: Mapping[str, Any]) -> ContainerSpec | None:
    try:
        return ContainerSpec.parse(applied.get("spec"))
    except pydantic.ValidationError:
        return None
