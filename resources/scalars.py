"""Scalars of the manifest language: sizes, durations, cpus, file modes. Canonical in Python, as written in JSON.

Python sees integers in base units (bytes, milliseconds, millicpus, mode bits); JSON and YAML see the language's own
form ("512Mi", "1m30s", "1.5", "0400"), and whatever is written parses back to the same integer.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SIZES = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_SIZE = re.compile(r"(\d{1,18})([kMG]i?|Ki)?")
_DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,3})?)s)?(?:(\d{1,12})ms)?")
_CPUS = re.compile(r"\d{1,6}(\.\d{1,3})?|\d{1,9}m")
MAX_INTEGER = 2**63 - 1


def parse_size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("a size is bytes or a number with k, M, G, Ki, Mi or Gi, such as 512Mi")
    if isinstance(value, int):
        if not 0 <= value <= MAX_INTEGER:
            raise ValueError("a size is between 0 and 2^63-1 bytes")
        return value
    match = _SIZE.fullmatch(value)
    if match is None or match[2] == "ki":
        suggestion = re.fullmatch(r"(\d+)\s*([kKmMgG])(i?)[bB]?", value)
        if suggestion:
            raise ValueError(f"{value!r} is not a size; say {suggestion[1]}{suggestion[2].upper()}i")
        raise ValueError(f"{value!r} is not a size: bytes, or a number with k, M, G, Ki, Mi or Gi, such as 512Mi")
    size = int(match[1]) * _SIZES[match[2] or ""]
    if size > MAX_INTEGER:
        raise ValueError("a size is between 0 and 2^63-1 bytes")
    return size


def format_size(size: int) -> str | int:
    for unit in ("Gi", "Mi", "Ki"):
        if size and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return size


def parse_duration(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value == 0:
        return 0
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        hint = f"; say {value}s" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        raise ValueError(f"{_shown(value)} is not a duration such as 500ms, 2s or 1m30s{hint}")
    hours, minutes, seconds, millis = match.groups()
    total = (
        (int(hours or 0) * 3600 + int(minutes or 0) * 60) * 1000 + round(float(seconds or 0) * 1000) + int(millis or 0)
    )
    if total > MAX_INTEGER // 10**6:
        raise ValueError(f"{value!r} is too long")
    return total


def _shown(value: Any) -> str:
    """As YAML has it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def format_duration(millis: int) -> str:
    if millis == 0:
        return "0s"
    rest, parts = millis, []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_cpus(value: Any) -> int:
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or _CPUS.fullmatch(text) is None:
        raise ValueError(f"{_shown(value)} is not a number of cpus such as 1.5 or 1500m")
    millis = int(text[:-1]) if text.endswith("m") else round(float(text) * 1000)
    if millis <= 0:
        raise ValueError("cpus must be more than 0")
    return millis


def format_cpus(millis: int) -> int | float:
    return millis // 1000 if millis % 1000 == 0 else millis / 1000


def parse_mode(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f'a file mode is quoted: say "{value:04d}" if you mean mode {value:04d}')
    if not isinstance(value, str) or re.fullmatch(r"[0-7]{3,5}", value) is None or int(value, 8) > 0o7777:
        raise ValueError(f'{value!r} is not a file mode such as "0400"')
    return int(value, 8)


def format_mode(mode: int) -> str:
    return f"{mode:04o}"


def parse_text(value: Any) -> str:
    """Values of env, labels and data take any scalar, kept as written: the decoder hands over the written text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("must be a scalar")
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d{1,18}([kMG]|Ki|Mi|Gi)?$"},
                {"type": "integer", "minimum": 0},
            ]
        }
    ),
]
"""Bytes."""
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+h)?(\d+m)?(\d+(\.\d+)?s)?(\d+ms)?$"}),
]
"""Milliseconds."""
Cpus = Annotated[
    int,
    BeforeValidator(parse_cpus),
    PlainSerializer(format_cpus, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^(\d+(\.\d{1,3})?|\d+m)$"},
            ]
        }
    ),
]
"""Thousandths of a cpu."""
FileMode = Annotated[
    int,
    BeforeValidator(parse_mode),
    PlainSerializer(format_mode, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^[0-7]{3,5}$"}),
]
"""Permission bits."""
Text = Annotated[
    str,
    BeforeValidator(parse_text),
    WithJsonSchema({"type": ["string", "number", "integer", "boolean"]}),
]
"""Any scalar, kept as written."""
