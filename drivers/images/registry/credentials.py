"""Credentials in the format of Docker's config.json: `auths`, `credsStore`, `credHelpers`.

Several files can be read; only the first is ever written. What else is in it stays as it is.
"""

import base64
import json
import os
import stat
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drivers.images.interface import Credentials
from drivers.images.registry.credential_helper import CredentialHelper
from drivers.images.registry.origin import origin
from drivers.images.strictjson import load_object
from drivers.kernel.durable import write_durable
from resources.docker_auths import host_of, key_of, login_for
from resources.errors import DataLoss, InvalidArgument, ResourceExhausted

_LIMIT = 4 << 20
_INHERITED = ("PATH", "HOME")


class DockerCredentials:
    def __init__(
        self, paths: Sequence[Path], *, environment: Mapping[str, str] | None = None, helper_timeout: float = 15.0
    ) -> None:
        """`environment` is what helpers get PATH and HOME from."""
        if not paths:
            raise InvalidArgument("credentials without a file to keep them in")
        self._paths = tuple(paths)
        self._environment = {name: value for name, value in (environment or {}).items() if name in _INHERITED}
        self._timeout = helper_timeout
        self._lock = threading.Lock()

    def get(self, host: str) -> Credentials | None:
        for path in self._paths:
            document = _read(path)
            helper = self._helper(document, host, path)
            found = helper.get(key_of(host)) if helper else None
            found = found or _stored(document, host, path)
            if found:
                return found
        return None

    def put(self, host: str, credentials: Credentials) -> None:
        origin("https", host)
        _check(credentials)
        path = self._paths[0]
        with self._lock:
            document = _read(path)
            helper = self._helper(document, host, path)
            auths = _without(document, host, path)
            if helper:
                helper.put(key_of(host), credentials)
            auths[key_of(host)] = {} if helper else _entry(credentials)
            _write(path, {**document, "auths": auths})

    def delete(self, host: str) -> bool:
        origin("https", host)
        path = self._paths[0]
        with self._lock:
            document = _read(path)
            helper = self._helper(document, host, path)
            known = helper is not None and helper.get(key_of(host)) is not None
            if helper and known:
                helper.delete(key_of(host))
            left = _without(document, host, path)
            known = known or bool(_stored(document, host, path))
            if left != document.get("auths", {}):
                _write(path, {**document, "auths": left})
        return known

    def list(self) -> Sequence[tuple[str, str]]:
        found: dict[str, str] = {}
        for path in self._paths:
            document = _read(path)
            for server in _object(document, "auths", path):
                host = host_of(server)
                stored = _stored(document, host, path) if host else None
                if host and stored:
                    found.setdefault(host, stored.username)
            names = {document.get("credsStore"), *_object(document, "credHelpers", path).values()} - {None, ""}
            for name in sorted(names, key=str):
                helper = CredentialHelper(str(name), self._environment, self._timeout)
                for server, user in helper.list().items():
                    if (host := host_of(server)) and _named_helper(document, host, path) == name:
                        found.setdefault(host, user)
        return sorted(found.items())

    def _helper(self, document: Mapping[str, Any], host: str, path: Path) -> CredentialHelper | None:
        name = _named_helper(document, host, path)
        return CredentialHelper(name, self._environment, self._timeout) if name else None


def _named_helper(document: Mapping[str, Any], host: str, path: Path) -> str:
    helpers = _object(document, "credHelpers", path)
    own = next((name for server, name in helpers.items() if host_of(server) == host), None)
    name = own or document.get("credsStore") or ""
    if not isinstance(name, str):
        raise _damaged(path, "the name of a credential helper is not text")
    return name


def _stored(document: Mapping[str, Any], host: str, path: Path) -> Credentials | None:
    try:
        found = login_for(document, host)
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    return Credentials(found.username, found.password, found.identity_token) if found else None


def _entry(credentials: Credentials) -> dict[str, str]:
    pair = f"{credentials.username}:{credentials.password}"
    entry = {"auth": base64.b64encode(pair.encode()).decode()}
    return {**entry, "identitytoken": credentials.identity_token} if credentials.identity_token else entry


def _check(credentials: Credentials) -> None:
    if not (credentials.username and credentials.password) and not credentials.identity_token:
        raise InvalidArgument("a login needs a name and a password, or an identity token")
    if ":" in credentials.username:
        raise InvalidArgument("a name to log in with cannot have a colon")
    for value in (credentials.username, credentials.password, credentials.identity_token):
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise InvalidArgument("a name or password to log in with cannot have control characters")


def _without(document: Mapping[str, Any], host: str, path: Path) -> dict[str, Any]:
    return {key: value for key, value in _object(document, "auths", path).items() if host_of(key) != host}


def _object(document: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise _damaged(path, f"{key} is not an object")
    return value


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data = _content(path)
        return load_object(data, "it", _LIMIT) if len(data) > _LIMIT or data.strip() else {}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _damaged(path, error.strerror or "cannot be read") from None
    except InvalidArgument:
        # What is wrong with it would quote from it.
        raise _damaged(path, f"it is not one JSON object of at most {_LIMIT} bytes without duplicate keys") from None


def _content(path: Path) -> bytes:
    """At most one byte more than is taken. A pipe or a device would keep us waiting, perhaps for ever."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _damaged(path, "it is not a file")
        with open(fd, "rb", closefd=False) as file:
            return file.read(_LIMIT + 1)
    finally:
        os.close(fd)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durable(path, json.dumps(document, indent=1).encode() + b"\n", 0o600)
    except OSError as error:
        raise ResourceExhausted(f"the login cannot be saved in {path}: {error.strerror}") from None


def _damaged(path: Path, why: str) -> DataLoss:
    return DataLoss(f"the credentials in {path} cannot be used: {why}", hint="correct it, or move it away")
