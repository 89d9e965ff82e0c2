"""Commands that run in the client's own process: those that need no engine, and those that become one.

The command talks to its user over a connection like any other, only that both ends are in this process.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from controller.cli import server
from controller.cli.client import Conversation
from controller.cli.digests import KnownDigests
from controller.cli.words import Line
from controller.interface import Backend


def run(argv: Sequence[str], line: Line) -> int:
    if line.verb == "serve" and not {"-h", "--help"} & set(argv):
        from controller.cli import serving

        return serving.run(argv)
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=_command, args=(theirs, line), name="command")
    thread.start()
    try:
        return Conversation(ours).run(argv)
    finally:
        thread.join()


def _command(connection: socket.socket, line: Line) -> None:
    from controller.cli import frames
    from resources.errors import Cancelled, EngineError

    with connection:
        try:
            session = server.open_session(connection, KnownDigests(), os.geteuid())
        except (OSError, frames.Broken, Cancelled):
            return
        try:
            with _backend(line) as backend:
                server.run(session, backend)
        except (OSError, Cancelled):
            return
        except EngineError as error:
            session.err(f"lading: {error}\n")
            session.end(1)


@contextlib.contextmanager
def _backend(line: Line) -> Iterator[Backend | None]:
    if line.verb != "apply":
        yield None
        return
    from controller import daemon, settings

    found = settings.load(Path(line.root), Path(line.run_root), os.environ, {})
    daemon.configure_log(found)
    with daemon.running(found) as backend:
        yield backend
