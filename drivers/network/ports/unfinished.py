"""Changes of published ports that were begun and not finished: a file for each owner, which says what ports may be there, and
whose connections may go on. What an engine that was killed leaves is told by the next one, and done anew.
"""

import json
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from drivers.network.firewall.elements import checked_id
from drivers.network.ports.interface import PublishedPort
from resources.errors import InvalidArgument, Unavailable

_TEMPORARY = ".new"


class Unfinished:
    """One for all changes; not for two of one owner at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports: dict[str, tuple[PublishedPort, ...]] = {}
        with suppress(FileNotFoundError):
            for path in folder.iterdir():
                found = _read(path)
                if found:
                    self._ports[path.name] = found
                else:
                    path.unlink(missing_ok=True)

    def begin(
        self, owner: str, before: Sequence[PublishedPort], after: Sequence[PublishedPort]
    ) -> tuple[PublishedPort, ...]:
        """What a change of the owner that was not finished was about. Raises: Unavailable."""
        formerly = self._ports.get(owner, ())
        told = tuple({*formerly, *(set(before) ^ set(after))})
        if len(told) > len(formerly):
            try:
                self._write(owner, json.dumps([_written(port) for port in told], separators=(",", ":")).encode())
            except OSError as error:
                raise self._failure(error) from error
            self._ports[owner] = told
        return formerly

    def end(self, owner: str) -> None:
        """Raises: Unavailable."""
        if owner not in self._ports:
            return
        try:
            os.unlink(f"{self._folder}/{owner}")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._failure(error) from error
        del self._ports[owner]

    def ports(self, owner: str) -> tuple[PublishedPort, ...]:
        return self._ports.get(owner, ())

    def _write(self, owner: str, data: bytes) -> None:
        """Once for every change there is: a Path would take longer than all of it."""
        temporary = f"{self._folder}/{_TEMPORARY}-{owner}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(temporary, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            fd = os.open(temporary, flags, 0o600)
        try:
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)
        os.rename(temporary, f"{self._folder}/{owner}")

    def _failure(self, error: OSError) -> Unavailable:
        return Unavailable(f"cannot write to {self._folder}: {error.strerror}")

    def owners(self) -> Collection[str]:
        return tuple(self._ports)


def _written(port: PublishedPort) -> tuple[int | str, ...]:
    return port.host, port.container, port.address, port.protocol, port.ipv4, port.ipv6


def _read(path: Path) -> tuple[PublishedPort, ...]:
    """() of what cannot be read, or is no owner's: it was never begun."""
    try:
        checked_id(path.name)
        return tuple(PublishedPort(*port) for port in json.loads(path.read_text()))
    except (InvalidArgument, OSError, ValueError, TypeError):
        return ()
