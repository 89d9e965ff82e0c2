"""start, stop, restart, pause, resume, kill, rename, wait: what is asked of a container by hand.

All but `kill` edit what is desired, and wait until the loop has made it so.
"""

import time
from collections.abc import Callable

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import MANY, Flag, Verb, named_kinds
from controller.cli.progress import showing, waiting
from controller.cli.verbs.apply import WAIT
from controller.containers import lifecycle
from resources.errors import NotFound

MANAGER = "cli"
UNKNOWN = 125


def verb(name: str) -> Callable[[Call], int]:
    def run(call: Call) -> int:
        objects = []
        for word in call.arguments.words:
            ref = call.container(word)
            objects.append((lifecycle.ask(call.backend, name, ref, MANAGER).key, ref))
        return 0 if call.arguments.on("no-wait") else waiting.wait(call, objects, waiting.until_settled)

    return run


def kill(call: Call) -> int:
    signal = call.arguments.text("signal", "KILL")
    for word in call.arguments.words:
        ref = call.container(word)
        call.found(ref)
        call.backend.operations.kill(ref, signal)
        call.line(str(ref))
    return 0


def rename(call: Call) -> int:
    word, name = call.arguments.words
    item = call.found(call.ref(word))
    renamed = call.backend.rename(item.ref, call.ref(f"{item.kind}/{name}").name)
    call.line(f"{item.ref} is now {renamed.ref}")
    return 0


def wait(call: Call) -> int:
    """Until it has ended and stays so; its exit code is ours."""
    item = call.found(call.container(call.arguments.words[0]))
    limit = call.duration("timeout", "0s") if call.arguments.on("timeout") else None
    deadline = None if limit is None else time.monotonic() + limit
    while True:
        revision = call.backend.objects.revision()
        status = call.backend.objects.status(item.key)
        if call.backend.objects.get(item.key) is None:
            raise NotFound(f"{item.ref} is gone: its exit code is not known any more")
        if status is not None and status.phase in lifecycle.OVER and call.backend.settled(item.key):
            code = status.fields.get("exitCode")
            return code if isinstance(code, int) else UNKNOWN
        left = waiting.TICK if deadline is None else deadline - time.monotonic()
        if left <= 0:
            call.note(f"lading: {item.ref} has not ended")
            return showing.NO_PROGRESS
        waiting.changes(call, revision, [item.key], min(waiting.TICK, left))


_CONTAINERS = (1, MANY)
VERBS = (
    Verb("start", "NAME …", "run what was stopped, or has ended", verb("start"), WAIT, _CONTAINERS),
    Verb(
        "stop",
        "NAME …",
        "stop, and keep stopped until a start or a manifest says otherwise",
        verb("stop"),
        WAIT,
        _CONTAINERS,
    ),
    Verb("restart", "NAME …", "stop and start again", verb("restart"), WAIT, _CONTAINERS),
    Verb("pause", "NAME …", "freeze every process", verb("pause"), WAIT, _CONTAINERS),
    Verb("resume", "NAME …", "go on after a pause", verb("resume"), WAIT, _CONTAINERS),
    Verb(
        "kill",
        "NAME …",
        "send a signal; what it ends is started again where the restart policy says so",
        kill,
        (Flag("signal", "which (default: KILL)", short="s", value="SIGNAL"),),
        _CONTAINERS,
    ),
    Verb("rename", "KIND/NAME NEW", "give another name; nothing is restarted", rename, (), (2, 2), kinds=named_kinds),
    Verb(
        "wait",
        "NAME",
        "wait until a container has ended for good, and exit with its code",
        wait,
        (Flag("timeout", "give up after this long (exit code 4)", value="DURATION"),),
        (1, 1),
        text="Exits with 125 when there is no such container, or its code cannot be known.",
    ),
)
