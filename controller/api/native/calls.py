"""Between the loop of the API and the blocking engine: short calls on one pool of threads, streams on another."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import structlog
from aiohttp import web

from controller.api.errors import answer
from controller.api.native.shapes import dumps
from controller.interface import Backend
from resources.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_CALLS = 8
_STREAMS = 64
_UNREAD_SECONDS = 60.0
_CHUNK = 1 << 20


class Calls:
    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._calls = ThreadPoolExecutor(_CALLS, "api")
        self._streams = ThreadPoolExecutor(_STREAMS, "api-stream")
        self._open = 0

    async def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._calls, lambda: work(*args, **kwargs))

    async def stream(
        self, request: web.Request, values: Callable[[Callable[[], bool]], Iterator[dict[str, Any]]]
    ) -> web.StreamResponse:
        """One JSON value a line, until there are no more or the client has gone. Who does not read is let go of.

        `values` is called, and its iterator run, on a thread; it is given what tells it to stop.
        """
        loop = asyncio.get_running_loop()
        stopped = threading.Event()
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})

        def send(value: dict[str, Any]) -> None:
            line = dumps(value).encode() + b"\n"
            asyncio.run_coroutine_threadsafe(response.write(line), loop).result(_UNREAD_SECONDS)

        def pump() -> None:
            # Who has gone, or does not read, is told nothing more.
            with contextlib.suppress(TimeoutError, ConnectionError):
                try:
                    for value in values(stopped.is_set):
                        if stopped.is_set():
                            return
                        send(value)
                except (TimeoutError, ConnectionError):
                    raise
                except Exception as error:
                    send({"error": failure(request, error)[1]})

        with self._room():
            try:
                await response.prepare(request)
                await loop.run_in_executor(self._streams, pump)
                with contextlib.suppress(ConnectionError):
                    await response.write_eof()
            finally:
                stopped.set()
        return response

    async def take(self, request: web.Request, digest: str, size: int) -> None:
        """Hand the body of a request over, piece by piece."""
        loop = asyncio.get_running_loop()

        def chunks() -> Iterator[bytes]:
            while chunk := asyncio.run_coroutine_threadsafe(request.content.read(_CHUNK), loop).result(_UNREAD_SECONDS):
                yield chunk

        with self._room():
            await loop.run_in_executor(self._streams, self.backend.uploads.receive, digest, size, chunks())

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        if self._open >= _STREAMS:
            raise Unavailable(f"{_STREAMS} streams are open already", hint="end one of them")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def close(self) -> None:
        self._calls.shutdown(wait=False, cancel_futures=True)
        self._streams.shutdown(wait=False, cancel_futures=True)


def failure(request: web.Request, error: BaseException) -> tuple[int, dict[str, Any]]:
    """The answer to an error; one that nobody expected goes to the log, where its traceback belongs."""
    status, body = answer(error)
    if body["code"] == "Internal":
        structlog.get_logger().error("an API request failed", method=request.method, path=request.path, exc_info=error)
    return status, body
