"""What requests prove themselves with: Basic, or tokens from the server that a registry names; kept while they hold."""

import base64
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from drivers.images.interface import Credentials
from drivers.images.registry.challenge import Challenge
from drivers.images.registry.origin import Origin, Url
from drivers.images.registry.realm import checked_realm
from drivers.images.registry.refusal import asked_to_wait, login_refused
from drivers.images.registry.transport import Reply, Session
from drivers.images.registry.trouble import Passing
from drivers.images.strictjson import load_object
from resources.errors import InvalidArgument, PermissionDenied, Unavailable

_MAX_ANSWER = 1 << 20
_MAX_KEPT = 256
_SHORTEST, _DEFAULT, _LONGEST = 10, 60, 3600
_TOKEN = re.compile(r"[!-~]{1,65536}", re.ASCII)
_CLIENT = "lading"


class Key(NamedTuple):
    host: str
    """The registry as users name it."""
    origin: Origin
    scope: str
    credentials: Credentials | None


class Tokens:
    """Values of Authorization headers by registry, scope and who asks; the oldest go when there are too many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[str, float]] = OrderedDict()

    def known(self, key: Key) -> str | None:
        with self._lock:
            value, until = self._kept.get(key, ("", 0.0))
            if not value or self._clock() >= until:
                self._kept.pop(key, None)
                return None
            self._kept.move_to_end(key)
            return value

    def forget(self, key: Key) -> None:
        with self._lock:
            self._kept.pop(key, None)

    def obtain(self, session: Session, key: Key, asked: Sequence[Challenge]) -> str:
        """Answer a 401. Raises: PermissionDenied (nothing to answer with, or it is refused), Unavailable, Passing."""
        bearer = next((one for one in asked if one.scheme == "bearer" and "realm" in one.parameters), None)
        where, credentials = key.host, key.credentials
        if bearer is not None:
            value, seconds = _fetch(session, key, bearer)
            return self._keep(key, f"Bearer {value}", seconds * 0.9)
        if not any(one.scheme == "basic" for one in asked):
            raise Unavailable(f"{where} asks for a way to log in that is not known here", hint="Basic and Bearer are")
        if credentials is None:
            raise PermissionDenied(f"{where} wants a login", hint=f"`lading login {where}`")
        if not credentials.username:
            again = f"check {credentials.source}" if credentials.source else f"`lading login {where}`"
            raise PermissionDenied(
                f"{where} wants a name and a password, and there is only an identity token for it", hint=again
            )
        return self._keep(key, basic(credentials), _LONGEST)

    def _keep(self, key: Key, value: str, seconds: float) -> str:
        with self._lock:
            self._kept[key] = (value, self._clock() + seconds)
            self._kept.move_to_end(key)
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return value


def basic(credentials: Credentials) -> str:
    return f"Basic {base64.b64encode(f'{credentials.username}:{credentials.password}'.encode()).decode()}"


def is_basic(value: str) -> bool:
    """It is a name and a password. Of a token nobody knows what is refused: the login, or this one thing to it."""
    return value.startswith("Basic ")


def _fetch(session: Session, key: Key, challenge: Challenge) -> tuple[str, float]:
    realm = checked_realm(challenge.parameters["realm"], key.origin)
    service = challenge.parameters.get("service", "")
    if key.credentials is not None and key.credentials.identity_token:
        reply = _post(session, realm, service, key)
    else:
        reply = _get(session, realm, service, key)
    where = realm.origin.netloc
    if reply.status != 200:
        raise _refused(reply, key, where)
    return _token(reply.whole(_MAX_ANSWER, f"the token of {where}"), where)


def _get(session: Session, realm: Url, service: str, key: Key) -> Reply:
    asked = {"service": service, "scope": key.scope, "client_id": _CLIENT}
    headers = {}
    if key.credentials is not None:
        asked["account"] = key.credentials.username
        headers["Authorization"] = basic(key.credentials)
    path, _, given = realm.target.partition("?")
    query = urlencode([*parse_qsl(given), *((name, value) for name, value in asked.items() if value)])
    return session.follow("GET", Url(realm.origin, f"{path}?{query}"), headers, key.origin)


def _post(session: Session, realm: Url, service: str, key: Key) -> Reply:
    assert key.credentials is not None
    form = {
        "grant_type": "refresh_token",
        "refresh_token": key.credentials.identity_token,
        "client_id": _CLIENT,
        "service": service,
        "scope": key.scope,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({name: value for name, value in form.items() if value}).encode()
    return session.follow("POST", realm, headers, key.origin, body)


def _refused(reply: Reply, key: Key, where: str) -> Exception:
    reply.close()
    registry = key.host
    if reply.status in (400, 401, 403):
        if key.credentials is None:
            return PermissionDenied(f"{registry} gives nothing without a login", hint=f"`lading login {registry}`")
        return login_refused(where, registry, key.credentials)
    if reply.status == 429 or reply.status >= 500:
        return Passing(f"{where} gives no token now (HTTP {reply.status})", after=asked_to_wait(reply.headers))
    return Unavailable(f"{where} gives no token (HTTP {reply.status})")


def _token(data: bytes, where: str) -> tuple[str, float]:
    try:
        answer = load_object(data, f"the token of {where}", _MAX_ANSWER)
    except InvalidArgument:
        # What is wrong with it would quote from it.
        raise Unavailable(f"{where} answers with what is no token") from None
    value = answer.get("token") or answer.get("access_token")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise Unavailable(f"{where} answers with what is no token")
    seconds = answer.get("expires_in", _DEFAULT)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        seconds = _DEFAULT
    return value, min(max(seconds, _SHORTEST), _LONGEST)
