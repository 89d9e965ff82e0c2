"""Digests: the one regular expression they are matched by, and what is computed from them."""

import hashlib
import re
from collections.abc import Sequence

from resources.errors import InvalidArgument

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def is_digest(text: object) -> bool:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def checked(text: object, what: str = "digest") -> str:
    """Return `text` if it is a digest: before it becomes part of any path or URL. Raises: InvalidArgument."""
    if isinstance(text, str) and _DIGEST.fullmatch(text):
        return text
    raise InvalidArgument(
        f"{what}: {str(text)[:100]!r} is not a digest", hint="sha256: and 64 lower-case hex digits are"
    )


def of_bytes(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """The chain ID of every layer from the bottom up (OCI image spec, config.md, "Layer ChainID")."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(of_bytes(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)


def chain_id(diff_ids: Sequence[str]) -> str:
    """The chain ID of the whole stack; "" for an empty one."""
    return chain_ids(diff_ids)[-1] if diff_ids else ""
