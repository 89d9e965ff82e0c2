"""All the process was told, on the run root: a file for each sandbox and each owner of ports, replaced as a whole.

The run root is in memory: it ends with the boot, as namespaces do.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress

from drivers.network.names.framing import Message

KINDS = ("names", "proxies")
_TEMPORARY = ".new"


class Snapshot:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        for kind in KINDS:
            os.makedirs(os.path.join(folder, kind), mode=0o700, exist_ok=True)

    def load(self, kind: str) -> Iterator[tuple[str, Message]]:
        """What cannot be read is deleted: nobody was ever told that it is there."""
        for key in sorted(os.listdir(os.path.join(self._folder, kind))):
            path = self._path(kind, key)
            try:
                with open(path, "rb") as file:
                    message = json.loads(file.read())
                if key.startswith(".") or not isinstance(message, dict):
                    raise ValueError
            except (OSError, ValueError):
                with suppress(OSError):  # somebody else's folder, which is in nobody's way
                    self.remove(kind, key)
            else:
                yield key, message

    def save(self, kind: str, key: str, message: Message) -> None:
        """Raises: OSError."""
        temporary = self._path(kind, _TEMPORARY)
        os.makedirs(os.path.dirname(temporary), mode=0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            file.write(json.dumps(message, separators=(",", ":")).encode("ascii"))
        os.rename(temporary, self._path(kind, key))

    def remove(self, kind: str, key: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path(kind, key))

    def _path(self, kind: str, key: str) -> str:
        return os.path.join(self._folder, kind, key)
