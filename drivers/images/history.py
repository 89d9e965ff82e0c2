"""What an image's config says of how it was made, for people to read: bounded, and believed by nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drivers.images.interface import Descriptor
from drivers.images.limits import DEFAULT, Limits
from drivers.images.strictjson import load_object
from resources.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Step:
    created: str
    created_by: str
    comment: str
    layer: Descriptor | None
    """None for a step that changed no file."""


def steps(config: bytes, layers: Sequence[Descriptor], limits: Limits = DEFAULT) -> tuple[Step, ...]:
    """The oldest first. Layers that no step speaks of are there all the same, with a step that says nothing.

    Raises: InvalidArgument.
    """
    entries = load_object(config, "the config", limits.max_config).get("history") or []
    if not isinstance(entries, list) or len(entries) > limits.max_entries:
        raise InvalidArgument("the config: history is not a list")
    left = list(layers)
    found = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise InvalidArgument(f"the config: history[{number}] is not an object")
        changed = entry.get("empty_layer") is not True
        layer = left.pop(0) if changed and left else None
        found.append(Step(_text(entry, "created"), _text(entry, "created_by"), _text(entry, "comment"), layer))
    return (*found, *(Step("", "", "", layer) for layer in left))


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""
