"""What commands can do with images beside the objects that ask for some: names of their own in the content store.

A *cache name* is a name that no Image object gave: pulled, loaded or tagged by hand, or pulled for a container. Words that
say an image are a name as references are written, or the beginning of its ID.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from resources.meta import Ref

Progress = Callable[[str, int, int], None]
"""(what, bytes done, bytes in all or 0 where that is not known): "resolve", the digest of a blob that is fetched, or what
is being read. Called often, from the thread of the call; what it raises ends the call."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    id: str
    """Digest of its config: what Docker calls its ID."""
    digest: str
    """Of its manifest."""
    names: tuple[str, ...]
    """Normalised, sorted; none for content that nothing refers to any more."""
    created: str
    """As the image says: hostile text."""
    size: int
    """Of its layers, as they are stored."""
    platform: str
    users: tuple[Ref, ...] = ()
    """Image objects whose content it is, and containers that ask for it."""


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """All hostile text but the size."""

    created: str
    created_by: str
    comment: str
    size: int


@dataclass(frozen=True, slots=True)
class Removed:
    names: tuple[str, ...]
    freed: int | None
    """Bytes; None where other work with images kept it from being freed now."""


@dataclass(frozen=True, slots=True)
class Usage:
    what: Literal["content", "snapshots"]
    count: int
    size: int


Form = Literal["docker", "oci"]


class ImageOperations(Protocol):
    """Each that changes something leaves an event. All but `stored`, `inspect`, `history`, `tag` and `usage` take long.

    Raises from every call with words: InvalidArgument (no name, and no beginning of an ID), NotFound, Conflict (several
    images begin so: they are listed).
    """

    def pull(self, reference: str, *, platform: str, progress: Progress) -> StoredImage:
        """Fetch it and give it its name. `platform` "": the host's. Raises: as drivers.images.interface.Images.pull;
        Conflict when the name is an Image object's."""

    def stored(self, *, unnamed: bool) -> Sequence[StoredImage]:
        """By name; with `unnamed` also what only `prune` would free."""

    def inspect(self, word: str) -> Mapping[str, Any]:
        """In Docker's words, where it has them. Holds what the image says: hostile text."""

    def history(self, word: str) -> Sequence[HistoryStep]:
        """The newest first."""

    def tag(self, word: str, name: str) -> str:
        """Give it one more name, which may be another image's cache name now; return it in full. Raises: Conflict when the
        name is an Image object's."""

    def remove(self, word: str, *, force: bool) -> Removed:
        """Take a cache name away, or all of them from an image that is said by its ID; free what nothing needs then.

        Raises: FailedPrecondition naming the Image object whose name it is or, without `force`, the objects that ask
        for it.
        """

    def save(self, words: Sequence[str], form: Form) -> Iterator[bytes]:
        """A tar of the images. One said by its name has that name in it, one said by its ID has all its names. What is
        removed while it is read of cannot be saved: DataLoss or NotFound halfway."""

    def load(self, chunks: Iterator[bytes], *, platform: str, progress: Progress) -> Sequence[StoredImage]:
        """Take in an archive of images (`docker save` or OCI), with the names it gives them.

        Raises: InvalidArgument, DataLoss, ResourceExhausted; Conflict when one of the names is an Image object's: nothing
        is named then.
        """

    def import_rootfs(self, chunks: Iterator[bytes], *, name: str, platform: str, progress: Progress) -> StoredImage:
        """Make an image of a tar of a root file system; `name` "": it has none."""

    def prune(self, *, cached: bool) -> Removed:
        """Free content that no name needs; with `cached` first take away the cache names nobody uses. Content that an
        unfinished pull can go on with stays. Raises: Unavailable while something is imported."""

    def usage(self) -> Sequence[Usage]: ...

    @property
    def logins(self) -> "Logins": ...


class Logins(Protocol):
    """Who users are at registries. A registry is `docker.io`, `registry.local:5000`, or what Docker's users write for it."""

    def log_in(self, host: str, username: str, password: str) -> str:
        """Save them once the registry has taken them; return where. Raises: PermissionDenied, Unavailable,
        InvalidArgument for what is no host."""

    def log_out(self, host: str) -> bool:
        """Tell whether there was something to forget."""

    def list(self) -> Sequence[tuple[str, str]]:
        """(registry, user's name)."""
