"""PURE. What kind of document a registry gave, by its header and by itself; who disagree are refused (MAN-03)."""

from drivers.images.manifest import INDEXES, MANIFESTS, OCI_INDEX, OCI_MANIFEST
from drivers.images.strictjson import load_object
from resources.errors import InvalidArgument, Unsupported

_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
_UNTOLD = ("", "application/json", "application/octet-stream", "text/plain", "binary/octet-stream")


def media_type_of(data: bytes, content_type: str, what: str, limit: int) -> str:
    """Raises: InvalidArgument, Unsupported for a format of before 2016."""
    header = content_type.partition(";")[0].strip().lower()
    if header == "text/html":
        raise InvalidArgument(f"{what}: the answer is a web page", hint="a proxy or a portal answers in its place")
    document = load_object(data, what, limit)
    stated = document.get("mediaType", "")
    if header in _SCHEMA_1 or stated in _SCHEMA_1 or document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise Unsupported(
            f"{what} is in the format of before 2016 (schema 1)", hint="pull and push it once with a newer tool"
        )
    if not isinstance(stated, str):
        raise InvalidArgument(f"{what}: its mediaType is not text")
    told = stated or ("" if header in _UNTOLD else header)
    if header not in _UNTOLD and stated and stated != header:
        raise InvalidArgument(f"{what} is served as {header[:120]!r}, but says that it is {stated[:120]!r}")
    if not told:
        told = OCI_INDEX if "manifests" in document else OCI_MANIFEST
    if told not in (*MANIFESTS, *INDEXES):
        raise InvalidArgument(f"{what} is of type {told[:120]!r}", hint="neither an image nor an index of images")
    return told
