"""What is known of a volume beside its data: one small file each, durable, replaced in one step."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from drivers.kernel import files
from drivers.kernel.durable import write_durable
from drivers.volumes.interface import VolumeConfig
from resources.errors import Conflict, DataLoss

_VERSION = 1
_MAX_RECORD = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    claim: str
    size: int | None
    uid: int
    gid: int
    mode: int
    populated: bool = False
    released: bool = False
    applied: VolumeConfig | None = None
    folder: str = ""
    """Where it is mounted, when that is not its id: memory that was taken back stays where it was."""


def read_record(path: Path) -> Record | None:
    """Raises: DataLoss for a file that is not one of ours: nothing is made up in its place."""
    try:
        value = json.loads(files.read(str(path), _MAX_RECORD))
        if value.pop("version") != _VERSION:
            raise ValueError
        applied = value.pop("applied")
        return Record(**value, applied=VolumeConfig(**applied) if applied else None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        hint = "the data beside it is untouched: write the record anew, or move the data away and delete the volume"
        raise DataLoss(f"the record of a volume, {path}, is damaged", hint=hint) from error


def write_record(path: Path, record: Record) -> None:
    value = {**asdict(record), "version": _VERSION}
    write_durable(path, json.dumps(value, separators=(",", ":")).encode())


def released_of(config: VolumeConfig, others: Iterable[tuple[str, Record]]) -> str | None:
    """Which of the others, the one changed last coming last, has the retained data of the claim; None when none has.

    Raises: Conflict when a live volume holds it.
    """
    found = None
    for volume_id, record in others:
        if volume_id == config.id or record.claim != config.claim:
            continue
        if not record.released:
            raise Conflict(
                f"the claim {config.claim} is held by volume {volume_id}", hint="delete that one first, or rename one"
            )
        found = volume_id
    return found
