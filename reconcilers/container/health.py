"""Health checks (PURE): which one holds, when to probe next, and what the answers so far mean.

Until the first success it is probed at once and then ever more seldom, up to the interval, so that what is quickly up is
quickly ready; a failure counts only once the start period, or one interval, is over.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from drivers.images.interface import HealthCheck
from resources.container_parts import Health

NOTE = "health"
_EARLY = timedelta(milliseconds=200)
STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"


@dataclass(frozen=True, slots=True)
class Record:
    """The answers so far of one attempt, as kept in a task's notes."""

    attempt: int
    at: datetime
    """The end of the last probe."""
    streak: int = 0
    """Failures in a row that count."""
    since: datetime | None = None
    """Healthy since; None when it is not, or not yet."""
    message: str = ""


def effective_check(manifest: Health | str | None, image: HealthCheck | None) -> Health | None:
    """The manifest's; where it is silent, the image's HEALTHCHECK."""
    if isinstance(manifest, Health):
        return manifest
    if manifest is not None or image is None or image.test[0] == "NONE":
        return None
    command = image.test[1:] if image.test[0] == "CMD" else ("/bin/sh", "-c", image.test[1])
    given = {
        "interval": image.interval,
        "timeout": image.timeout,
        "retries": image.retries,
        "start_period": image.start_period,
    }
    return Health(exec=command).model_copy(update={name: value for name, value in given.items() if value})


def record_of(notes: Mapping[str, Any], attempt: int) -> Record | None:
    """What is noted of this attempt; an earlier one's says nothing."""
    found = notes.get(NOTE)
    if not isinstance(found, Mapping) or found.get("attempt") != attempt:
        return None
    since = found.get("since")
    return Record(
        attempt=attempt,
        at=datetime.fromisoformat(found["at"]),
        streak=int(found.get("streak", 0)),
        since=datetime.fromisoformat(since) if since else None,
        message=str(found.get("message", "")),
    )


def note(record: Record) -> Mapping[str, Any]:
    since = record.since.isoformat() if record.since else None
    return {NOTE: {**asdict(record), "at": record.at.isoformat(), "since": since}}


def state(check: Health, record: Record | None) -> str:
    if record is not None and record.streak >= check.retries:
        return UNHEALTHY
    return HEALTHY if record is not None and record.since is not None else STARTING


def next_probe(check: Health, started_at: datetime, record: Record | None) -> datetime:
    interval = timedelta(milliseconds=check.interval)
    if record is None:
        return started_at + min(interval, _EARLY)
    if state(check, record) == STARTING:
        return record.at + min(interval, max(_EARLY, record.at - started_at))
    return record.at + interval


def judged(
    check: Health,
    started_at: datetime,
    before: Record | None,
    attempt: int,
    *,
    healthy: bool,
    message: str,
    at: datetime,
) -> Record:
    """The record after one more answer."""
    since = before.since if before is not None else None
    if healthy:
        since = since or at
        return Record(attempt, at, 0, since, message)
    grace = timedelta(milliseconds=max(check.start_period, check.interval))
    known = before is not None and (before.since is not None or before.streak > 0)
    counts = known or at >= started_at + grace
    streak = (before.streak if before else 0) + int(counts)
    return Record(attempt, at, streak, since if streak < check.retries else None, message)
