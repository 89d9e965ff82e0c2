"""`lading serve`: engine, sources and API in one process. Killing it harms nothing; ending it in order only saves time.

Order matters at the start: what a killed engine left half done is cleared first, then the loop looks at everything, and only
then may clients ask. What no object asks for is removed when everything has been looked at, unless the store is new: an empty
store is no reason to delete what runs.
"""

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from controller.backend import EngineBackend
from controller.engine_lock import EngineLock, Held
from controller.settings import Settings
from controller.sources import log_growth, resolver_endings, resync, store_changes, task_exits
from controller.wiring import Wiring, wire
from resources.errors import EngineError, Unavailable
from resources.version import VERSION

if TYPE_CHECKING:
    from controller.api.server import ApiServer

ANOTHER = 75
"""What `serve` returns where another engine has the root."""
_DOOR_SECONDS = 5.0
"""How often to look whether the sockets are still where clients look for them."""


class CommandSocket(Protocol):
    """Where commands come in (controller.cli.server.listener)."""

    def start(self) -> None: ...

    def listen_again(self) -> bool:
        """Make the socket again where somebody has removed it, and tell whether. Raises: OSError."""

    def stop(self) -> None: ...


class Daemon:
    """An engine with its sources, and no door: `apply --once` is one of these, `serve` adds the sockets."""

    def __init__(self, settings: Settings) -> None:
        make_root(settings.root)
        self.settings = settings
        self._lock = EngineLock(settings.root)
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        try:
            self._wiring: Wiring = wire(settings, self.stopping)
        except BaseException:
            self._lock.release()
            raise
        self.backend: EngineBackend = self._wiring.backend

    def start(self) -> None:
        wiring, engine, stopped = self._wiring, self._wiring.engine, self.stopping.is_set
        wiring.cleanup()
        engine.start()
        engine.wake_all()
        self._source("store-changes", lambda: store_changes.run(wiring.objects, engine.wake, stopped))
        self._source("task-exits", lambda: task_exits.run(wiring.runtime.exits(), engine.queue.add, stopped))
        self._source(
            "log-growth",
            lambda: log_growth.run(self._free_space, wiring.logs.larger_than, engine.queue.add, self.stopping),
        )
        self._source(
            "resolver-endings",
            lambda: resolver_endings.run(wiring.resolver.endings(), engine.wake_all, self.stopping),
        )
        self._source("resync", lambda: resync.run(self._resync, self.settings.resync_seconds, self.stopping))
        self._source("sweep", lambda: wiring.sweep())

    def leaving(self) -> None:
        """An engine that is started from now on waits for this one to end."""
        self._lock.leaving()

    def stop(self) -> None:
        self.stopping.set()
        self.leaving()
        self._wiring.close()
        for thread in self._threads:
            thread.join(5)
        self._lock.release()

    def _free_space(self) -> int:
        found = os.statvfs(self.settings.root)
        return found.f_bavail * found.f_frsize

    def _resync(self) -> None:
        self._wiring.engine.wake_all()
        self._wiring.sweep()
        self._wiring.release_uploads()

    def _source(self, name: str, run: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                run()
            except Exception as error:
                # Whatever a source would have told is found by the resync.
                structlog.get_logger().error("a source ended", source=name, exc_info=error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)


@contextmanager
def running(settings: Settings) -> Iterator[EngineBackend]:
    """An engine for the length of one command."""
    daemon = Daemon(settings)
    daemon.start()
    try:
        yield daemon.backend
    finally:
        daemon.stop()


def serve(settings: Settings, commands: Callable[[Path, EngineBackend], CommandSocket]) -> int:
    """Serve until SIGTERM, SIGINT or `lading shutdown`, with `commands` at the door for commands."""
    configure_log(settings)
    configure_process()
    log = structlog.get_logger()
    try:
        daemon = Daemon(settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: daemon.stopping.set())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        daemon.start()
        server = commands(settings.run_root, daemon.backend)
        server.start()
    except Exception as error:
        print(f"lading: {_why(error)}", file=sys.stderr)  # noqa: T201
        log.debug("the engine does not start", exc_info=error)
        return ANOTHER if isinstance(error, Held) else 1
    log.info("serving", version=VERSION, pid=os.getpid(), root=str(settings.root), run_root=str(settings.run_root))
    # HTTP takes a third of a second to import, and no command waits for it.
    from controller.api.server import ApiServer

    api = ApiServer(settings.run_root, daemon.backend)
    _start(api)
    while not daemon.stopping.wait(_DOOR_SECONDS):
        with suppress(OSError):  # tried again
            if server.listen_again():
                log.warning("the socket for commands had been removed, and is there again")
        if not api.there():
            api.stop()
            api = ApiServer(settings.run_root, daemon.backend)
            _start(api)
    log.info("ending; containers go on")
    daemon.leaving()
    api.stop()
    server.stop()
    daemon.stop()
    return 0


def _why(error: Exception) -> str:
    """In one line, whatever it was."""
    said = " ".join(str(error).split())
    return said if isinstance(error, EngineError) else f"the engine cannot start: {said or 'for no reason it knows of'}"


def _start(api: "ApiServer") -> None:
    try:
        api.start()
    except EngineError as error:
        structlog.get_logger().error("there is no HTTP API", why=str(error))


def make_root(path: Path) -> None:
    """Raises: Unavailable."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise Unavailable(f"the root {path} cannot be made: {error.strerror}") from error


def configure_process() -> None:
    """No core dump holds a secret, and no limit of ours is lower than it has to be."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def configure_log(settings: Settings) -> None:
    rendered = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(levels[settings.log_level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
