"""References to images: what they are is said in resources.image_reference, since the controller's core needs it too."""

from resources.image_reference import DEFAULT_DOMAIN, DEFAULT_TAG, MAX_LENGTH, Reference, normalize, parse

__all__ = ["DEFAULT_DOMAIN", "DEFAULT_TAG", "MAX_LENGTH", "Reference", "normalize", "parse"]
