"""The task record: what is known of a task across engines and, but for its notes, across reboots."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from drivers.kernel import files
from drivers.kernel.durable import write_durable
from drivers.kernel.process import read_small
from drivers.runtime.interface import Limits
from resources.errors import DataLoss

_VERSION = 1
_MAX_RECORD = 16 << 20


@dataclass(frozen=True, slots=True)
class Exit:
    code: int | None
    """None when it cannot be known."""
    finished_at: datetime
    oom_killed: bool


@dataclass(frozen=True, slots=True)
class Record:
    attempt: int
    applied: Mapping[str, Any]
    boot_id: str
    cgroup: str = ""
    """The path of the task's cgroup below every hierarchy."""
    limits: Limits = field(default_factory=Limits)
    masked: tuple[str, ...] = ()
    readonly: tuple[str, ...] = ()
    terminal: bool = False
    started_at: datetime | None = None
    exit: Exit | None = None
    error: str = ""


def read_record(path: Path) -> Record | None:
    """Raises: DataLoss for a file that is not one of ours: nothing is made up in its place."""
    try:
        return _decode(json.loads(files.read(str(path), _MAX_RECORD)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataLoss(f"the task record {path} is damaged", hint="remove the container to start afresh") from error


def write_record(path: Path, record: Record) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durable(path, json.dumps(_encode(record), separators=(",", ":")).encode())


def _encode(record: Record) -> dict[str, Any]:
    value: dict[str, Any] = {f.name: getattr(record, f.name) for f in fields(record)}
    value["version"] = _VERSION
    value["applied"] = dict(record.applied)
    value["limits"] = {k: v for k, v in asdict(record.limits).items() if v is not None}
    value["started_at"] = record.started_at.isoformat() if record.started_at else None
    if record.exit:
        value["exit"] = {
            "code": record.exit.code,
            "finished_at": record.exit.finished_at.isoformat(),
            "oom_killed": record.exit.oom_killed,
        }
    return value


def _decode(value: dict[str, Any]) -> Record:
    ended, started = value.get("exit"), value.get("started_at")
    return Record(
        attempt=int(value["attempt"]),
        applied=dict(value["applied"]),
        boot_id=str(value["boot_id"]),
        cgroup=str(value.get("cgroup", "")),
        limits=Limits(**value.get("limits", {})),
        masked=tuple(value.get("masked", ())),
        readonly=tuple(value.get("readonly", ())),
        terminal=bool(value.get("terminal", False)),
        started_at=datetime.fromisoformat(started) if started else None,
        exit=Exit(
            code=None if ended["code"] is None else int(ended["code"]),
            finished_at=datetime.fromisoformat(ended["finished_at"]),
            oom_killed=bool(ended["oom_killed"]),
        )
        if ended
        else None,
        error=str(value.get("error", "")),
    )


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON object of ours in the run root; empty when it is absent or was cut short."""
    try:
        value = json.loads(read_small(str(path)) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
