"""start, stop, restart, pause and resume as changes of one container's desired state, whoever asks for them."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from controller.interface import Backend
from resources.errors import FailedPrecondition
from resources.meta import Ref, Status
from resources.object import Object, Suspension

OVER = ("Completed", "Failed", "Stopped")
"""Phases of what has ended and stays so by itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, when, and a word that tells one request from another."""

    manager: str
    now: datetime
    request: str


Change = Callable[[Object, Status, Asked], Object]


def _suspended(state: Literal["stopped", "paused"], item: Object, asked: Asked) -> Object:
    if item.suspension is not None and item.suspension.state == state:
        return item
    return item.model_copy(update={"suspension": Suspension(state=state, by=asked.manager, at=asked.now)})


def _stop(item: Object, _: Status, asked: Asked) -> Object:
    return _suspended("stopped", item, asked)


def _pause(item: Object, status: Status, asked: Asked) -> Object:
    if status.phase in OVER:
        raise FailedPrecondition(f"{item.ref} does not run: it is {status.phase}")
    return _suspended("paused", item, asked)


def _start(item: Object, status: Status, asked: Asked) -> Object:
    _check_state(item)
    ended = item.suspension is None and status.phase in OVER
    update: dict[str, object] = {"restart_request": asked.request} if ended else {}
    return item.model_copy(update={**update, "suspension": None})


def _restart(item: Object, _: Status, asked: Asked) -> Object:
    _check_state(item)
    return item.model_copy(update={"suspension": None, "restart_request": asked.request})


def _resume(item: Object, _: Status, __: Asked) -> Object:
    if item.suspension is None or item.suspension.state != "paused":
        raise FailedPrecondition(f"{item.ref} is not paused by hand")
    return item.model_copy(update={"suspension": None})


def _check_state(item: Object) -> None:
    state = item.effective.state
    if state not in (None, "running"):
        raise FailedPrecondition(f"the manifest of {item.ref} says `state: {state}`", hint="apply another manifest")


_CHANGES: Mapping[str, tuple[Change, str]] = {
    "start": (_start, "Started"),
    "stop": (_stop, "Stopped"),
    "restart": (_restart, "Restarted"),
    "pause": (_pause, "Paused"),
    "resume": (_resume, "Resumed"),
}
VERBS = tuple(_CHANGES)


def ask(backend: Backend, verb: str, ref: Ref, manager: str) -> Object:
    """Write it and wake the loop. Raises: NotFound, FailedPrecondition."""
    change, reason = _CHANGES[verb]
    asked = Asked(manager, datetime.now(UTC), secrets.token_hex(8))

    def changed(item: Object) -> Object:
        return change(item, backend.objects.status(item.key) or Status(), asked)

    return backend.edit(ref, changed, manager=manager, reason=reason)
