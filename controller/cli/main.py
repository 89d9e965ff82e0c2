"""`lading`: the command a user starts. It finds the engine, hands it the arguments, and does what it asks for.

Everything else (parsing, verbs, tables) is done in the engine, which has it loaded: this process imports `sys`,
`_socket` and three small files of ours, and is there in 12 ms (a test watches the imports). What it is asked for beyond
writing text (files, digests, the terminal) loads the module for it then.
"""

import posix
import sys
from _signal import SIG_DFL, SIGINT, signal  # type: ignore[import-not-found]  # `signal` itself brings enums along
from _socket import AF_UNIX, SOCK_STREAM, socket

from controller.cli import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: "Sequence[str]") -> int:
    signal(SIGINT, SIG_DFL)  # until there is a command to cancel, Ctrl-C is no traceback
    while (spare := posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)) < 3:
        pass  # a standard stream that is closed shall not become the connection
    posix.close(spare)
    line = words.scan(argv)
    if line.policy == words.HERE:
        return _here(argv, line)
    try:
        connection = connect(line.run_root)
    except PermissionError:
        return _complain(
            f"{line.run_root}/command.sock: permission denied (run it as root, or be a member of the group lading)"
        )
    except OSError as error:
        return _complain(f"{line.run_root}/command.sock: {error.strerror or error}")
    if connection is None and line.policy == words.ASK_OR_HERE:
        return _here(argv, line)
    if connection is None:
        if line.verb == "shutdown":
            sys.stdout.write("no engine runs\n")
            return 0
        if b"LADING_NO_START" in posix.environ:
            return _complain("no engine runs, and LADING_NO_START says to start none")
        from controller.cli import starting

        connection = starting.start(line)
        if connection is None:
            return 1
    return _converse(connection, argv, line)


def connect(run_root: str) -> "socket | None":
    """None when no engine answers. Raises: OSError when there may be one that cannot be talked to."""
    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        connect_to(connection, run_root)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    return connection


def connect_to(connection: socket, run_root: str) -> None:
    if len(run_root) < 90:
        connection.connect(f"{run_root}/command.sock")
        return
    # An address has room for 107 bytes; this way it is short wherever the run root is.
    folder = posix.open(run_root, posix.O_PATH | posix.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{folder}/command.sock")
    finally:
        posix.close(folder)


def _converse(connection: socket, argv: "Sequence[str]", line: "words.Line") -> int:
    from controller.cli.client import Conversation, peer

    engine = peer(connection)
    code = Conversation(connection).run(argv)
    if line.verb == "shutdown" and code == 0:
        from controller.cli import starting

        return starting.await_end(engine)
    return code


def _here(argv: "Sequence[str]", line: "words.Line") -> int:
    """Run the command in this process: it needs no engine, or becomes one."""
    with_packages()
    from controller.cli import here

    return here.run(argv, line)


def with_packages() -> None:
    """From here on other people's packages can be imported; the start does without, and without what looks for them."""
    if sys.flags.no_site:
        import site

        site.main()


def _complain(message: str) -> int:
    sys.stderr.write(f"lading: {message}\n")
    return 1
