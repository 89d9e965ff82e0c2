"""A plan in a file: everything that was submitted, and the revision it was compared with, sealed with the host's key.

It is not a script: applying it submits the same again, and is refused when anything changed since.
"""

import base64
import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from controller.cli.commandline.call import Call
from controller.interface import ApplyOptions, Content, Submission
from manifests.interface import Located, Need, NeedKind
from manifests.problems import Position
from resources.errors import InvalidArgument
from resources.kinds import Kind
from resources.meta import Metadata
from resources.object import SPECS, Manifest
from resources.references import references

_MAX_BYTES = 64 << 20
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class SavedPlan:
    submissions: tuple[Submission, ...]
    options: ApplyOptions
    revision: int


def write(call: Call, path: str, plan: SavedPlan) -> None:
    value = {
        "format": _FORMAT,
        "revision": plan.revision,
        "options": asdict(plan.options),
        "submissions": [_encode(item, call.session.cwd) for item in plan.submissions],
    }
    call.session.write(path, call.backend.seal(json.dumps(value).encode()))


def read(call: Call, path: str) -> SavedPlan:
    """Raises: DataLoss when it is not of this host; InvalidArgument."""
    data = call.backend.unseal(call.session.read(path, _MAX_BYTES))
    value = json.loads(data)
    if value["format"] != _FORMAT:
        raise InvalidArgument(f"{path}: another version of lading wrote this plan", hint="plan again")
    submissions = tuple(_decode(item) for item in value["submissions"])
    return SavedPlan(submissions, ApplyOptions(**value["options"]), value["revision"])


def _encode(submission: Submission, folder: str) -> dict[str, Any]:
    located = submission.located
    manifest = located.manifest
    where = {path: located.where(path) for path in ("", *(need.path for need in located.needs))}
    return {
        "kind": manifest.kind,
        "metadata": manifest.metadata.written(),
        "spec": manifest.spec.written(),
        "where": {path: [spot.file, spot.line, spot.column] for path, spot in where.items()},
        # Large content may have to be read again, from wherever the plan is applied.
        "needs": [[need.path, need.kind, _absolute(need, folder)] for need in located.needs],
        "contents": {path: _encode_content(content) for path, content in submission.contents.items()},
    }


def _absolute(need: Need, folder: str) -> str:
    return os.path.join(folder, need.value) if need.kind is NeedKind.UPLOAD else need.value


def _encode_content(content: Content) -> list[Any]:
    data = None if content.data is None else base64.b64encode(content.data).decode()
    return [content.digest, content.size, data]


def _decode(value: dict[str, Any]) -> Submission:
    kind = Kind(value["kind"])
    metadata, spec = Metadata.parse(value["metadata"]), SPECS[kind].parse(value["spec"])
    where = {path: Position(*spot) for path, spot in value["where"].items()}
    located = Located(
        Manifest(kind=kind, metadata=metadata, spec=spec),
        lambda path: where.get(path, where[""]),
        tuple(Need(path, NeedKind(need), source) for path, need, source in value["needs"]),
        references(kind, metadata.namespace, spec),
    )
    contents = {
        path: Content(digest, size, None if data is None else base64.b64decode(data))
        for path, (digest, size, data) in value["contents"].items()
    }
    return Submission(located, contents)
