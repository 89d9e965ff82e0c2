"""Objects, submissions and admission's means for tests of what the controller decides."""

import base64
import hashlib
import itertools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from controller.admission.admit import Admission, admit
from controller.interface import ApplyOptions, Content, Submission
from controller.store.snapshot import Snapshot
from manifests.interface import Located, Need, NeedKind
from manifests.problems import Position
from resources.config import ConfigContent, ConfigSpec
from resources.kinds import Kind
from resources.meta import Condition, Metadata, ObjectMeta, Ref, Status
from resources.object import SPECS, Manifest, Object
from resources.references import references
from resources.secret import Sealed, SecretContent, SecretSpec

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)
_uids = (f"{number:032x}" for number in itertools.count(1))


def ref(text: str, namespace: str = "default") -> Ref:
    kind, _, name = text.partition("/")
    return Ref(kind=next(k for k in Kind if k.lower() == kind), namespace=namespace, name=name)


def made(text: str, spec: Mapping[str, Any] | None = None, **meta: Any) -> Object:
    """`made("container/web", {"image": "nginx"})`; a container is on no network unless that is said."""
    named = ref(text, meta.pop("namespace", "default"))
    alone = {"networks": [{"name": "none"}]} if named.kind is Kind.CONTAINER else {}
    parsed = SPECS[named.kind].parse({**alone, **(spec or {})})
    metadata = {"name": named.name, "namespace": named.namespace, "uid": next(_uids), "creation_timestamp": NOW, **meta}
    effective: Any = parsed
    if isinstance(parsed, ConfigSpec):
        entries = {key: base64.b64encode(text.encode()).decode() for key, text in parsed.data.items()}
        effective = ConfigContent(entries=entries, digests={key: content(b).digest for key, b in _bytes(parsed.data)})
    elif isinstance(parsed, SecretSpec):
        effective = SecretContent(entries={key: seal(value) for key, value in _bytes(parsed.data)})
    return Object(kind=named.kind, metadata=ObjectMeta(**metadata), spec=parsed, effective=effective)


def _bytes(data: Mapping[str, str]) -> list[tuple[str, bytes]]:
    return [(key, text.encode()) for key, text in data.items()]


def snapshot(*items: Object, revision: int = 1) -> Snapshot:
    return Snapshot().replaced(items, revision=revision)


def content(data: bytes) -> Content:
    return Content(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), data)


def submission(
    text: str,
    spec: Mapping[str, Any] | None = None,
    *,
    file: str = "m.yaml",
    line: int = 1,
    contents: Mapping[str, bytes | Content] | None = None,
    needs: Mapping[str, str] | None = None,
    **metadata: Any,
) -> Submission:
    """Every field stands in a line of its own: the place in the file is `line` and the length of its path."""
    named = ref(text, metadata.pop("namespace", "default"))
    parsed = SPECS[named.kind].parse(dict(spec or {}))
    manifest = Manifest(
        kind=named.kind, metadata=Metadata(name=named.name, namespace=named.namespace, **metadata), spec=parsed
    )
    found = {path: data if isinstance(data, Content) else content(data) for path, data in (contents or {}).items()}
    located = Located(
        manifest,
        lambda path: Position(file, line + len(path)),
        tuple(Need(path, NeedKind.FILE, value) for path, value in (needs or {}).items()),
        references(named.kind, named.namespace, parsed),
    )
    return Submission(located, found)


def seal(value: bytes) -> Sealed:
    """Told apart each time it is called, as the real one is."""
    return Sealed(digest=digest(value), value=base64.b64encode(value + next(_uids).encode()).decode())


def digest(value: bytes) -> str:
    return hashlib.blake2s(value, key=b"k").hexdigest()


def unsealed(sealed: Sealed) -> bytes:
    return base64.b64decode(sealed.value)[:-32]


def admitted(
    submissions: list[Submission], before: Snapshot | None = None, options: ApplyOptions | None = None, **changes: Any
) -> Admission:
    means: dict[str, Any] = {
        "now": NOW,
        "new_uid": lambda: next(_uids),
        "seal": seal,
        "digest": digest,
        "generate": lambda length: next(_uids)[-length:].rjust(length, "g"),
        **changes,
    }
    return admit(submissions, before or Snapshot(), options or ApplyOptions(), **means)


def stored(admission: Admission, before: Snapshot | None = None, *, version: int = 7) -> Snapshot:
    """As the store has them once they are written."""
    after = admission.over(before or Snapshot())
    versioned = [
        item.model_copy(update={"metadata": item.metadata.model_copy(update={"resource_version": version})})
        for item in (*admission.written, *admission.deleted)
    ]
    return after.replaced(versioned, revision=version)


def status(*conditions: str, generation: int = 1) -> Status:
    """`status("Ready", "!Healthy")`"""
    return Status(
        observed_generation=generation,
        conditions=tuple(
            Condition(
                type=one.removeprefix("!"),
                status="False" if one.startswith("!") else "True",
                reason="Test",
                last_transition_time=NOW,
            )
            for one in conditions
        ),
    )


def problems(admission: Admission) -> list[str]:
    return [str(problem) for problem in admission.problems]


def only(admission: Admission) -> Object:
    assert problems(admission) == []
    (item,) = declared(admission.written)
    return item


def declared(items: Iterable[Object]) -> list[Object]:
    return [item for item in items if not item.metadata.implied]
