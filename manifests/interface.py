"""What loading manifests takes and gives: texts in; manifests, problems, and what has to be read besides, out.

`manifests.load.load` is pure: it reads no file and no environment. Whoever called it (the client's side of a command, a
watched folder, a git tree) fetches each `Need` and hands the content to admission beside the manifest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from manifests.problems import Position, Problem
from resources.object import Manifest
from resources.references import Reference


@dataclass(frozen=True, slots=True)
class Text:
    """One manifest file: its name as the user gave it (`-` for standard input), and its bytes."""

    name: str
    data: bytes


class NeedKind(StrEnum):
    FILE = "file"
    """Small: a file of a Secret or Config, an envFile. Its content is kept in the object."""
    UPLOAD = "upload"
    """Large: an archive, or a folder (packed as a tar). Its content goes to the engine's inputs under its digest."""
    VARIABLE = "variable"
    """An environment variable of the client (`Secret.spec.env`)."""


@dataclass(frozen=True, slots=True)
class Need:
    path: str
    """The field, as in `spec.files["tls.key"]`."""
    kind: NeedKind
    value: str
    """The path, made relative to what the manifest's file is relative to (absolute stays); or the variable's name."""


@dataclass(frozen=True, slots=True)
class Located:
    """A manifest that knows where each of its fields stands."""

    manifest: Manifest
    where: Callable[[str], Position]
    """Position of a field by its path; of the nearest that is written, for one that is not."""
    needs: tuple[Need, ...] = ()
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    manifests: tuple[Located, ...] = ()
    """In the order of files and documents. Only to be used when no problem is an error."""
    problems: tuple[Problem, ...] = ()

    @property
    def failed(self) -> bool:
        return any(not problem.warning for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Options:
    namespace: str = "default"
    """For documents that name none."""
    variables: Mapping[str, str] = field(default_factory=dict)
