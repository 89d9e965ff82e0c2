"""Values of Secrets and Configs as they are needed at last: bytes of files, text of variables."""

import base64
from collections.abc import Mapping

from reconcilers.container.actions import Recipe
from reconcilers.interface import Sealer
from resources.errors import InvalidArgument
from resources.secret import Sealed


def content_of(value: Sealed | str, sealer: Sealer) -> bytes:
    return sealer.open(value) if isinstance(value, Sealed) else base64.b64decode(value)


def environment_of(recipe: Recipe, sealer: Sealer) -> Mapping[str, str]:
    """Raises: InvalidArgument naming the variable whose value is no text."""
    found: dict[str, str] = {}
    for name, written in recipe.spec.env.items():
        if isinstance(written, str):
            found[name] = written
            continue
        try:
            found[name] = content_of(recipe.env[name], sealer).decode()
        except UnicodeDecodeError:
            raise InvalidArgument(f"env.{name}: the value is not UTF-8 text", hint="mount it as a file") from None
    return found
