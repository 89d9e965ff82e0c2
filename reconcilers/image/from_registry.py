"""What there is to do about an image of a registry (PURE): pull it, use what is here of it, ask whether it has moved."""

from dataclasses import replace

from reconcilers.attempts import Turn
from reconcilers.conditions import Decision, blocked, refused
from reconcilers.image.model import Auth, ImageAction, ObservedImage, StartPull, UseLocal, Wanted
from reconcilers.interface import Context
from resources.errors import NotFound
from resources.image_reference import parse
from resources.kinds import Kind
from resources.meta import Ref
from resources.object import Object
from resources.secret import SecretContent


def bringing(desired: Object, observed: ObservedImage, wanted: Wanted, context: Context) -> StartPull | UseLocal | None:
    """How its content comes here; None when it cannot, since it may not be pulled."""
    policy = desired.effective.pull
    pinned = bool(parse(wanted.reference).digest)
    if observed.local is not None and (policy != "always" or pinned):
        return UseLocal(observed.uid, wanted, observed.local)
    if policy == "never":
        return None
    return StartPull(observed.uid, wanted, auth_of(desired, context), 1)


def missing(wanted: Wanted) -> Decision[ImageAction]:
    return refused(
        NotFound(f"{wanted.reference} is not here and pull is never", hint="`lading image load` brings it here")
    )


def asking(
    desired: Object, observed: ObservedImage, wanted: Wanted, context: Context, *, useless: bool = False
) -> StartPull | None:
    """The question whether the reference has moved, where an apply wants it asked. A digest does not move. `useless`: what
    is here cannot be unpacked, so that it is no reason to be content with it."""
    record, policy = observed.record, desired.effective.pull
    if record is None or observed.ask is None or context.planning:
        return None
    if policy == "never" or (policy != "always" and not useless):
        return None
    if not wanted.reference or parse(wanted.reference).digest:
        return None
    # What was never resolved is pulled, which costs no more than asking when it is here.
    return StartPull(observed.uid, wanted, auth_of(desired, context), 1, unless=record.resolved)


def asked(settled: Decision[ImageAction], action: StartPull, now: Turn, context: Context) -> Decision[ImageAction]:
    """The content is here, and what is of use stays in use whatever the registry answers."""
    waiting = blocked(context, "Pending")
    if waiting is not None:
        now = Turn(reason=waiting.reason, message=waiting.message)
    actions = settled.diff.actions
    if now.start:
        actions = (*actions, replace(action, attempt=now.start))
    wakes = [at for at in (settled.diff.wake_at, now.wake_at) if at is not None]
    diff = replace(settled.diff, actions=actions, wake_at=min(wakes, default=None), waiting=now.message)
    phase = now.failure if now.failed else "Checking"
    reason = now.reason if now.failed or waiting is not None else "Checking"
    return Decision(diff, phase, reason, now.message or f"asks what {action.wanted.reference} is now")


def auth_of(desired: Object, context: Context) -> Auth | None:
    auth = desired.effective.auth
    if auth is None:
        return None
    secret = context.dependencies.get(Ref(kind=Kind.SECRET, namespace=desired.metadata.namespace, name=auth.secret))
    content: SecretContent | None = None if secret is None else secret.effective
    return Auth(auth.secret, {} if content is None else content.entries)
