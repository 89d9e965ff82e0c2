"""The copier for real trees: `/proc/PID/root` of a running container, or a root file system that is mounted."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from drivers.copy.interface import Entry
from drivers.copy.packing import Packer
from drivers.copy.tree import last_name, locate, normal, open_folder, opened_root
from drivers.copy.unpacking import Unpacker
from drivers.images.limits import DEFAULT, Limits
from drivers.images.streams import opened
from drivers.images.tar import TarReader
from drivers.kernel.statfs import is_kernel_file_system
from resources.errors import InvalidArgument, NotFound


class TreeCopier:
    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits

    def stat(self, root: Path, path: str) -> Entry | None:
        with opened_root(root) as top:
            fd = locate(top, path)
            if fd is None:
                return None
            try:
                return _described(fd, last_name(path))
            finally:
                os.close(fd)

    def pack(self, root: Path, path: str) -> Iterator[bytes]:
        with opened_root(root) as top:
            fd = self._located(top, path)
            try:
                if is_kernel_file_system(fd):
                    raise InvalidArgument(
                        f"{path} is in a file system of the kernel", hint="read it in the container: `lading exec`"
                    )
            finally:
                os.close(fd)
        return self._packed(root, path)

    def unpack(self, root: Path, path: str, archive: BinaryIO) -> None:
        with opened_root(root) as top:
            try:
                os.close(open_folder(top, normal(path)))
            except OSError as error:
                raise NotFound(f"{path} is no folder of the container: {error.strerror}") from error
            # How long the stream is nobody knows: only the absolute limit holds.
            with opened(archive, self._limits.max_unpacked, self._limits) as stream:
                unpacker = Unpacker(top, normal(path), self._limits)
                try:
                    unpacker.run(TarReader(stream, limits=self._limits))
                finally:
                    unpacker.close()

    def _packed(self, root: Path, path: str) -> Iterator[bytes]:
        with opened_root(root) as top:
            fd = self._located(top, path)
        yield from Packer(self._limits).archive(fd, last_name(path))

    @staticmethod
    def _located(top: int, path: str) -> int:
        fd = locate(top, path)
        if fd is None:
            raise NotFound(f"{path} is not there")
        return fd


def _described(fd: int, name: bytes) -> Entry:
    status = os.fstat(fd)
    target = os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(status.st_mode) else b""
    size, mtime = status.st_size, int(status.st_mtime)
    return Entry(os.fsdecode(name), size, status.st_mode, mtime, os.fsdecode(target))
