"""Plain data from a file into the frozen dataclasses that reconcilers observe, by their annotations alone."""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from resources import errors
from resources.meta import Model


def decoded(kind: Any, data: Any) -> Any:
    """Raises: TypeError where the data cannot be what is annotated."""
    if kind is Any:
        return data
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _one_of(get_args(kind), data)
    if origin is tuple:
        return tuple(decoded(get_args(kind)[0], item) for item in data)
    if origin is not None and issubclass(origin, Mapping):
        _, value = get_args(kind)
        return {key: decoded(value, item) for key, item in data.items()}
    if is_dataclass(kind) and isinstance(data, Mapping):
        hints, names = get_type_hints(kind), {field.name for field in fields(kind)}
        if not data.keys() <= names:
            raise TypeError(f"{getattr(kind, '__name__', kind)} has no {sorted(data.keys() - names)}")
        return kind(**{name: decoded(hints[name], item) for name, item in data.items()})
    if isinstance(kind, type):
        return _plain(kind, data)
    return data


def _plain(kind: type, data: Any) -> Any:
    if issubclass(kind, Model):
        return kind.parse(data)
    if issubclass(kind, BaseException) and isinstance(data, Mapping):
        return getattr(errors, data["class"])(data["message"], hint=data.get("hint", ""))
    if issubclass(kind, Path | Enum):
        return kind(data)
    if issubclass(kind, datetime):
        return data if isinstance(data, datetime) else datetime.fromisoformat(data)
    if not isinstance(data, kind):
        raise TypeError(f"{data!r} is no {kind.__name__}")
    return data


def _one_of(kinds: tuple[Any, ...], data: Any) -> Any:
    if data is None and type(None) in kinds:
        return None
    problems = []
    for kind in kinds:
        try:
            return decoded(kind, data)
        except TypeError as error:
            problems.append(str(error))
    raise TypeError("; ".join(problems))
