"""What is observed of an Image, and the actions that make it so (PURE).

Everything the next look needs stands with the image itself: the name `uid:<uid>` points at its manifest, and the
annotations of that name say what it was made from and which tags it was given. What was pulled has its reference as a
name besides, which is nobody's: a *cache name*. It outlives the Image, and saves the next one the way to the registry.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from drivers.images.interface import Descriptor, Image
from reconcilers.interface import JobState
from resources.secret import Sealed

POOL, PULLS = "images", "pulls"
UID = "lading/uid"
"""On every name that is an object's: whose it is."""
SOURCE, INPUT, PLATFORM = "lading/source", "lading/input", "lading/platform"
REFERENCE, RESOLVED = "lading/reference", "lading/resolved"
"""What was pulled, and the digest it pointed at then."""
CHOICE = "lading/choice"
"""The tags that chose among several images of one archive; absent where there was no choice."""
TAGS = "lading/tags"
UNPACKED = "lading/unpacked"


def record_name(uid: str) -> str:
    return f"uid:{uid}"


def import_job(uid: str) -> str:
    """Of a pull too: an image is brought here in one way at a time."""
    return f"image:{uid}/import"


def unpack_job(uid: str) -> str:
    return f"image:{uid}/unpack"


def prune_job(uid: str) -> str:
    return f"image:{uid}/prune"


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that decides an image's content."""

    source: str
    """registry | archive | layout | rootfs"""
    digest: str
    """Of the input; "" where none was sent."""
    platform: str
    tags: tuple[str, ...]
    """Normalised, sorted: they choose where an archive has several images."""
    reference: str = ""
    """In the registry, normalised."""


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
    reference: str = ""
    resolved: str = ""
    """Digest of what the reference pointed at; "" when that is not known."""

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
            reference=notes.get(REFERENCE, ""),
            resolved=notes.get(RESOLVED, ""),
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """Where a name points, and whose it is."""

    target: str
    uid: str
    """"" for a name no Image gave."""
    pulled: bool = False
    """A cache name that a pull has given: an Image may have it for a tag."""


@dataclass(frozen=True, slots=True)
class Local:
    """What the host has for a reference without asking a registry."""

    name: str
    target: str
    resolved: str
    unpacked: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """An apply has named the object: with `pull: always` its registry is to be asked once more."""

    number: int
    failed: bool = False
    """It was asked, and did not answer."""


@dataclass(frozen=True, slots=True)
class Auth:
    """A Secret to log in with, still sealed."""

    name: str
    entries: Mapping[str, Sealed]

    @property
    def version(self) -> str:
        return " ".join(f"{key}={sealed.digest}" for key, sealed in sorted(self.entries.items()))


@dataclass(frozen=True, slots=True)
class Pulled:
    """How a pull has gone that nobody was told of yet."""

    reference: str
    fetched: int
    """Bytes that were not here before."""
    seconds: float
    attempt: int


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
    import_work: Hashable = None
    """What the running import is for; None when that is not known."""
    local: Local | None = None
    """Only looked for where something is to be pulled."""
    ask: Ask | None = None
    abandoned: bool = False
    """What unfinished pulls left of it has been dropped, and none was begun since."""
    pulled: Pulled | None = None


@dataclass(frozen=True, slots=True)
class StartPull:
    uid: str
    wanted: Wanted
    auth: Auth | None
    attempt: int
    unless: str = ""
    """Nothing is pulled when the reference still points at this digest."""

    @property
    def work(self) -> Hashable:
        """A failure counts for just this."""
        return self.wanted, self.auth.version if self.auth else "", bool(self.unless)

    def describe(self) -> str:
        if self.unless:
            return f"ask what {self.wanted.reference} is now, and pull it if it has moved"
        return f"pull {self.wanted.reference} for {self.wanted.platform}"


@dataclass(frozen=True, slots=True)
class FinishPull:
    """Says how it went, once."""

    uid: str
    pulled: Pulled

    def describe(self) -> str:
        done = self.pulled
        tries = f", at the attempt number {done.attempt}" if done.attempt > 1 else ""
        return f"{done.reference} was pulled in {done.seconds:.1f} s: {_amount(done.fetched)}{tries}"


@dataclass(frozen=True, slots=True)
class UseLocal:
    uid: str
    wanted: Wanted
    local: Local

    def describe(self) -> str:
        return f"use {self.local.name}, which is here"


@dataclass(frozen=True, slots=True)
class StartImport:
    uid: str
    wanted: Wanted
    shown: str
    """The source as the manifest writes it."""
    attempt: int

    @property
    def work(self) -> Hashable:
        return self.wanted

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


@dataclass(frozen=True, slots=True)
class AbandonPull:
    quiet: ClassVar[bool] = True
    uid: str
    reference: str

    def describe(self) -> str:
        return f"drop what unfinished pulls of {self.reference} left"


@dataclass(frozen=True, slots=True)
class DropRecord:
    """Where another name keeps the content there is nothing to delete."""

    uid: str
    target: str

    def describe(self) -> str:
        return "let go of its content, which others keep"


def _amount(size: int) -> str:
    if not size:
        return "nothing was missing"
    return (
        f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB" if size >= 2**10 else f"{size} bytes"
    )


ImageAction = (
    StartPull
    | FinishPull
    | UseLocal
    | StartImport
    | StartUnpack
    | NoteUnpacked
    | SetTags
    | DropJob
    | AbandonPull
    | DropRecord
    | StartPrune
)
