"""start, stop, restart, pause, resume, kill, rename, wait: what is asked of a container by hand.

All but `kill` edit what is desired, and wait until the loop has made it so.
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

from controller.cli import waiting
from controller.cli.apply import WAIT
from controller.cli.arguments import MANY, Flag, Verb
from controller.cli.call import Call
from resources.errors import FailedPrecondition, NotFound
from resources.kinds import Kind
from resources.meta import Status
from resources.object import Object, Suspension

MANAGER = "cli"
UNKNOWN = 125
_OVER = ("Completed", "Failed", "Stopped")
Change = Callable[[Object], Object]


def stop(call: Call) -> int:
    return _each(call, _suspended("stopped"), "Stopped")


def pause(call: Call) -> int:
    def changed(item: Object) -> Object:
        _must_run(call, item)
        return _suspended("paused")(item)

    return _each(call, changed, "Paused")


def start(call: Call) -> int:
    def changed(item: Object) -> Object:
        if item.effective.state in ("stopped", "created", "paused"):
            state = item.effective.state
            raise FailedPrecondition(f"the manifest of {item.ref} says `state: {state}`", hint="apply another manifest")
        update: dict[str, object] = {"suspension": None}
        status = call.backend.objects.status(item.key) or Status()
        if item.suspension is None and status.phase in _OVER:
            update["restart_request"] = secrets.token_hex(8)
        return item.model_copy(update=update)

    return _each(call, changed, "Started")


def resume(call: Call) -> int:
    def changed(item: Object) -> Object:
        if item.suspension is None or item.suspension.state != "paused":
            raise FailedPrecondition(f"{item.ref} is not paused by hand")
        return item.model_copy(update={"suspension": None})

    return _each(call, changed, "Resumed")


def restart(call: Call) -> int:
    def changed(item: Object) -> Object:
        return item.model_copy(update={"suspension": None, "restart_request": secrets.token_hex(8)})

    return _each(call, changed, "Restarted")


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
        if status is not None and status.phase in _OVER and call.backend.settled(item.key):
            code = status.fields.get("exitCode")
            return code if isinstance(code, int) else UNKNOWN
        if deadline is not None and time.monotonic() >= deadline:
            return waiting.NO_PROGRESS
        waiting.changes(call, revision, [item.key])


def _each(call: Call, change: Change, reason: str) -> int:
    objects = []
    for word in call.arguments.words:
        ref = call.container(word)
        item = call.backend.edit(ref, change, manager=MANAGER, reason=reason)
        objects.append((item.key, ref))
    if call.arguments.on("no-wait"):
        return 0
    return waiting.wait(call, objects, waiting.until_settled)


def _suspended(state: str) -> Change:
    def changed(item: Object) -> Object:
        if item.suspension is not None and item.suspension.state == state:
            return item
        held = Suspension(state=state, by=MANAGER, at=datetime.now(UTC))  # type: ignore[arg-type]
        return item.model_copy(update={"suspension": held})

    return changed


def _must_run(call: Call, item: Object) -> None:
    status = call.backend.objects.status(item.key) or Status()
    if item.kind is Kind.CONTAINER and status.phase in _OVER:
        raise FailedPrecondition(f"{item.ref} does not run: it is {status.phase}")


_CONTAINERS = (1, MANY)
VERBS = (
    Verb("start", "NAME …", "run what was stopped, or has ended", start, WAIT, _CONTAINERS),
    Verb(
        "stop", "NAME …", "stop, and keep stopped until a start or a manifest says otherwise", stop, WAIT, _CONTAINERS
    ),
    Verb("restart", "NAME …", "stop and start again", restart, WAIT, _CONTAINERS),
    Verb("pause", "NAME …", "freeze every process", pause, WAIT, _CONTAINERS),
    Verb("resume", "NAME …", "go on after a pause", resume, WAIT, _CONTAINERS),
    Verb(
        "kill",
        "NAME …",
        "send a signal; what it ends is started again where the restart policy says so",
        kill,
        (Flag("signal", "which (default: KILL)", short="s", value="SIGNAL"),),
        _CONTAINERS,
    ),
    Verb("rename", "KIND/NAME NEW", "give another name; nothing is restarted", rename, (), (2, 2)),
    Verb(
        "wait",
        "NAME",
        "wait until a container has ended for good, and exit with its code",
        wait,
        (Flag("timeout", "give up after this long (exit code 4)", value="DURATION"),),
        (1, 1),
        text="Exits with 125 when the container's code cannot be known.",
    ),
)
