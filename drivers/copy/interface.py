"""The contract of copying into and out of a container: `lading cp`, and the archive calls of Docker's API.

Both sides are hostile: the tree belongs to the container, which may swap folders for links while it is read or written
(threats.md CP-01 to CP-04), and the archive comes from outside. Paths are resolved inside the root only (openat2
RESOLVE_IN_ROOT); nothing is executed and no library is loaded after the root was entered.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path, not followed when it is a link."""

    name: str
    size: int
    mode: int
    """st_mode."""
    mtime: int
    link_target: str = ""


class Copier(Protocol):
    def stat(self, root: Path, path: str) -> Entry | None: ...

    def pack(self, root: Path, path: str) -> Iterator[bytes]:
        """Yield a PAX tar of the file or folder at `path`, whose entries begin with its last component.

        Regular files, folders, links; devices as entries without content; sockets are left out. A file that grows or
        shrinks meanwhile is cut or padded to the size its header says. Never blocks on a fifo.

        Raises: NotFound.
        """

    def unpack(self, root: Path, path: str, archive: BinaryIO) -> None:
        """Extract a tar (plain or gzip) below the folder `path`, as root, keeping owners and modes of the entries.

        Raises: NotFound, InvalidArgument (hostile or damaged entry, named), ResourceExhausted.
        """
