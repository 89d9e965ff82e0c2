"""Say what is so of a Container (PURE)."""

from dataclasses import dataclass
from typing import Any

from drivers.runtime.interface import TaskState, TaskStatus
from reconcilers import conditions
from reconcilers.container.changes import worst
from reconcilers.container.diff import ContainerDiff, asked_to_end, diff, ended
from reconcilers.container.health import HEALTHY, STARTING, UNHEALTHY, Record, effective_check, record_of, state
from reconcilers.container.intent import CREATED, STOPPED, Intent, intent
from reconcilers.container.model import ALIVE, Observed
from reconcilers.container.restart import succeeded, verdict
from reconcilers.container.stop import since_when
from reconcilers.interface import ChangeKind, Context
from resources.meta import Condition, Status
from resources.object import Object

UNKNOWN_EXIT = "unknown"


@dataclass(frozen=True, slots=True)
class _Report:
    phase: str
    reason: str = ""
    """Why it is not ready; "" where it is."""
    message: str = ""

    @property
    def ready(self) -> bool:
        return not self.reason


def status(desired: Object, observed: Observed, context: Context) -> Status:
    asked = intent(desired, observed, context)
    decided = diff(desired, observed, context)
    task = observed.current.task if observed.current else None
    health = _health(asked, task)
    report = _report(desired, asked, task, health, decided)
    report = _with_waiting(report, decided)
    return conditions.status(
        desired,
        report.phase,
        *_conditions(desired, asked, task, health, report, decided, context),
        **_fields(desired, asked, observed, task, health, report),
    )


def _report(desired: Object, asked: Intent, task: TaskState | None, health: str, decided: ContainerDiff) -> _Report:
    if desired.deleting:
        return _Report("Deleting", "Deleting", decided.waiting)
    if task is None or not (ended(task) or task.status in ALIVE):
        return _unmade(asked, task, decided)
    if ended(task):
        return _ended(asked, task, decided)
    if task.status is TaskStatus.CREATED:
        return _Report("Created" if asked.state == CREATED else "Creating", "NotStarted", task.error or _by(desired))
    if since_when(task) is not None:
        return _Report("Stopping", "Stopping", "its process is asked to end")
    if task.status is TaskStatus.PAUSED:
        return _Report("Paused", "Paused", _by(desired))
    if health == UNHEALTHY:
        return _Report("Unhealthy", "Unhealthy", _message(task))
    if health == STARTING:
        return _Report("Starting", "HealthUnknown", "its health check has not succeeded yet")
    return _Report("Running")


def _unmade(asked: Intent, task: TaskState | None, decided: ContainerDiff) -> _Report:
    if asked.state == STOPPED:
        return _Report("Stopped", "Stopped", _by(asked.object))
    if task is not None and task.error:
        reason, _, message = task.error.partition(": ")
        return _Report("Creating", reason if message else "CreateFailed", message or task.error)
    if decided.waiting:
        return _Report("Waiting", "Waiting", decided.waiting)
    return _Report("Creating" if decided.actions else "Pending", "Creating")


def _ended(asked: Intent, task: TaskState, decided: ContainerDiff) -> _Report:
    code = UNKNOWN_EXIT if task.exit_code is None else task.exit_code
    told = "it was killed for using too much memory" if task.oom_killed else f"its process ended with exit code {code}"
    if asked.state in (STOPPED, CREATED):
        return _Report("Stopped", "Stopped", _by(asked.object) or told)
    if decided.waiting and decided.kind >= ChangeKind.RESTART:
        return _Report("Waiting", "Waiting", decided.waiting)
    if worst(decided.changes) >= ChangeKind.RECREATE or asked_to_end(task):
        return _Report("Restarting", "Restarting", told)
    again = verdict(asked.spec.restart, task)
    if again.due is not None or task.applied.get("restartRequest", "") != asked.applied["restartRequest"]:
        return _Report("Restarting", "Restarting", f"{told}; it is started again")
    if succeeded(task):
        return _Report("Completed")
    given_up = f" after {again.failures} restarts" if again.exhausted else ""
    return _Report("Failed", "OOMKilled" if task.oom_killed else "Failed", told + given_up)


def _with_waiting(report: _Report, decided: ContainerDiff) -> _Report:
    """What runs goes on while a change of it waits; it is not ready, since it is not what is asked for."""
    if not decided.waiting or report.message:
        return report
    return _Report(report.phase, report.reason or "Waiting", decided.waiting)


def _health(asked: Intent, task: TaskState | None) -> str:
    """ "" where there is no check, or nothing runs that could be healthy."""
    check = effective_check(asked.spec.health, asked.image.health if asked.image else None)
    if check is None or task is None or task.status not in (TaskStatus.RUNNING, TaskStatus.PAUSED):
        return ""
    return state(check, record_of(task.notes, task.attempt))


def _message(task: TaskState) -> str:
    record = record_of(task.notes, task.attempt)
    return record.message if record else ""


def _by(desired: Object) -> str:
    held, state = desired.suspension, desired.effective.state
    if held:
        return f"{held.state} by {held.by}"
    return f"its manifest says {state}" if state in ("stopped", "paused", CREATED) else ""


def _conditions(
    desired: Object,
    asked: Intent,
    task: TaskState | None,
    health: str,
    report: _Report,
    decided: ContainerDiff,
    context: Context,
) -> list[Condition]:
    def said(type: str, holds: bool | None, reason: str, message: str = "") -> Condition:
        return conditions.condition(desired, context, holds, reason, message, type=type)

    running = task is not None and task.status in (TaskStatus.RUNNING, TaskStatus.PAUSED)
    over = report.phase == "Completed"
    # A change that still waits makes this the life of an earlier generation.
    current = worst([c for c in decided.changes if not c.drift]) < ChangeKind.RESTART
    found = [
        said("Ready", report.ready and current, report.reason or report.phase, report.message),
        said("Started", (running or over) and current, report.phase),
        said("Completed", over and current, report.phase),
        said("DependenciesReady", not context.blockers, "Blocked" if context.blockers else "Ready", _words(context)),
    ]
    checked = effective_check(asked.spec.health, asked.image.health if asked.image else None) is not None
    if checked:
        holds = None if health == STARTING else health == HEALTHY and current
        found.append(said("Healthy", holds, health.capitalize() or "NotRunning", report.message))
    return found


def _words(context: Context) -> str:
    return "; ".join(context.blockers)


def _fields(
    desired: Object, asked: Intent, observed: Observed, task: TaskState | None, health: str, report: _Report
) -> dict[str, Any]:
    life = observed.current
    fields: dict[str, Any] = {
        "image": desired.effective.image if isinstance(desired.effective.image, str) else desired.effective.image.name,
        "imageDigest": observed.image.id if observed.image else None,
        "incarnation": int(life.id[32:], 16) if life else None,
        "containerId": life.id if life else None,
        "suspendedBy": desired.suspension.by if desired.suspension else None,
        "message": report.message or None,
        **_network_fields(asked, observed),
    }
    if task is None:
        return fields
    exited = ended(task)
    return {
        **fields,
        "imageDigest": task.applied.get("image", fields["imageDigest"]),
        "pid": task.pid,
        "startedAt": task.started_at.isoformat() if task.started_at else None,
        "finishedAt": task.finished_at.isoformat() if exited and task.finished_at else None,
        "exitCode": (UNKNOWN_EXIT if task.exit_code is None else task.exit_code) if exited else None,
        "oomKilled": task.oom_killed if exited else None,
        "restarts": max(0, task.attempt - 1),
        "health": _health_fields(record_of(task.notes, task.attempt), health) if health else None,
    }


def _network_fields(asked: Intent, observed: Observed) -> dict[str, Any]:
    found = {
        one.network: {"addresses": list(one.plain), "interface": one.interface, "mac": one.mac}
        for one in asked.networks.endpoints
    }
    ports = [
        {"host": port.host, "address": address, "container": port.container, "protocol": port.protocol}
        for port in observed.network.published
        for address in ([port.address] if port.address else ["0.0.0.0", "::"])
    ]
    return {"networks": found or None, "ports": ports or None}


def _health_fields(record: Record | None, health: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"state": health}
    if record is not None:
        fields |= {"failingStreak": record.streak, "lastProbe": record.at.isoformat(), "message": record.message}
    return fields
