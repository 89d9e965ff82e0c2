"""Who users are at registries. Implements controller.images.interface.Logins."""

from collections.abc import Callable, Sequence
from pathlib import Path

from controller.images.operations import NO_IMAGE
from drivers.images.interface import Credentials
from drivers.images.registry.interface import CredentialStore
from reconcilers.interface import Events
from resources.errors import InvalidArgument
from resources.image_reference import parse

_MAX = 4096
"""Characters of a name or password; tokens used as one are long."""


class RegistryLogins:
    def __init__(
        self, check: Callable[[str, Credentials], None], store: CredentialStore, where: Path, events: Events
    ) -> None:
        """`check` asks the registry, `where` is what the store saves to."""
        self._check = check
        self._store = store
        self._where = where
        self._events = events

    def log_in(self, host: str, username: str, password: str) -> str:
        registry = _registry(host)
        if not username or not password:
            raise InvalidArgument("a login takes a name and a password")
        for what, text in (("name", username), ("password", password)):
            if len(text) > _MAX or any(ord(letter) < 32 for letter in text) or (what == "name" and ":" in text):
                raise InvalidArgument(f"this is no {what} a registry could take")
        credentials = Credentials(username=username, password=password)
        self._check(registry, credentials)
        self._store.put(registry, credentials)
        self._events.emit(NO_IMAGE, "LoggedIn", f"at {registry} as {username}")
        return str(self._where)

    def log_out(self, host: str) -> bool:
        registry = _registry(host)
        there = self._store.delete(registry)
        if there:
            self._events.emit(NO_IMAGE, "LoggedOut", f"of {registry}")
        return there

    def list(self) -> Sequence[tuple[str, str]]:
        return self._store.list()


def _registry(host: str) -> str:
    """`https://index.docker.io/v1/`, as Docker calls its own registry, is docker.io. Raises: InvalidArgument."""
    bare = host.removeprefix("https://").removeprefix("http://").partition("/")[0]
    try:
        found = parse(f"{bare}/x").domain
    except InvalidArgument:
        found = ""
    if not found or found != ("docker.io" if bare == "index.docker.io" else bare):
        raise InvalidArgument(
            f"{host[:80]!r} is no registry", hint="docker.io, registry.example.com, registry.local:5000, localhost"
        )
    return found
