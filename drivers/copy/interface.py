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
    """Paths are absolute in the root. A link that is the last component is meant itself, unless a slash follows it."""

    def stat(self, root: Path, path: str) -> Entry | None:
        """Raises: NotFound when the root itself is not there."""

    def pack(self, root: Path, path: str) -> Iterator[bytes]:
        """Yield a PAX tar of the file or folder at `path`, whose entries begin with its last component.

        Regular files, folders, links; devices as entries without content; sockets are left out. A file that grows or
        shrinks meanwhile is cut or padded to the size its header says. Never blocks on a fifo. File systems of the kernel
        (proc, sysfs, cgroups ...) are empty folders in it.

        Raises: NotFound; InvalidArgument for a path in such a file system.
        """

    def unpack(self, root: Path, path: str, archive: BinaryIO) -> None:
        """Extract a tar (plain, gzip or zstd) below the folder `path`, as root, keeping owners and modes of the entries.

        Files and links take the place of what has their name, but never of a folder; folders that are there, also
        through a link, are kept. What was unpacked before an error stays.

        Raises: NotFound, InvalidArgument (hostile or damaged entry, named), ResourceExhausted, FailedPrecondition (a
        read-only root, a mount in the way, a file system of the kernel).
        """
