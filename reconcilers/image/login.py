"""What a Secret says about logging in to a registry (PURE): a name and password, or a config.json of Docker's."""

import json
from collections.abc import Mapping

from drivers.images.interface import Credentials
from resources.docker_auths import login_for
from resources.errors import InvalidArgument

_CONFIGS = (".dockerconfigjson", "config.json")


def credentials(name: str, values: Mapping[str, bytes], host: str) -> Credentials:
    """`values`: of the Secret `name`, opened. Raises: InvalidArgument, which quotes none of them."""
    source = f"secret/{name}"
    if {"username", "password"} <= values.keys():
        username, password = (_text(name, values, key) for key in ("username", "password"))
        return Credentials(username, password, source=source)
    key = next((key for key in _CONFIGS if key in values), None)
    if key is None:
        keys = ", ".join(sorted(values)) or "none at all"
        raise InvalidArgument(
            f"{source} has the keys {keys}, and nothing to log in to {host} with",
            hint=f"username and password, or {' or '.join(_CONFIGS)}",
        )
    try:
        document = json.loads(_text(name, values, key))
        if not isinstance(document, dict):
            raise ValueError("it is not an object")
        found = login_for(document, host)
    except (ValueError, RecursionError) as error:
        why = "it is not JSON" if isinstance(error, json.JSONDecodeError | RecursionError) else str(error)
        raise InvalidArgument(f"{key} of {source} cannot be used: {why}") from None
    if found is None:
        raise InvalidArgument(f"{key} of {source} has nothing for {host}", hint="see `docker login`")
    return Credentials(found.username, found.password, found.identity_token, source)


def _text(name: str, values: Mapping[str, bytes], key: str) -> str:
    """A file of one line ends with that line's end."""
    try:
        text = values[key].decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidArgument(f"{key} of secret/{name} is no text") from None
    if key not in _CONFIGS and any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise InvalidArgument(f"{key} of secret/{name} has control characters")
    return text
