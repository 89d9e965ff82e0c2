"""Unpack one layer from its blob: decompress, verify both digests, extract. What a worker process runs, or a thread."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drivers.images.extract import Extracted, extract
from drivers.images.limits import DEFAULT, Limits
from drivers.images.manifest import layer_compression
from drivers.images.streams import opened
from drivers.images.tar import TarReader
from resources.errors import DataLoss, InvalidArgument, ResourceExhausted


@dataclass(frozen=True, slots=True)
class LayerJob:
    blob: Path
    directory: Path
    media_type: str
    digest: str
    size: int
    diff_id: str
    lower: tuple[Path, ...] | None
    """Folders of the layers below, uppermost first; None while they are being unpacked too."""


def unpack_layer(job: LayerJob, progress: Callable[[int], None] | None = None, limits: Limits = DEFAULT) -> Extracted:
    """Raises: NeedsLower; InvalidArgument, DataLoss, ResourceExhausted naming the layer."""
    try:
        with job.blob.open("rb") as file, opened(file, job.size, limits, progress) as stream:
            stated = layer_compression(job.media_type)
            if stated != stream.compression:
                raise InvalidArgument(f"its media type says {stated}, its content is {stream.compression}")
            # A layer without an end marker is whole when its digest is right, and some tools write such.
            result = extract(TarReader(stream, limits=limits, require_end=False), job.directory, job.lower, limits)
            stream.drain()
            _compare("digest", stream.digest, job.digest)
            _compare("diff ID", stream.diff_id, job.diff_id)
            return result
    except (InvalidArgument, DataLoss, ResourceExhausted) as error:
        raise type(error)(f"layer {job.digest}: {error.message}", hint=error.hint) from error


def _compare(what: str, found: str, promised: str) -> None:
    if found != promised:
        raise DataLoss(
            f"its {what} is {found}, promised was {promised}", hint="the image is damaged or was tampered with"
        )
