"""What a registry's refusal means to a user. Its own words are never repeated: they could hold what we sent it."""

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from drivers.images.interface import Credentials
from drivers.images.registry.transport import Reply
from drivers.images.registry.trouble import Passing
from drivers.images.strictjson import load_object
from resources.errors import EngineError, NotFound, PermissionDenied, Unavailable

_MAX_BODY = 64 << 10
_MAX_WAIT = 30 * 86_400
_NO_REPOSITORY = "NAME_UNKNOWN"
_PASSING = (408, 425, 429, 500, 502, 503, 504)


def refusal(reply: Reply, host: str, what: str, credentials: Credentials | None) -> EngineError:
    """The error for an answer that is none of those asked for; `what` is `nginx:1.27` or a digest, `host` as users
    name the registry."""
    code = _code(reply)
    login, logged_in = f"`lading login {host}`", credentials is not None
    if reply.status in (401, 403):
        if credentials is None:
            return PermissionDenied(
                f"{host} has no {what}, or it may not be read without a login", hint=f"check the name, or {login}"
            )
        another = f"put another login into {credentials.source}" if credentials.source else f"{login} as another"
        return PermissionDenied(
            f"{host} has no {what}, or {_login(credentials)} may not read it", hint=f"check the name, or {another}"
        )
    if reply.status == 404:
        part = "repository" if code == _NO_REPOSITORY else "image"
        unless = "" if logged_in else f"; if it is private: {login}"
        return NotFound(f"{host} has no such {part}: {what}", hint=f"check the name and the tag{unless}")
    if reply.status in _PASSING:
        after = asked_to_wait(reply.headers)
        why = "has had too many requests from here" if reply.status == 429 else f"has trouble (HTTP {reply.status})"
        until = f" and asks to wait until {moment(after)}" if after else ""
        hint = login + " raises the limit at most registries" if reply.status == 429 and not logged_in else ""
        return Passing(f"{host} {why}{until}", hint=hint, after=after)
    return Unavailable(f"{host} answers HTTP {reply.status} when asked for {what}")


def login_refused(server: str, host: str, credentials: Credentials) -> PermissionDenied:
    """`server` is the registry `host` itself, or the one that gives tokens for it."""
    beside = "" if server == host else f" for {host}"
    again = f"check {credentials.source}" if credentials.source else f"`lading login {host}` anew"
    return PermissionDenied(f"{server} refuses {_login(credentials)}{beside}", hint=again)


def asked_to_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds, from a Retry-After in seconds or as a date; None when there is none that can be understood."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), _MAX_WAIT)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(seconds, 0.0), _MAX_WAIT) if math.isfinite(seconds) else None


def moment(after: float) -> str:
    return datetime.fromtimestamp(time.time() + after, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _login(credentials: Credentials) -> str:
    return f"the login of {credentials.source}" if credentials.source else "the login"


def _code(reply: Reply) -> str:
    """The code of the first error in the body, if it is one of the specification's."""
    try:
        document = load_object(reply.whole(_MAX_BODY, "the error"), "the error", _MAX_BODY)
    except EngineError:
        return ""
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    code = first.get("code") if isinstance(first, dict) else None
    return code if code == _NO_REPOSITORY else ""
