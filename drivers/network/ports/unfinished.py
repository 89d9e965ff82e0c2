"""Changes of published ports that were begun and not finished: a file for each owner, which says what ports may be there, and
whose connections may go on. What an engine that was killed leaves is told by the next one, and done anew.
"""

import json
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from drivers.kernel import files
from drivers.network.firewall.elements import checked_id
from drivers.network.ports.interface import PublishedPort
from resources.errors import InvalidArgument, Unavailable

_MAX_FILE = 8 << 20


class Unfinished:
    """One for all changes; not for two of one owner at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports: dict[str, tuple[PublishedPort, ...]] = {}
        try:
            self._load()
        except OSError as error:
            raise Unavailable(f"cannot read {folder}: {error.strerror}", hint="remove what lies there") from error

    def _load(self) -> None:
        files.keep_folder(str(self._folder))
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                path = f"{self._folder}/{name}"
                if found := _read(path, name):
                    self._ports[name] = found
                else:
                    with suppress(OSError):  # something is mounted there, and is in nobody's way
                        files.clear(path)

    def begin(
        self, owner: str, before: Sequence[PublishedPort], after: Sequence[PublishedPort]
    ) -> tuple[PublishedPort, ...]:
        """What a change of the owner that was not finished was about. Raises: Unavailable."""
        formerly = self._ports.get(owner, ())
        told = tuple({*formerly, *(set(before) ^ set(after))})
        if len(told) > len(formerly):
            try:
                files.replace(
                    str(self._folder),
                    owner,
                    json.dumps([_written(port) for port in told], separators=(",", ":")).encode(),
                )
            except OSError as error:
                raise self._failure(error) from error
            self._ports[owner] = told
        return formerly

    def end(self, owner: str) -> None:
        """Raises: Unavailable."""
        if owner not in self._ports:
            return
        try:
            files.clear(f"{self._folder}/{owner}")
        except OSError as error:
            raise self._failure(error) from error
        del self._ports[owner]

    def ports(self, owner: str) -> tuple[PublishedPort, ...]:
        return self._ports.get(owner, ())

    def _failure(self, error: OSError) -> Unavailable:
        return Unavailable(f"cannot write to {self._folder}: {error.strerror}")

    def owners(self) -> Collection[str]:
        return tuple(self._ports)


def _written(port: PublishedPort) -> tuple[int | str, ...]:
    return port.host, port.container, port.address, port.protocol, port.ipv4, port.ipv6


def _read(path: str, owner: str) -> tuple[PublishedPort, ...]:
    """() of what cannot be read, or is no owner's: it was never begun."""
    try:
        checked_id(owner)
        return tuple(PublishedPort(*port) for port in json.loads(files.read(path, _MAX_FILE)))
    except (InvalidArgument, OSError, ValueError, TypeError, RecursionError):
        return ()
