"""What Docker's config.json says about logging in: the part `auths`, of a document that was read already."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resources.image_reference import DEFAULT_DOMAIN

_HUB = "https://index.docker.io/v1/"
_HUB_HOSTS = ("index.docker.io", "registry-1.docker.io", "docker.io")
_OLD_PATHS = ("", "v1", "v2", "v1/", "v2/")


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return "Login(…)"


def login_for(document: Mapping[str, Any], host: str) -> Login | None:
    """What it has for a registry (`docker.io`, `registry.local:5000`).

    Raises: ValueError saying what is wrong, without quoting from it.
    """
    auths = document.get("auths") or {}
    if not isinstance(auths, dict):
        raise ValueError("auths is not an object")
    # What `docker login` would write, rather than what means the same.
    for key in sorted((key for key in auths if host_of(key) == host), key=lambda key: key != key_of(host)):
        entry = auths[key]
        if not isinstance(entry, dict):
            raise ValueError(f"what it has for {host} is not an object")
        if entry:
            return _login(entry, host)
    return None


def key_of(host: str) -> str:
    """What a registry is called in `auths`."""
    return _HUB if host == DEFAULT_DOMAIN else host


def host_of(server: str) -> str:
    """The registry that a key of `auths` is for; "" for one that is for less than a whole registry."""
    rest = server.partition("://")[2] or server
    host, _, path = rest.partition("/")
    if path not in _OLD_PATHS:
        return ""
    return DEFAULT_DOMAIN if host in _HUB_HOSTS else host


def _login(entry: Mapping[str, Any], host: str) -> Login | None:
    values = [entry.get(name) or "" for name in ("auth", "username", "password", "identitytoken")]
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"what it has for {host} is not text")
    encoded, user, password, token = values
    if encoded:
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:  # also of what is no ASCII
            raise ValueError(f"what it has for {host} is not base64 of user:password") from None
        password = password.strip("\0")
    found = Login(user, password, token)
    return found if found != Login() else None
