"""Waiting until objects are as asked."""

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace

from controller.cli.call import Call
from controller.cli.showing import DONE, NO_PROGRESS, Look, Progress, display
from controller.interface import Backend
from resources import errors
from resources.errors import Cancelled, EngineError, FailedPrecondition, NotFound
from resources.kinds import Kind
from resources.meta import Key, Ref, Status
from resources.object import Object

_TICK = 0.5
STANDING = 10.0
"""Seconds after which what fails again and again the same way is waited for no longer."""
_GATHER = 0.04
"""Seconds in which changes are gathered before they are shown."""
_HOPELESS = {
    item.reason
    for item in vars(errors).values()
    if isinstance(item, type) and issubclass(item, EngineError) and not item.retryable
} | {"Invalid"}
_AGAIN = "; it is tried again"
_TRIED_AGAIN = (FailedPrecondition.reason, NotFound.reason)
"""What is so of the host or the image: it is tried again, and mends itself hardly ever."""


_OVER = ("Failed", "Completed", "Stopped")
"""Phases of what will not become ready by itself any more."""
Judge = Callable[[Backend, Key, Ref], Look]


def until_ready(backend: Backend, key: Key, ref: Ref, passing: Container[Key] = ()) -> Look:
    """`passing`: those that go by themselves once they have ended."""
    item = backend.objects.get(key)
    if item is None or item.deleting:
        if key in passing:
            return Look(ref, "Deleting" if item else "Deleted", done=True)
        return Look(ref, "Deleting", "somebody else deletes it", failed=True)
    status = backend.objects.status(key) or Status()
    ready = status.condition("Ready")
    message = "" if ready is None or ready.status == "True" else ready.message or ready.reason
    on_the_way = Progress.of(status)
    if status.observed_generation < item.metadata.generation:
        return Look(ref, status.phase, message)
    if (status.ready or resting(item)) and backend.settled(key):
        return Look(ref, status.phase, done=True)
    over = status.phase in _OVER and not (status.ready or resting(item))
    failed = over or _reason(status) in _HOPELESS
    return Look(ref, status.phase, message, failed=failed, tried_again=_fails(status), progress=on_the_way)


def until_settled(backend: Backend, key: Key, ref: Ref) -> Look:
    """For what a verb asks of one object by hand: it is as the user wants it, ready or not."""
    item = backend.objects.get(key)
    if item is None:
        return Look(ref, "Deleted", done=True)
    status = backend.objects.status(key) or Status()
    over, ready = status.phase in _OVER, status.condition("Ready")
    message = "" if ready is None or ready.status == "True" else ready.message or ready.reason
    asked = item.suspension.state if item.suspension else "running"
    reached = {"stopped": over, "paused": status.phase == "Paused"}.get(asked, over or status.ready)
    if reached and backend.settled(key):
        failed = asked == "running" and status.phase == "Failed"
        return Look(ref, status.phase, message if failed else "", done=not failed, failed=failed)
    return Look(ref, status.phase, message, failed=_reason(status) in _HOPELESS, tried_again=_fails(status))


def _reason(status: Status) -> str:
    ready = status.condition("Ready")
    return "" if ready is None or ready.status == "True" else ready.reason


def _fails(status: Status) -> bool:
    return _reason(status) in _TRIED_AGAIN


def until_gone(backend: Backend, key: Key, ref: Ref) -> Look:
    item = backend.objects.get(key)
    if item is None:
        return Look(ref, "Deleted", done=True)
    status = backend.objects.status(key) or Status()
    if not item.deleting:
        return _implied(backend, item, status)
    ready = status.condition("Ready")
    return Look(ref, "Deleting", ready.message if ready and ready.status != "True" else "")


def _implied(backend: Backend, item: Object, status: Status) -> Look:
    """What nobody declares goes only after its last user, and not at all once it has another one."""
    edges = backend.graph((), item.metadata.namespace)
    users = (backend.objects.find(dependent) for dependent, dependency, _ in edges if dependency == item.ref)
    stay = dict.fromkeys(str(user.ref) for user in users if user is not None and not user.deleting)
    if stay:
        return Look(item.ref, status.phase, f"stays: {', '.join(stay)} needs it", done=True)
    return Look(item.ref, status.phase, "goes with its last user")


def resting(item: Object) -> bool:
    """It is not to run: by its manifest, or because somebody stopped or paused it."""
    if item.kind is not Kind.CONTAINER:
        return False
    return item.suspension is not None or item.effective.state in ("stopped", "created", "paused")


def wait(call: Call, objects: Sequence[tuple[Key, Ref]], judge: Judge) -> int:
    """Wait for all; return DONE, FAILED or NO_PROGRESS. Raises: Cancelled, InvalidArgument."""
    patience = call.duration("timeout", "2m")
    backend = call.backend
    show = display(call)
    looks: dict[Key, Look] = {}
    refs = dict(objects)
    changed: Iterable[Key] = refs
    progress = time.monotonic()
    seen: set[Look] = set()
    furthest: dict[Key, int] = {}
    waiting = list(refs)
    given_up: set[Key] = set()
    while True:
        revision = backend.objects.revision()
        fresh = {key: judge(backend, key, refs[key]) for key in changed}
        # What comes and goes again and again is no progress; more bytes than ever before are.
        states = {replace(look, progress=None) for look in fresh.values()}
        further = {key: look.progress.done for key, look in fresh.items() if look.progress}
        if not seen.issuperset(states) or any(done > furthest.get(key, 0) for key, done in further.items()):
            progress = time.monotonic()
        seen.update(states)
        furthest |= {key: max(done, furthest.get(key, 0)) for key, done in further.items()}
        looks |= fresh
        still = time.monotonic() - progress
        given_up.update(key for key in waiting if still > min(STANDING, patience) and looks[key].tried_again)
        looks |= {key: _given_up(looks[key]) for key in given_up if not (looks[key].done or looks[key].failed)}
        looks |= _stuck(looks)
        show.update(looks.values())
        # Who has once been ready is not waited for again; how it stands is shown all the same.
        waiting = [key for key in waiting if not (looks[key].done or looks[key].failed)]
        if not waiting:
            return show.end(looks.values(), DONE)
        if still > patience:
            return show.end(looks.values(), NO_PROGRESS)
        # What changes beside the store (whether it is settled) is looked at again every now and then.
        changed = {*changes(call, revision, refs), *waiting}


def let_look(backend: Backend, keys: Sequence[Key]) -> None:
    """Give the loop a moment for those that were not changed themselves: what they use may have been."""
    deadline = time.monotonic() + _TICK
    while time.monotonic() < deadline and not all(map(backend.settled, keys)):
        time.sleep(0.005)


def _given_up(look: Look) -> Look:
    return replace(look, failed=True, message=f"{look.message.removesuffix(_AGAIN)}; the engine keeps trying")


def _stuck(looks: Mapping[Key, Look]) -> dict[Key, Look]:
    """Those that wait for what has failed for good have failed with it: a blocker begins with the name of what it is.
    What runs while a change of it waits, waits as well."""
    found: dict[Key, Look] = {}
    lost = [str(look.ref) for look in looks.values() if look.failed]
    while lost:
        name = lost.pop()
        for key, look in looks.items():
            waits = any(part.startswith(f"{name} ") for part in look.message.split("; "))
            if waits and not (look.done or look.failed) and key not in found:
                found[key] = replace(look, failed=True)
                lost.append(str(look.ref))
    return found


def changes(call: Call, revision: int, keys: Container[Key]) -> set[Key]:
    """The keys of interest that changed since; returns soon after the first of them, or after a while."""
    found: set[Key] = set()
    until = time.monotonic() + _TICK

    def stopped() -> bool:
        if call.session.cancelled():
            raise Cancelled("interrupted")
        return time.monotonic() >= until

    for key in call.backend.changes(revision, stopped):
        if key in keys:
            found.add(key)
            until = min(until, time.monotonic() + _GATHER)
        if stopped():
            break
    return found
