"""The HTTP API on the unix socket of the run root, with a loop and a thread of its own."""

import asyncio
import contextlib
import grp
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from controller.api.native.app import make
from controller.api.native.calls import Calls
from controller.interface import Backend
from resources.errors import Unavailable

NAME = "lading.sock"
GROUP = "lading"
_BACKLOG = 128
_START_SECONDS = 10
_END_SECONDS = 2.0


class ApiServer:
    """Who may use the socket may do anything the engine can: it is for root and the members of the group."""

    def __init__(self, run_root: Path, backend: Backend) -> None:
        self._path = run_root / NAME
        self._calls = Calls(backend)
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """Returns when it answers. Raises: Unavailable."""
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if self._error is not None or not self._ready.is_set():
            raise Unavailable(f"the API cannot listen on {self._path}: {self._error or 'it did not start in time'}")

    def there(self) -> bool:
        """Whether clients find the socket."""
        return self._path.exists()

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_END_SECONDS + 5)
        self._calls.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        runner = web.AppRunner(
            make(self._calls),
            access_log=None,
            handle_signals=False,
            # What it would log is what a client did wrong, which the client is told.
            logger=_silent(),
            # A stream ends with its client; a compressed body is refused, not unpacked.
            handler_cancellation=True,
            auto_decompress=False,
            shutdown_timeout=_END_SECONDS,
        )
        await runner.setup()
        try:
            with _listening(self._path) as listener:
                await web.SockSite(runner, listener).start()
                self._ready.set()
                await self._stop.wait()
        finally:
            await runner.cleanup()


def _silent() -> logging.Logger:
    logger = logging.getLogger("lading.api")
    logger.disabled = True
    return logger


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A socket at the path that was never open to more than it should be, not for a moment."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    made = f".{path.name}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(made, dir_fd=folder)
        # An address has room for 107 bytes; this way it is short wherever the run root is.
        listener.bind(f"/proc/self/fd/{folder}/{made}")
        os.chmod(f"/proc/self/fd/{folder}/{made}", 0o660)
        with contextlib.suppress(KeyError, PermissionError):
            os.chown(made, -1, grp.getgrnam(GROUP).gr_gid, dir_fd=folder)
        listener.listen(_BACKLOG)
        # Over the one of an engine that was killed.
        os.rename(made, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        yield listener
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=folder)
    finally:
        listener.close()
        os.close(folder)
