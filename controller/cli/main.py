"""`lading`: the command a user starts. It finds the engine, hands it the arguments, and does what it asks for.

Everything else (parsing, verbs, tables) is done in the engine, which has it loaded: this process imports `sys`,
`_socket` and four small files of ours, and is there in 12 ms (a test watches the imports). What it is asked for beyond
writing text (files, digests, the terminal) loads the module for it then.
"""

import posix
import sys
from _signal import SIG_DFL, SIGINT, signal  # type: ignore[import-not-found]  # `signal` itself brings enums along

from controller.cli import words
from controller.cli.client.connection import CONNECT_SECONDS, connect, peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Sequence

_ENGINES = 3
"""How many are tried that end before they take the command."""


def main(argv: "Sequence[str]") -> int:
    signal(SIGINT, SIG_DFL)  # until there is a command to cancel, Ctrl-C is no traceback
    while (spare := posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)) < 3:
        pass  # a standard stream that is closed shall not become the connection
    posix.close(spare)
    line = words.scan(argv, posix.environ)
    if line.flaw:
        return _complain(line.flaw, line)
    if line.policy == words.HERE:
        return _here(argv, line)
    for _ in range(_ENGINES):
        found = _engine(argv, line)
        if isinstance(found, int):
            return found
        code = _converse(found, argv, line)
        if code is not None:
            return code
    return _complain(
        f"{_ENGINES} engines have ended before they took the command; the end of engine.log may say why", line
    )


def _engine(argv: "Sequence[str]", line: "words.Line") -> "socket | int":
    """A connection to one, which may have been started for it; or how the command has ended without."""
    try:
        connection = connect(line.run_root)
    except PermissionError:
        return _complain(
            f"{line.run_root}/command.sock: permission denied (run it as root, or be a member of the group lading)",
            line,
        )
    except BlockingIOError:
        return _complain(_overrun(line), line)
    except OSError as error:
        return _complain(f"{line.run_root}/command.sock: {error.strerror or error}", line)
    if connection is not None:
        return connection
    if line.policy == words.ASK_OR_HERE or _needs_none(argv):
        return _here(argv, line)
    if line.verb == "shutdown":
        sys.stdout.write("no engine runs\n")
        return 0
    if b"LADING_NO_START" in posix.environ:
        return _complain("no engine runs, and LADING_NO_START says to start none", line)
    from controller.cli.client import starting

    return starting.start(line) or words.NO_PROCESS.get(line.verb, 1)


def _converse(connection: "socket", argv: "Sequence[str]", line: "words.Line") -> "int | None":
    """None when the engine ended before it began with the command."""
    from controller.cli.client.conversation import Conversation

    engine = peer(connection)
    code = Conversation(connection, engine=engine, lost=words.NO_PROCESS.get(line.verb, 1)).run(argv)
    if line.verb == "shutdown" and code == 0:
        from controller.cli.client import starting

        return starting.await_end(engine)
    return code


def _needs_none(argv: "Sequence[str]") -> bool:
    """No engine is started for what is no command, or asks for help."""
    _take_packages()
    from controller.cli import here

    return not here.needs_engine(argv)


def _overrun(line: "words.Line") -> str:
    from controller.cli.client.conversation import process_state, unanswered

    try:
        with open(f"{line.root}/engine.lock", "rb") as file:
            pid = int(file.read(32).split()[0])
    except (OSError, ValueError, IndexError):
        return f"the engine of {line.run_root} takes no command in: it is stopped, or has too many to do"
    return unanswered(pid, process_state(pid), CONNECT_SECONDS)


def _here(argv: "Sequence[str]", line: "words.Line") -> int:
    """Run the command in this process: it needs no engine, or becomes one."""
    _take_packages()
    from controller.cli import here

    return here.run(argv, line)


def _take_packages() -> None:
    from controller.cli.client.site_packages import with_packages

    with_packages()


def _complain(message: str, line: "words.Line") -> int:
    sys.stderr.write(f"lading: {message}\n")
    return words.NO_PROCESS.get(line.verb, 1)
