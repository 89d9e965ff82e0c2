"""Commands that run in the client's own process: those that need no engine, and those that become one.

The command talks to its user over a connection like any other, only that both ends are in this process.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from controller.cli.client.conversation import Conversation
from controller.cli.commandline.arguments import UsageError
from controller.cli.server import dispatch, listener
from controller.cli.server.digests import KnownDigests
from controller.cli.words import Line
from controller.interface import Backend


def run(argv: Sequence[str], line: Line) -> int:
    if line.verb == "serve" and not {"-h", "--help"} & set(argv):
        from controller.cli.server import serving

        return serving.run(argv, line)
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=_command, args=(theirs, line), name="command")
    thread.start()
    try:
        code = Conversation(ours).run(argv)
        return 1 if code is None else code
    finally:
        thread.join()


def needs_engine(argv: Sequence[str]) -> bool:
    """Whether there is anything in it for an engine: it is a command of ours on kinds that there are, and does not just ask
    for help."""
    try:
        given = dispatch.parse(argv)
    except UsageError:
        return False
    return not given.on("help") and dispatch.kinds_known(given)


def _command(connection: socket.socket, line: Line) -> None:
    from controller.cli.wire import frames
    from resources.errors import Cancelled, EngineError

    with connection:
        try:
            session = listener.open_session(connection, KnownDigests(), os.geteuid())
        except (OSError, frames.Broken, Cancelled):
            return
        try:
            with _backend(line, session.argv) as backend:
                listener.run(session, backend)
        except (OSError, Cancelled):
            return
        except EngineError as error:
            session.err(dispatch.complaint(error))
            session.end(dispatch.failure(error, line.verb))


@contextlib.contextmanager
def _backend(line: Line, argv: Sequence[str]) -> Iterator[Backend | None]:
    if line.verb != "apply" or not needs_engine(argv):
        yield None
        return
    from controller import daemon, settings

    found = settings.load(Path(line.root), Path(line.run_root), os.environ, {})
    daemon.configure_log(found)
    with daemon.running(found) as backend:
        yield backend
