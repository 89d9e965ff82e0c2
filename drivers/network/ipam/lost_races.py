"""PURE: an end to trying again."""

from resources.errors import Conflict

_ENOUGH = 1000


class LostRaces:
    """Somebody else took what was chosen, so it is chosen again. That always gets somebody on; who loses this often looks
    at something else than the store does."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, error: Conflict) -> None:
        """Raises: the error, when it was enough."""
        self._count += 1
        if self._count == _ENOUGH:
            raise error
