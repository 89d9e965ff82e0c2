"""PURE: what differs between two effective specs, as it may be shown: of secrets only that they differ."""

import base64
from collections.abc import Iterator
from typing import Any

from controller.diff.fields import differences
from resources.config import ConfigContent
from resources.object import Object
from resources.paths import join
from resources.secret import SecretContent

_SHOWN = 80
"""Characters of a Config's value that a plan shows; of a longer one it shows the digest."""


def content_changes(before: Object, item: Object) -> Iterator[tuple[str, Any, Any]]:
    """(path, old, new), as a manifest writes the paths."""
    old, new = before.effective, item.effective
    if isinstance(new, SecretContent):
        for key in sorted({*old.entries, *new.entries}):
            was, will = old.entries.get(key), new.entries.get(key)
            if was is None or will is None or was.digest != will.digest:
                yield (
                    _path(key, item, before),
                    None if was is None else "(sealed)",
                    None if will is None else "(changed)",
                )
    elif isinstance(new, ConfigContent):
        for key in sorted({*old.digests, *new.digests}):
            if old.digests.get(key) != new.digests.get(key):
                yield _path(key, item, before), _shown(old, key), _shown(new, key)
    else:
        yield from differences(old.full(), new.full(), "spec")


def _path(key: str, *items: Object) -> str:
    for item in items:
        for section in ("data", "files", "env", "generate"):
            if key in getattr(item.spec, section, ()):
                return join(f"spec.{section}", key)
    return join("spec.data", key)


def _shown(content: ConfigContent, key: str) -> str | None:
    entry = content.entries.get(key)
    if entry is None:
        return None
    try:
        text = base64.b64decode(entry).decode()
    except UnicodeDecodeError:
        text = ""
    return text if 0 < len(text) <= _SHOWN and text.isprintable() else content.digests[key][:19]
