"""Which image of an archive is meant (PURE)."""

from collections.abc import Sequence

from drivers.images.interface import Image
from resources.errors import InvalidArgument
from resources.image_reference import normalize

_SHOWN = 20


def chosen(images: Sequence[Image], tags: Sequence[str]) -> tuple[Image, bool]:
    """The only image, or the one that the archive calls by one of `tags`; and whether there was a choice.

    Raises: InvalidArgument listing the names there are.
    """
    if len(images) == 1:
        return images[0], False
    named = [image for image in images if not names(image).isdisjoint(tags)]
    if len(named) == 1:
        return named[0], True
    found = sorted(name for image in images for name in names(image))
    listed = ", ".join(found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "")
    what = f"tags name {len(named)} of them" if named else "tags name none of them"
    raise InvalidArgument(
        f"the archive has {len(images)} images, and {what}: {listed or 'they have no names'}",
        hint="say in tags the name of the one you mean",
    )


def names(image: Image) -> frozenset[str]:
    """What the archive calls it, normalised; hostile text that is no reference is left out."""
    found = set()
    for text in image.names_in:
        try:
            found.add(normalize(text))
        except InvalidArgument:
            continue
    return frozenset(found)
