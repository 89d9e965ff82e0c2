"""PURE: start, stop, restart, pause and resume as changes of one container's desired state, as the command makes them."""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

from resources.errors import FailedPrecondition
from resources.meta import Status
from resources.object import Object, Suspension

MANAGER = "api"
_OVER = ("Completed", "Failed", "Stopped")
Change = Callable[[Object, Status], Object]


def _suspended(state: Literal["stopped", "paused"], item: Object) -> Object:
    if item.suspension is not None and item.suspension.state == state:
        return item
    return item.model_copy(update={"suspension": Suspension(state=state, by=MANAGER, at=datetime.now(UTC))})


def _stop(item: Object, _: Status) -> Object:
    return _suspended("stopped", item)


def _pause(item: Object, status: Status) -> Object:
    if status.phase in _OVER:
        raise FailedPrecondition(f"{item.ref} does not run: it is {status.phase}")
    return _suspended("paused", item)


def _start(item: Object, status: Status) -> Object:
    _check_state(item)
    ended = item.suspension is None and status.phase in _OVER
    update: dict[str, object] = {"restart_request": secrets.token_hex(8)} if ended else {}
    return item.model_copy(update={**update, "suspension": None})


def _restart(item: Object, _: Status) -> Object:
    _check_state(item)
    return item.model_copy(update={"suspension": None, "restart_request": secrets.token_hex(8)})


def _resume(item: Object, _: Status) -> Object:
    if item.suspension is None or item.suspension.state != "paused":
        raise FailedPrecondition(f"{item.ref} is not paused by hand")
    return item.model_copy(update={"suspension": None})


def _check_state(item: Object) -> None:
    state = item.effective.state
    if state not in (None, "running"):
        raise FailedPrecondition(f"the manifest of {item.ref} says `state: {state}`", hint="apply another manifest")


VERBS: Mapping[str, Change] = {
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "pause": _pause,
    "resume": _resume,
}
