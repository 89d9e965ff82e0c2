"""Read what is there of an Image."""

from collections.abc import Hashable, Mapping

from drivers.images.interface import Descriptor, Image, Images
from reconcilers.image.diff import made_otherwise, wanted_content
from reconcilers.image.model import (
    PLATFORM,
    RESOLVED,
    SOURCE,
    UID,
    Ask,
    Holder,
    Local,
    ObservedImage,
    Pulled,
    Record,
    Wanted,
    import_job,
    prune_job,
    record_name,
    unpack_job,
)
from reconcilers.interface import Inputs, Jobs
from resources.errors import EngineError, InvalidArgument
from resources.image_reference import parse
from resources.meta import Key
from resources.object import Object


def observe_image(
    key: Key,
    desired: Object | None,
    *,
    images: Images,
    jobs: Jobs,
    inputs: Inputs,
    host_platform: str,
    import_work: Hashable,
    ask: Ask | None,
    abandoned: bool,
    pulled: Pulled | None,
) -> ObservedImage:
    # Jobs first: one that ends in between is seen as running, and wakes us; the other way its work would be done twice.
    importing, unpacking, pruning = (jobs.state(job(key.uid)) for job in (import_job, unpack_job, prune_job))
    named = dict(images.names().list())
    target = named.get(record_name(key.uid))
    image = None if target is None else whole_image(images, target.digest)
    record = None if target is None else Record.of(target)
    sent = None if desired is None else desired.inputs.get(f"spec.from.{desired.effective.source.type}")
    return ObservedImage(
        uid=key.uid,
        host_platform=host_platform,
        record=record,
        image=image,
        unpacked=image is not None and images.unpacked(image),
        names={name: _holder(where) for name, where in named.items() if not name.startswith("uid:")},
        input_here=sent is not None and inputs.path(sent.digest) is not None,
        importing=importing,
        unpacking=unpacking,
        pruning=pruning,
        import_work=import_work,
        local=_local(desired, record if image else None, named, images, host_platform),
        ask=ask,
        abandoned=abandoned,
        pulled=pulled,
    )


def _holder(where: Descriptor) -> Holder:
    uid = where.annotations.get(UID, "")
    return Holder(where.digest, uid, pulled=not uid and where.annotations.get(SOURCE) == "registry")


def whole_image(images: Images, digest: str) -> Image | None:
    """None too for one that was damaged since it was imported: it is as good as lost."""
    try:
        return images.image(digest)
    except InvalidArgument:
        return None


def _local(
    desired: Object | None, record: Record | None, named: Mapping[str, Descriptor], images: Images, host_platform: str
) -> Local | None:
    """Looked for where the content is not here already."""
    if desired is None or desired.deleting:
        return None
    try:
        wanted = wanted_content(desired, host_platform)
    except EngineError:
        return None
    if not wanted.reference or (record is not None and not made_otherwise(record, wanted)):
        return None
    own = desired.metadata.uid
    where = named.get(wanted.reference)
    if where is not None and where.annotations.get(UID) != own:
        found = _found(wanted, where.digest, where.annotations, images)
        if found is not None:
            return found
    pinned = parse(wanted.reference).digest
    return _found(wanted, pinned, {}, images) if pinned else None


def _found(wanted: Wanted, target: str, notes: Mapping[str, str], images: Images) -> Local | None:
    image = whole_image(images, target)
    if image is None or wanted.platform not in (notes.get(PLATFORM), image.platform):
        return None
    return Local(wanted.reference, target, notes.get(RESOLVED, ""), images.unpacked(image))
