"""What a client may send: bounded, JSON, from no browser; anything else is refused before a handler sees it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from resources.errors import InvalidArgument

MAX_BODY = 8 * 1024 * 1024
_BODY_SECONDS = 60
HOSTS = frozenset({"localhost", "lading", "127.0.0.1", "::1"})
_UPLOAD = "application/octet-stream"
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def check(request: web.Request) -> None:
    """Raises: an HTTP error. The socket's file mode says who may come; this says what may come through a browser or a
    proxy on such a person's machine: nothing."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1:
        raise web.HTTPBadRequest(text="a request has one Host")
    if hosts and _host(hosts[0]) not in HOSTS:
        raise web.HTTPMisdirectedRequest(text=f"this is not {hosts[0][:60]!r}; address it as localhost")
    if request.method in _WRITES:
        if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise web.HTTPForbidden(text="pages of browsers may change nothing here")
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise web.HTTPUnsupportedMediaType(text="send the body as it is, without Content-Encoding")
        if request.body_exists and request.content_type not in ("application/json", _UPLOAD):
            raise web.HTTPUnsupportedMediaType(text="send Content-Type: application/json")


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


async def read_json(request: web.Request) -> dict[str, Any]:
    """The body, an object. Raises: InvalidArgument, HTTPRequestEntityTooLarge."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send Content-Type: application/json")
    if (request.content_length or 0) > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY, request.content_length or 0)
    try:
        raw = await asyncio.wait_for(request.read(), _BODY_SECONDS)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not come within {_BODY_SECONDS} seconds") from None
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise InvalidArgument("the body is nested too deeply") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise InvalidArgument("the body is not a JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:60]!r} is there twice")
    return value


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def flag(values: Mapping[str, str], name: str) -> bool:
    """`?cascade`, `?cascade=1`, `?cascade=true`."""
    word = values.get(name, "0").lower()
    if word in ("", "1", "true"):
        return True
    if word in ("0", "false"):
        return False
    raise InvalidArgument(f"{name} is true or false, not {word[:20]!r}")


def number(values: Mapping[str, str], name: str, otherwise: int) -> int:
    word = values.get(name)
    if word is None or word == "":
        return otherwise
    if not (word.isascii() and word.isdigit() and len(word) < 19):
        raise InvalidArgument(f"{name} is a whole number, not {word[:20]!r}")
    return int(word)


def text(values: Mapping[str, Any], name: str, otherwise: str = "") -> str:
    value = values.get(name, otherwise)
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} is a string")
    return value


def truth(values: Mapping[str, Any], name: str) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise InvalidArgument(f"{name} is true or false")
    return value
