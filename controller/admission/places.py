"""PURE: where the other one of two that do not fit together stands."""

from collections.abc import Mapping

from manifests.interface import Located
from resources.meta import Ref
from resources.object import Object


def place(item: Object, path: str, located: Mapping[Ref, Located]) -> str:
    """` (file:line:column)`, if this apply says it."""
    manifest = located.get(item.ref)
    return "" if manifest is None else f" ({manifest.where(path)})"
