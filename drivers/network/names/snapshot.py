"""All the process was told, on the run root: a file for each sandbox and each owner of ports, replaced as a whole.

The run root is in memory: it ends with the boot, as namespaces do.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress

from drivers.kernel import files
from drivers.network.names.framing import MAX_FRAME, Message

KINDS = ("names", "proxies")


class Snapshot:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        for folder in (self._folder, *map(self._of, KINDS)):
            files.make_folder(folder)

    def load(self, kind: str) -> Iterator[tuple[str, Message]]:
        """What is no file of ours is removed: nobody was ever told that it is there, or it is asked for again."""
        for key in sorted(os.listdir(self._of(kind))):
            try:
                message = json.loads(files.read(self._path(kind, key), MAX_FRAME))
                if key.startswith(".") or not isinstance(message, dict):
                    raise ValueError
            except (OSError, ValueError, RecursionError):
                with suppress(OSError):  # something is mounted there, and is in nobody's way
                    self.remove(kind, key)
            else:
                yield key, message

    def save(self, kind: str, key: str, message: Message) -> None:
        """Raises: OSError."""
        files.replace(self._of(kind), key, json.dumps(message, separators=(",", ":")).encode("ascii"))

    def remove(self, kind: str, key: str) -> None:
        """Raises: OSError."""
        files.clear(self._path(kind, key))

    def _of(self, kind: str) -> str:
        return os.path.join(self._folder, kind)

    def _path(self, kind: str, key: str) -> str:
        return os.path.join(self._folder, kind, key)
