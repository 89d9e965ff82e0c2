"""References to images as Docker's users write them, made whole: `nginx` is docker.io/library/nginx:latest."""

import re
from dataclasses import dataclass

from resources.errors import InvalidArgument

DEFAULT_DOMAIN, DEFAULT_TAG, _OFFICIAL = "docker.io", "latest", "library"
MAX_LENGTH, _MAX_NAME = 512, 255

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]{{2,45}}\])(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,31}://", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Parse and complete a reference. A tag beside a digest is kept, `latest` is added only where both are missing.

    Raises: InvalidArgument telling which part is wrong.
    """
    if not text or len(text) > MAX_LENGTH:
        raise _wrong(text, f"has {len(text)} characters, 1 to {MAX_LENGTH} can be", "")
    scheme = _SCHEME.match(text)
    if scheme:
        raise _wrong(text, "begins with a scheme", f"leave {scheme[0]} out")
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _wrong(text, "has a malformed digest", "name@sha256: and 64 lower-case hex digits")
    head, slash, tail = rest.rpartition("/")
    last, colon, tag = tail.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, "has a malformed tag", "letters, digits, '_', '.' and '-', at most 128")
    domain, path = _split_domain(f"{head}{slash}{last}")
    match = _DOMAIN.fullmatch(domain)
    if not match or len(domain) > _MAX_NAME or int(match["port"] or 1) not in range(1, 65536):
        raise _wrong(text, "has a malformed registry host", "host, host:port or [address]:port")
    if not _PATH.fullmatch(path):
        hint = (
            "repository names are lower case" if path.lower() != path else "letters, digits, '.', '_' and '-' between"
        )
        raise _wrong(text, "has a malformed repository name", hint)
    if len(domain) + 1 + len(path) > _MAX_NAME:
        raise _wrong(text, f"has a name longer than {_MAX_NAME} characters", "")
    return Reference(domain, path, tag or ("" if digest else DEFAULT_TAG), digest)


def normalize(text: str) -> str:
    """Return the complete form of a reference; normalising twice changes nothing. Raises: InvalidArgument."""
    return str(parse(text))


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    # A first part is a host only when it cannot be part of a repository's name, as Docker decides it.
    is_host = bool(slash) and (any(c in first for c in ".:") or first == "localhost" or first.lower() != first)
    domain, path = (first, rest) if is_host else (DEFAULT_DOMAIN, name)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"{_OFFICIAL}/{path}"
    return domain, path


def _wrong(text: str, flaw: str, hint: str) -> InvalidArgument:
    return InvalidArgument(f"image reference {text[:100]!r} {flaw}", hint=hint)
