"""PURE. What a 401 asks for: the WWW-Authenticate headers of registries (RFC 9110 §11.6.1), strictly."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_MAX_HEADER = 8192
_MAX_CHALLENGES = 16
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# Spaces are taken once and never given back: a header of nothing else would take seconds.
_PART = re.compile(
    rf"[\s,]*+(?:(?P<key>{_TOKEN})\s*+=\s*+(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>{_TOKEN}))"
    rf"|(?P<scheme>{_TOKEN})(?=\s|,|$))",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Challenge:
    scheme: str
    """Lower case: `basic`, `bearer`."""
    parameters: Mapping[str, str]
    """By name in lower case; a name given twice has its first value."""


def challenges(headers: Sequence[str]) -> list[Challenge]:
    """Those that can be understood, in order; a malformed rest is left out."""
    return [one for header in headers[:_MAX_CHALLENGES] for one in _parsed(header)][:_MAX_CHALLENGES]


def _parsed(header: str) -> Iterator[Challenge]:
    if len(header) > _MAX_HEADER or not header.isprintable():
        return
    scheme, parameters, position = "", dict[str, str](), 0
    while match := _PART.match(header, position):
        position = match.end()
        if match["scheme"]:
            if scheme:
                yield Challenge(scheme, parameters)
            scheme, parameters = match["scheme"].lower(), {}
        elif scheme:
            quoted = match["quoted"]
            value = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(match["key"].lower(), value)
    if scheme:
        yield Challenge(scheme, parameters)
