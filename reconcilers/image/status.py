"""Say how an Image stands (PURE)."""

from reconcilers.conditions import condition
from reconcilers.image.diff import decide, usable
from reconcilers.image.model import ObservedImage
from reconcilers.image.progress import progress_fields
from reconcilers.interface import Context
from resources.meta import Status
from resources.object import Object


def image_status(desired: Object, observed: ObservedImage, context: Context) -> Status:
    running = (job for job in (observed.importing, observed.unpacking) if job and job.running)
    progress = next(map(progress_fields, running), None)
    found = decide(desired, observed, context).status(desired, context, progress=progress, **_known(observed))
    if found.ready or not usable(desired, observed, context):
        return found
    available = condition(desired, context, True, "Kept", "what is here is used meanwhile", type="Available")
    return found.model_copy(update={"conditions": (*found.conditions, available)})


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
        "input": record.digest or None,
        "reference": record.reference or None,
        "resolved": record.resolved or None,
        "tags": list(record.tags),
    }
