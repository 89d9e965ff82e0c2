"""exec, attach: processes in a container, and their streams."""

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import MANY, Flag, Verb
from controller.interface import Stream
from resources.errors import Cancelled, EngineError, InvalidArgument

FAILED, NOT_EXECUTABLE, NOT_THERE = 125, 126, 127
_UNKNOWN = -1


def exec_(call: Call) -> int:
    words, tty = call.arguments.words, call.arguments.on("tty")
    stdin, session = call.arguments.on("interactive"), call.session
    if tty and stdin and not session.stdin_tty:
        raise InvalidArgument("-t with -i needs a terminal as standard input", hint="leave out -t")
    ref = call.container(words[0])
    try:
        call.found(ref)
        stream = call.backend.operations.exec(
            ref,
            words[1:],
            env=_environment(call),
            user=call.arguments.text("user"),
            working_dir=call.arguments.text("workdir"),
            tty=tty,
            stdin=stdin,
            rows=session.rows,
            columns=session.columns,
        )
    except Cancelled:
        raise
    except EngineError as error:
        call.note(f"lading: {error}")
        return _failure(error)
    return _joined(call, stream, tty=tty, stdin=stdin, detachable=False)


def attach(call: Call) -> int:
    ref = call.container(call.arguments.words[0])
    spec = call.found(ref).effective
    if spec.tty and spec.stdin and not call.session.stdin_tty and not call.arguments.on("no-stdin"):
        raise InvalidArgument(f"{ref} has a terminal, and standard input is none", hint="--no-stdin only looks on")
    try:
        stream = call.backend.operations.attach(ref)
    except EngineError as error:
        call.note(f"lading: {error}")
        return FAILED
    stdin = spec.stdin and not call.arguments.on("no-stdin")
    return _joined(call, stream, tty=spec.tty, stdin=stdin, detachable=True)


def _joined(call: Call, stream: Stream, *, tty: bool, stdin: bool, detachable: bool) -> int:
    try:
        code = call.session.interact(stream, tty=tty and stdin, stdin=stdin, detachable=detachable)
    finally:
        stream.close()
    if code == _UNKNOWN:
        call.note("lading: how it ended is not known")
        return FAILED
    return code


def _environment(call: Call) -> dict[str, str]:
    found = {}
    for pair in call.arguments.many("env"):
        name, equals, value = pair.partition("=")
        if not name:
            raise InvalidArgument(f"--env {pair[:60]!r} is not K=V")
        found[name] = value if equals else call.session.variable(name) or ""
    return found


def _failure(error: EngineError) -> int:
    """As shells do it: 126 what cannot be run, 127 what is not there."""
    text = error.message.lower()
    if "no such file" in text or "not found" in text:
        return NOT_THERE if error.reason == "FailedPrecondition" else FAILED
    return NOT_EXECUTABLE if "permission denied" in text else FAILED


VERBS = (
    Verb(
        "exec",
        "[-it] NAME -- COMMAND …",
        "run a command in a container",
        exec_,
        (
            Flag("interactive", "pass standard input on", short="i"),
            Flag("tty", "give it a terminal", short="t"),
            Flag("env", "a variable for it", short="e", value="K=V", repeat=True),
            Flag("user", "run it as", short="u", value="USER[:GROUP]"),
            Flag("workdir", "run it there", short="w", value="DIR"),
        ),
        (2, MANY),
        command=True,
        text="""  lading exec web -- ls -l /srv          lading exec -it web sh

Exits with the command's code; 125 when it was not run, 126 when it cannot be, 127 when it is not there.""",
    ),
    Verb(
        "attach",
        "NAME",
        "join a container's own streams; Ctrl-P Ctrl-Q leaves those of a terminal",
        attach,
        (Flag("no-stdin", "only look on"),),
        (1, 1),
    ),
)
