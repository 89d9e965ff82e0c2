"""Read what is there of an Image."""

from drivers.images.interface import Descriptor, Image, Images
from reconcilers.image.model import UID, Holder, ObservedImage, Record, import_job, prune_job, record_name, unpack_job
from reconcilers.interface import Inputs, Jobs
from resources.errors import InvalidArgument
from resources.meta import Key
from resources.object import Object


def observe_image(
    key: Key, desired: Object | None, *, images: Images, jobs: Jobs, inputs: Inputs, host_platform: str
) -> ObservedImage:
    # Jobs first: one that ends in between is seen as running, and wakes us; the other way its work would be done twice.
    importing, unpacking, pruning = (jobs.state(job(key.uid)) for job in (import_job, unpack_job, prune_job))
    named = dict(images.names().list())
    target = named.get(record_name(key.uid))
    image = None if target is None else whole_image(images, target.digest)
    sent = None if desired is None else desired.inputs.get(f"spec.from.{desired.effective.source.type}")
    return ObservedImage(
        uid=key.uid,
        host_platform=host_platform,
        record=None if target is None else Record.of(target),
        image=image,
        unpacked=image is not None and images.unpacked(image),
        names={name: _holder(where) for name, where in named.items() if not name.startswith("uid:")},
        input_here=sent is not None and inputs.path(sent.digest) is not None,
        importing=importing,
        unpacking=unpacking,
        pruning=pruning,
    )


def _holder(where: Descriptor) -> Holder:
    return Holder(where.digest, where.annotations.get(UID, ""))


def whole_image(images: Images, digest: str) -> Image | None:
    """None too for one that was damaged since it was imported: it is as good as lost."""
    try:
        return images.image(digest)
    except InvalidArgument:
        return None
