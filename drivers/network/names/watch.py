"""Watches the process that is there: when it ends, however that came about, whoever feeds it learns it at once."""

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from drivers.network.names.connection import Gone, connect, peer, process_of

_PAUSE = 1.0
"""Before one is spoken to again that lives and has hung up on us."""
_LOOK = 10.0
"""How often to look where there is none: one whose socket was removed makes it again."""


class ProcessWatch:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._closed = False
        self._met = 0
        """The last one that anybody has spoken to."""
        self._connection: socket.socket | None = None

    def met(self, pid: int) -> None:
        """There is one."""
        self._met = pid
        self._news.set()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                with suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)
        self._news.set()

    def endings(self) -> Iterator[int]:
        """The number of each that has ended, until this is closed. One that nobody met in between may not be told of."""
        ended = 0
        while not self._closed:
            self._news.clear()
            pid = self._watched()
            if self._closed:
                return
            if pid is None:
                pid = self._met
                if pid == ended:
                    self._news.wait(_LOOK)
                    continue
            elif not pid:
                self._news.wait(_PAUSE)
                continue
            ended = pid
            yield pid

    def _watched(self) -> int | None:
        """The one that was there and has ended meanwhile; 0 when it has hung up, None where there is none."""
        try:
            connection = connect(self._folder)
        except Gone:
            return None
        with connection:
            self._met = pid = peer(connection)
            try:
                process = process_of(connection)
            except Gone:
                return pid
            try:
                with self._lock:
                    if self._closed:
                        return 0
                    self._connection = connection
                happened = select.poll()
                for fd in (process, connection.fileno()):
                    happened.register(fd, select.POLLIN)
                ready = {fd for fd, _ in happened.poll()}
                # A process that ends closes its sockets first.
                if process not in ready and not self._closed:
                    happened.unregister(connection.fileno())
                    ready = {fd for fd, _ in happened.poll(_PAUSE * 1000)}
                return pid if process in ready else 0
            finally:
                with self._lock:
                    self._connection = None
                os.close(process)
