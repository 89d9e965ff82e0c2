"""PURE: what the drivers hold and no object asks for. It is removed by uid, so no memory of it is needed."""

from collections.abc import Iterable

from resources.meta import Key


def orphans(listed: Iterable[Key], known: Iterable[Key]) -> tuple[Key, ...]:
    """Listed minus known, in a fixed order."""
    return tuple(sorted(set(listed) - set(known), key=lambda key: (key.kind, key.uid)))
