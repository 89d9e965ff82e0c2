"""Say how an Image stands (PURE)."""

from reconcilers.image.diff import decide
from reconcilers.image.model import ObservedImage
from reconcilers.interface import Context
from resources.meta import Status
from resources.object import Object


def image_status(desired: Object, observed: ObservedImage, context: Context) -> Status:
    running = (job for job in (observed.importing, observed.unpacking) if job and job.running)
    progress = next(({"what": job.what, "done": job.done, "total": job.total} for job in running), None)
    return decide(desired, observed, context).status(desired, context, progress=progress, **_known(observed))


def _known(observed: ObservedImage) -> dict[str, object]:
    image, record = observed.image, observed.record
    if image is None or record is None:
        return {}
    return {
        "digest": image.id,
        "configDigest": image.config_digest or None,
        "platform": image.platform,
        "size": image.size,
        "created": image.created or None,
        "input": record.digest,
        "tags": list(record.tags),
    }
