"""The contracts of the image drivers: content by digest, images by name, import, and unpacking.

Words are the OCI image spec's: a *descriptor* is media type, digest and size; a *blob* is content by its digest; the
*diff ID* is the digest of an uncompressed layer; the *chain ID* the digest of a stack of layers. Everything that comes
from an image is hostile (threats.md §2.1, §2.2): digests are matched by one regular expression before a path is built
from them, sizes and counts are bounded before anything is allocated, JSON is parsed with duplicate keys refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Descriptor:
    media_type: str
    digest: str
    """`sha256:` and 64 lower-case hex digits, nothing else."""
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """HEALTHCHECK of an image. Times in milliseconds, None where the image is silent."""

    test: tuple[str, ...]
    """`("NONE",)`, `("CMD", arg, …)` or `("CMD-SHELL", line)` as Docker writes it."""
    interval: int | None = None
    timeout: int | None = None
    retries: int | None = None
    start_period: int | None = None


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The part of an image's config that a container takes over, checked and normalised (MAN-07)."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    exposed_ports: tuple[str, ...] = ()
    """`80/tcp`, sorted."""
    volumes: tuple[str, ...] = ()
    """Clean absolute paths, sorted."""
    labels: Mapping[str, str] = field(default_factory=dict)
    health: HealthCheck | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image whose blobs are all in the content store."""

    id: str
    """Digest of the manifest of this platform: the image's identity for containers."""
    manifest: Descriptor
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    chain_id: str
    """"" for an image without layers."""
    platform: str
    """`linux/amd64`, `linux/arm64/v8`."""
    created: str = ""
    size: int = 0
    """Sum of the layers' blobs."""
    config_digest: str = ""
    """Docker's image ID."""
    names_in: tuple[str, ...] = field(default=(), compare=False)
    """What the archive it came from calls it, as written there: hostile text. () from `Images.image`."""
    resolved: str = field(default="", compare=False)
    """Digest of what the reference pointed at when it was pulled: this manifest, or the index it was chosen from, as
    `Images.resolve` gives it. "" from everything but `Images.pull`."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a user proves themselves with at one registry: a name and password, or an identity token. Never shown."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    source: str = field(default="", compare=False)
    """Where a user changes them (`secret/hub`); "": with `lading login`."""

    def __repr__(self) -> str:
        return "Credentials(…)"


Progress = Callable[[str, int, int], None]
"""Called as (what, done bytes, total bytes or 0 when unknown), from any thread, often. May raise Cancelled."""


class ContentStore(Protocol):
    """Blobs by digest, kept as an OCI image layout that other tools can read.

    A blob is visible only once its bytes have been verified against digest and size and are durable.
    """

    def info(self, digest: str) -> Descriptor | None:
        """Return digest and size of a blob (media type ""), or None. Raises: InvalidArgument for a malformed digest."""

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading. Raises: NotFound."""

    def read(self, digest: str, limit: int) -> bytes:
        """Return a whole small blob. Raises: NotFound, ResourceExhausted when it is longer than `limit`."""

    def ingest(
        self, data: BinaryIO, expected: Descriptor | None = None, *, progress: Progress | None = None
    ) -> Descriptor:
        """Store a stream and return its digest and size; the same content again costs only the read.

        With `expected`, digest and size must match, and reading stops one byte past the size. Raises: DataLoss on a
        mismatch (nothing is kept), ResourceExhausted when there is no space (nothing is kept).
        """

    def delete(self, digest: str) -> None:
        """Delete a blob. Absent is fine."""

    def walk(self) -> Iterator[Descriptor]:
        """Every blob, in no order."""

    def cleanup(self) -> int:
        """Delete what unfinished ingests left, but for what a pull can go on with; return how many."""


class ImageStore(Protocol):
    """Names of images: which manifest a name means here. Bytes are the content store's."""

    def get(self, name: str) -> Descriptor | None: ...

    def put(self, name: str, target: Descriptor) -> None: ...

    def delete(self, name: str) -> None:
        """Absent is fine."""

    def list(self) -> Sequence[tuple[str, Descriptor]]: ...


class Images(Protocol):
    """Everything reconcilers need of images: import, look up, unpack, forget.

    Names are normalised references as `reference.normalize` returns them, or the engine's own `uid:<hex>` for the
    Image object itself.
    """

    def import_archive(self, source: Path, *, platform: str, progress: Progress | None = None) -> Sequence[Image]:
        """Import a `docker save` or OCI archive, plain, gzip or zstd, found out from its content; return the images of
        that platform, none named yet (names are the caller's to give; those in the archive are in `Image.names_in`).

        Raises: InvalidArgument (not an archive, nothing for the platform, beyond our limits; names the entry), DataLoss
        (digests), ResourceExhausted (space).
        """

    def import_layout(self, source: Path, *, platform: str, progress: Progress | None = None) -> Sequence[Image]:
        """Import an OCI image layout given as a tar stream file of the layout folder. As import_archive."""

    def import_rootfs(self, source: Path, *, platform: str, progress: Progress | None = None) -> Image:
        """Make an image of one layer with an empty config out of a tar of a root file system (plain, gzip, zstd)."""

    def pull(
        self,
        reference: str,
        *,
        platform: str,
        credentials: Credentials | None = None,
        progress: Progress | None = None,
    ) -> Image:
        """Fetch what is missing of an image from its registry, and return it; it is not named (names are the caller's).

        `reference` is normalised. A tag is looked at once: everything after that is fetched by digest, and verified
        before it can be seen. `credentials` are for the registry of the reference alone; without, the credential store
        is asked. `progress` is called from the caller's thread: with "resolve" while the manifests are read, then with
        the digest of each blob being fetched; what it raises ends the pull within a second.

        A blob wanted by several pulls is fetched once. What an error, a cancellation or kill -9 interrupts is kept for
        a day, also from `prune`, and the next pull of the reference goes on there; see `abandon`.

        Raises: InvalidArgument (malformed reference or documents, beyond our limits, an artifact, nothing for the
        platform; says what there is), NotFound (no such image), PermissionDenied (login missing or refused),
        Unavailable (the registry does not answer, or asks to wait: says until when), DataLoss (content that does not
        verify; nothing of it is kept), ResourceExhausted (space: says how much is needed), Unsupported (a format of
        before 2016; no registries are set up), Cancelled. Takes long: run it as a job.
        """

    def resolve(
        self, reference: str, *, credentials: Credentials | None = None, progress: Progress | None = None
    ) -> Descriptor:
        """Ask the registry what the reference points at now: a manifest or an index. Nothing is fetched or kept.

        It may wait for the registry, for minutes: no `act` calls it, a job does. `progress` is called with "resolve"
        meanwhile, as by `pull`. Raises: as `pull`.
        """

    def abandon(self, reference: str) -> None:
        """Drop what unfinished pulls of the reference left behind: nobody wants it any more. Nothing there is fine.

        A pull of it that still runs is not disturbed. Complete blobs go at the next `prune`.
        """

    def image(self, digest: str) -> Image | None:
        """Read an image by the digest of its manifest; None when a blob of it is missing.

        Raises: InvalidArgument when manifest or config are malformed.
        """

    def names(self) -> ImageStore: ...

    def content(self) -> ContentStore: ...

    def unpacked(self, image: Image) -> bool:
        """Tell whether the snapshot of the image's chain ID is there."""

    def unpack(self, image: Image, *, progress: Progress | None = None) -> None:
        """Unpack the layers into committed snapshots by chain ID, in parallel; what is there already is not done again.

        Each layer's diff ID is verified while it is read. Raises: DataLoss, InvalidArgument (hostile entry, named; a
        decompression bomb), ResourceExhausted. Takes long: run it as a job.
        """

    def prune(self, keep: Sequence[str]) -> int:
        """Delete blobs and snapshots that no image in `keep` (manifest digests), no active snapshot and no unfinished
        pull of the last day needs, and names of what is deleted; return the bytes freed.

        Compute `keep` when no import or pull of yours is between its end and your record of it. Raises: Unavailable while
        something is imported or unpacked.
        """

    def cleanup(self) -> int:
        """Delete what a killed engine left half done; return how many. To be called before anything else is.

        Half-fetched blobs that the next pull can go on with stay, for a day.
        """
