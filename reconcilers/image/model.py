"""What is observed of an Image, and the actions that make it so (PURE).

Everything the next look needs stands with the image itself: the name `uid:<uid>` points at its manifest, and the
annotations of that name say what it was made from and which tags it was given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from drivers.images.interface import Descriptor, Image
from reconcilers.interface import JobState

POOL = "images"
UID = "lading/uid"
"""On every name we give: the object whose it is."""
SOURCE, INPUT, PLATFORM = "lading/source", "lading/input", "lading/platform"
CHOICE = "lading/choice"
"""The tags that chose among several images of one archive; absent where there was no choice."""
TAGS = "lading/tags"
UNPACKED = "lading/unpacked"


def record_name(uid: str) -> str:
    return f"uid:{uid}"


def import_job(uid: str) -> str:
    return f"image:{uid}/import"


def unpack_job(uid: str) -> str:
    return f"image:{uid}/unpack"


def prune_job(uid: str) -> str:
    return f"image:{uid}/prune"


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that decides an image's content."""

    source: str
    """archive | layout | rootfs"""
    digest: str
    """Of the input; "" where none was sent."""
    platform: str
    tags: tuple[str, ...]
    """Normalised, sorted: they choose where an archive has several images."""


@dataclass(frozen=True, slots=True)
class Record:
    """The name `uid:<uid>`, read back."""

    target: str
    """Digest of the manifest."""
    source: str
    digest: str
    platform: str
    choice: tuple[str, ...] | None
    tags: tuple[str, ...]
    unpacked: bool

    @classmethod
    def of(cls, descriptor: Descriptor) -> "Record":
        notes = descriptor.annotations
        return cls(
            target=descriptor.digest,
            source=notes.get(SOURCE, ""),
            digest=notes.get(INPUT, ""),
            platform=notes.get(PLATFORM, ""),
            choice=tuple(notes[CHOICE].split()) if CHOICE in notes else None,
            tags=tuple(notes.get(TAGS, "").split()),
            unpacked=UNPACKED in notes,
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """Where a name points, and whose it is."""

    target: str
    uid: str
    """"" for a name no Image gave."""


@dataclass(frozen=True, slots=True)
class ObservedImage:
    uid: str
    host_platform: str
    record: Record | None
    image: Image | None
    """None when nothing was imported yet, or some of its content is lost."""
    unpacked: bool
    names: Mapping[str, Holder]
    """Every name but the records."""
    input_here: bool
    importing: JobState | None
    unpacking: JobState | None
    pruning: JobState | None


@dataclass(frozen=True, slots=True)
class StartImport:
    uid: str
    wanted: Wanted
    shown: str
    """The source as the manifest writes it."""
    attempt: int

    def describe(self) -> str:
        return f"import the {self.wanted.source} {self.shown} for {self.wanted.platform}"


@dataclass(frozen=True, slots=True)
class StartUnpack:
    uid: str
    target: str
    attempt: int

    def describe(self) -> str:
        return f"unpack {self.target or 'its layers'}"


@dataclass(frozen=True, slots=True)
class NoteUnpacked:
    uid: str
    target: str

    def describe(self) -> str:
        return "note that it is unpacked"


@dataclass(frozen=True, slots=True)
class SetTags:
    """Give the image these names and no other."""

    uid: str
    put: tuple[str, ...]
    drop: tuple[str, ...]
    tags: tuple[str, ...]

    def describe(self) -> str:
        parts = [f"tag {name}" for name in self.put] + [f"untag {name}" for name in self.drop]
        return ", ".join(parts) or "note the tags"


@dataclass(frozen=True, slots=True)
class DropJob:
    quiet: ClassVar[bool] = True
    job_id: str

    def describe(self) -> str:
        return f"drop the {self.job_id.partition('/')[2]} job"


@dataclass(frozen=True, slots=True)
class StartPrune:
    uid: str
    attempt: int

    def describe(self) -> str:
        return "delete the content and snapshots nothing else needs"


ImageAction = StartImport | StartUnpack | NoteUnpacked | SetTags | DropJob | StartPrune
