"""The kinds of object, and for each whether it lives in a namespace."""

from enum import StrEnum


class Kind(StrEnum):
    IMAGE = "Image"
    CONTAINER = "Container"
    NETWORK = "Network"
    VOLUME = "Volume"
    SECRET = "Secret"
    CONFIG = "Config"
    SOURCE = "Source"
    SERVICE = "Service"
    NODE = "Node"


NAMESPACED = {kind: kind is not Kind.NODE for kind in Kind}
SUPPORTED = (Kind.IMAGE, Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME, Kind.SECRET, Kind.CONFIG)
"""The kinds this version reconciles; the others have their place, and are refused by name."""

API_VERSION = "lading/v1"
DEFAULTS_VERSION = 1
"""Counts changes of defaults; stored with each effective spec."""


def parse_kind(word: str) -> Kind | None:
    """`container`, `Container`, `containers` -> Kind.CONTAINER."""
    folded = word.lower()
    return next((kind for kind in Kind if folded in (kind.lower(), kind.lower() + "s")), None)
