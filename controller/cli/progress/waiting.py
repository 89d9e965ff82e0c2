"""Waiting until objects are as asked.

A wait ends when all it waits for is done or has failed. What fails and is tried again has failed for the wait once it has
done so the same way for a while, and whatever else is waited for is done, has failed, or waits for it: what others are
still about to do may mend it (a port that is about to be free). An error is never progress.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from controller.cli.commandline.call import Call
from controller.cli.progress.showing import DONE, NO_PROGRESS, Look, Progress, described, display
from controller.interface import Backend
from resources import errors
from resources.errors import Cancelled, EngineError
from resources.kinds import Kind, parse_kind
from resources.meta import Key, Ref, Status
from resources.object import Object

TICK = 0.5
STANDING = 10.0
"""Seconds after which what fails again and again the same way is waited for no longer."""
_GATHER = 0.04
"""Seconds in which changes are gathered before they are shown."""
_ERRORS = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, EngineError)]
_HOPELESS = {item.reason for item in _ERRORS if not item.retryable} | {"Invalid"}
_TRIED_AGAIN = {item.reason for item in _ERRORS if item.retryable} | {"InternalError", "CreateFailed"}
_AGAIN = "; it is tried again"
_ABSENT = " does not exist"
_NO_CONTENT = "; the content of its image is not here"
"""What a container says beside that its image is not ready, which says it all."""
_LINE = 160
"""Characters that one line may have where it tells the cause of another's failure."""
_OVER = ("Failed", "Completed", "Stopped")
"""Phases of what will not become ready by itself any more."""
_BLOCKER = re.compile(r"([a-z]+)/(\S+) ")
"""How a blocker begins: with the name of what it is."""
_NUMBER = re.compile(r"[0-9]+")
Judge = Callable[[Backend, Key, Ref], Look]
Uses = Mapping[Key, Collection[Key]]
"""What each uses, of those that are waited for."""
NO_USES: Uses = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Unsettled(Look):
    """The loop has still to say how it is, or that it is as it should be: nothing to tell the user yet."""


@dataclass(frozen=True, slots=True)
class Held(Unsettled):
    """It is as it should be, but what it uses is still looked at: it may be made anew because of what comes of that."""


def until_ready(backend: Backend, key: Key, ref: Ref, passing: Container[Key] = ()) -> Look:
    """`passing`: those that go by themselves once they have ended."""
    item = backend.objects.get(key)
    if item is None or item.deleting:
        if key in passing:
            return Look(ref, "Deleting" if item else "Deleted", done=True)
        return Look(ref, "Deleting", "somebody else deletes it", failed=True)
    status = backend.objects.status(key) or Status()
    if status.observed_generation < item.metadata.generation:
        ready = status.condition("Ready")
        if ready is not None and ready.observed_generation >= item.metadata.generation:  # it cannot even be looked at
            return _open(ref, status)
        return Unsettled(ref, status.phase, _message(status))  # what it reports is of the time before
    if status.ready or resting(item):
        if backend.settled(key):
            return Look(ref, status.phase, done=True)
        return Unsettled(ref, status.phase, _message(status))
    return _open(ref, status, failed=status.phase in _OVER)


def until_settled(backend: Backend, key: Key, ref: Ref) -> Look:
    """For what a verb asks of one object by hand: it is as the user wants it, ready or not."""
    item = backend.objects.get(key)
    if item is None:
        return Look(ref, "Deleted", done=True)
    status = backend.objects.status(key) or Status()
    over = status.phase in _OVER
    asked = item.suspension.state if item.suspension else "running"
    reached = {"stopped": over, "paused": status.phase == "Paused"}.get(asked, over or status.ready)
    if not reached:
        return _open(ref, status)
    failed = asked == "running" and status.phase == "Failed"
    if backend.settled(key):
        return Look(ref, status.phase, _message(status) if failed else "", done=not failed, failed=failed)
    return Unsettled(ref, status.phase, _message(status))


def until_gone(backend: Backend, key: Key, ref: Ref) -> Look:
    item = backend.objects.get(key)
    if item is None:
        return Look(ref, "Deleted", done=True)
    status = backend.objects.status(key) or Status()
    if not item.deleting:
        return _implied(backend, item, status)
    if status.phase != "Deleting":  # what it reports is of the time before
        return Look(ref, "Deleting")
    look = _open(ref, status)
    return replace(look, failed=False, message="" if look.message == "Deleting" else look.message)


def _open(ref: Ref, status: Status, *, failed: bool = False) -> Look:
    """Of what is not as it should be yet."""
    message, reason = _message(status), _reason(status)
    again = reason in _TRIED_AGAIN or any(part.endswith(_ABSENT) for part in message.split("; "))
    failed = failed or reason in _HOPELESS
    return Look(ref, status.phase, message, failed=failed, tried_again=again, progress=Progress.of(status))


def _message(status: Status) -> str:
    ready = status.condition("Ready")
    return "" if ready is None or ready.status == "True" else ready.message or ready.reason


def _reason(status: Status) -> str:
    ready = status.condition("Ready")
    return "" if ready is None or ready.status == "True" else ready.reason


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


def judged(
    backend: Backend, refs: Mapping[Key, Ref], keys: Iterable[Key], judge: Judge, uses: Uses, waiting: Collection[Key]
) -> dict[Key, Look]:
    """How these look. Those that others use come first: once they are done the loop has been told to look at their users,
    and who is judged after that is done only when it has looked. `waiting`: those not done yet, all of them in `keys`."""
    found: dict[Key, Look] = {}
    chosen = frozenset(keys)
    for key in _used_first([key for key in refs if key in chosen], uses):
        look = judge(backend, key, refs[key])
        used = (found.get(other) for other in uses.get(key, ()) if other in waiting)
        if look.done and any(one is not None and not (one.done or one.failed) for one in used):
            look = Held(look.ref, look.phase)
        found[key] = look
    return found


def _used_first(keys: Sequence[Key], uses: Uses) -> list[Key]:
    """A chain of them may be longer than the interpreter's stack; a ring begins anywhere."""
    wanted, begun, ordered = set(keys), set[Key](), dict[Key, None]()
    for first in keys:
        open_ = [first]
        while open_:
            key = open_[-1]
            if key in begun:
                ordered.setdefault(open_.pop())
            else:
                begun.add(key)
                open_ += [other for other in uses.get(key, ()) if other in wanted and other not in begun]
    return list(ordered)


def with_users(keys: Iterable[Key], uses: Uses) -> set[Key]:
    """These and whatever uses them, one way or the other."""
    found, grows = set(keys), True
    while grows:
        more = {key for key, used in uses.items() if key not in found and not found.isdisjoint(used)}
        found |= more
        grows = bool(more)
    return found


def wait(call: Call, objects: Sequence[tuple[Key, Ref]], judge: Judge, uses: Uses = NO_USES) -> int:
    """Wait for all; return DONE, FAILED or NO_PROGRESS. Raises: Cancelled, InvalidArgument."""
    patience = call.duration("timeout", "2m")
    backend, show, told = call.backend, display(call), _Told(call)
    refs = dict(objects)
    course = _Course(patience)
    looks: dict[Key, Look] = {}
    changed: Iterable[Key] = refs
    waiting = list(refs)
    while True:
        revision = backend.objects.revision()
        fresh = judged(backend, refs, changed, judge, uses, waiting)
        course.note(fresh)
        looks |= fresh
        looks |= course.given_up(looks, waiting, _outside(backend, looks, waiting))
        show.update(told.news(looks))
        # Who has once been ready is not waited for again; how it stands is shown all the same.
        waiting = [key for key in waiting if not (looks[key].done or looks[key].failed)]
        if not waiting:
            return show.end(looks.values(), DONE)
        left = course.left()
        if left <= 0:
            return show.end(looks.values(), NO_PROGRESS)
        # What changes beside the store (whether it is settled) is looked at again every now and then.
        changed = {*changes(call, revision, refs, min(TICK, left)), *waiting}


@dataclass(slots=True)
class _Course:
    """Whether a wait gets on, and what has failed the same way since when."""

    patience: float
    progress: float = field(default_factory=time.monotonic)
    """When something last got on."""
    seen: set[Look] = field(default_factory=set)
    phases: set[tuple[Key, str]] = field(default_factory=set)
    furthest: dict[Key, int] = field(default_factory=dict)
    fails: dict[Key, tuple[Look, float]] = field(default_factory=dict)
    """How it failed last, and since when it fails that way; also while it is being tried again."""

    def note(self, fresh: Mapping[Key, Look]) -> None:
        now = time.monotonic()
        for key, look in fresh.items():
            further = look.progress is not None and look.progress.done > self.furthest.get(key, 0)
            if look.progress is not None and further:
                self.furthest[key] = look.progress.done
            self._note_failure(key, look, now)
            if look.tried_again and not further:
                continue
            # What comes and goes again and again is no progress, nor is one more try of what failed; more bytes than ever
            # before are.
            state = _state(look)
            again = key in self.fails and (key, look.phase) in self.phases
            if further or not (again or state in self.seen):
                self.progress = now
                self.fails.pop(key, None)
            self.seen.add(state)
            self.phases.add((key, look.phase))

    def _note_failure(self, key: Key, look: Look, now: float) -> None:
        if look.tried_again:
            before, since = self.fails.get(key, (None, now))
            same = before is not None and _NUMBER.sub("0", before.message) == _NUMBER.sub("0", look.message)
            self.fails[key] = (look, since if same else now)
        elif look.done:
            self.fails.pop(key, None)

    def left(self) -> float:
        """Seconds of patience."""
        return self.patience - (time.monotonic() - self.progress)

    def given_up(
        self, looks: Mapping[Key, Look], waiting: Sequence[Key], outside: Mapping[Key, Look]
    ) -> dict[Key, Look]:
        """Those that wait for what has failed; and, where nothing but failures is waited for, those that stand too."""
        self.note(outside)
        every = {**outside, **looks}
        lost = _stuck(every, outside)
        standing = {key: _given_up(self.fails[key][0]) for key, look in every.items() if self._stands(key, look)}
        all_lost = {**lost, **standing}
        all_lost |= _stuck({**every, **all_lost}, outside)
        over = all(
            key in all_lost or looks[key].done or looks[key].failed or isinstance(looks[key], Held) for key in waiting
        )
        return {key: look for key, look in (all_lost if over else lost).items() if key in looks}

    def _stands(self, key: Key, look: Look) -> bool:
        if key not in self.fails or look.done or look.failed:
            return False
        now = time.monotonic()
        return now - self.fails[key][1] > STANDING and now - self.progress > STANDING


class _Told:
    """What the user has seen of each object. A plain line is said once, whatever comes and goes behind the words; how it
    ends is said in any case."""

    def __init__(self, call: Call) -> None:
        self._plain = not (call.session.stdout_tty or call.arguments.text("output") == "json")
        self._shown: dict[Key, Look] = {}
        self._said: dict[Key, set[str]] = defaultdict(set)
        self._last: dict[Key, str] = {}

    def news(self, looks: Mapping[Key, Look]) -> list[Look]:
        self._shown |= {key: look for key, look in looks.items() if not isinstance(look, Unsettled)}
        if not self._plain:
            return list(self._shown.values())
        return [look for key, look in self._shown.items() if self._moves(look) or self._is_news(key, look)]

    def _moves(self, look: Look) -> bool:
        """How often that is worth a line is judged where it is shown."""
        return look.progress is not None and look.progress.done > 0

    def _is_news(self, key: Key, look: Look) -> bool:
        line = described(look)
        over = look.done or look.failed
        if line in self._said[key] and not (over and line != self._last[key]):
            return False
        self._said[key].add(line)
        self._last[key] = line
        return True


def let_look(backend: Backend, keys: Sequence[Key]) -> None:
    """Give the loop a moment for those that were not changed themselves: what they use may have been."""
    deadline = time.monotonic() + TICK
    while time.monotonic() < deadline and not all(map(backend.settled, keys)):
        time.sleep(0.005)


def _state(look: Look) -> Look:
    """What of it is news. How what it waits for gets on is news of that, and not of this."""
    blockers = _BLOCKER.findall(look.message)
    message = " ".join("/".join(blocker) for blocker in blockers) if blockers else look.message
    return replace(look, progress=None, message=message)


def _given_up(look: Look) -> Look:
    return replace(look, failed=True, message=f"{look.message.removesuffix(_AGAIN)}; the engine keeps trying")


def _stuck(looks: Mapping[Key, Look], outside: Container[Key]) -> dict[Key, Look]:
    """Those that wait for what has failed for good have failed with it: a blocker begins with the name of what it is.
    What runs while a change of it waits, waits as well."""
    found: dict[Key, Look] = {}
    lost = [(key, look) for key, look in looks.items() if look.failed]
    told: set[Key] = set()
    while lost:
        cause, failed = lost.pop()
        for key, look in looks.items():
            waits = any(part.startswith(f"{failed.ref} ") for part in look.message.split("; "))
            if waits and not (look.done or look.failed) and key not in found:
                message = look.message.removesuffix(_NO_CONTENT)
                # One without a line of its own is told of in any case, another one by the first that waits for it.
                short = len(message) + len(failed.message) <= _LINE and cause not in told
                if failed.message not in message and (cause in outside or short):
                    told.add(cause)
                    message = f"{message}: {failed.message}"
                found[key] = replace(look, failed=True, message=message)
                lost.append((key, found[key]))
    return found


def _outside(backend: Backend, looks: Mapping[Key, Look], waiting: Iterable[Key]) -> dict[Key, Look]:
    """What is not waited for itself, but by those that are."""
    named = {look.ref for look in looks.values()}
    found: dict[Key, Look] = {}
    for look in (looks[key] for key in waiting):
        for word, name in _BLOCKER.findall(look.message):
            kind = parse_kind(word)
            ref = kind and Ref(kind=kind, namespace=look.ref.namespace, name=name)
            item = backend.objects.find(ref) if ref and ref not in named else None
            if item is not None and not item.deleting:
                found[item.key] = until_ready(backend, item.key, item.ref)
    return found


def changes(call: Call, revision: int, keys: Container[Key], within: float = TICK) -> set[Key]:
    """The keys of interest that changed since; returns soon after the first of them, or after a while."""
    found: set[Key] = set()
    until = time.monotonic() + within

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
    while not found and not stopped():  # an engine that ends tells of no change any more, and will cancel this
        time.sleep(_GATHER)
    return found
