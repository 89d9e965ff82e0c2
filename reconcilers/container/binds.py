"""Which paths of the host are bound into containers only when the manifest names the danger (PURE)."""

from collections.abc import Iterable
from pathlib import PurePath

from resources.errors import InvalidArgument

ROOT, STATE = "bindRoot", "bindState"
_KERNEL = (PurePath("/proc"), PurePath("/sys"))


def check_bind(real: PurePath, dangerous: Iterable[str], state: Iterable[PurePath]) -> None:
    """`real` is where the path leads, links followed; `state` are the engine's own folders.

    Raises: InvalidArgument naming what would have to be said.
    """
    allowed = set(dangerous)
    if ROOT not in allowed and (real == PurePath("/") or any(real.is_relative_to(tree) for tree in _KERNEL)):
        raise _refused(real, "opens the whole host to the container", ROOT)
    if STATE not in allowed and any(real.is_relative_to(own) or own.is_relative_to(real) for own in state):
        raise _refused(real, "holds what the engine keeps of all containers", STATE)


def _refused(real: PurePath, why: str, word: str) -> InvalidArgument:
    return InvalidArgument(f"mounts: bind of {real}: it {why}", hint=f"security.dangerous has to name {word}")
