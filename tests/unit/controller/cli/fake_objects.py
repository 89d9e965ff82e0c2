"""The store in memory, for tests of the verbs."""

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from controller.interface import Submission
from resources.kinds import Kind
from resources.meta import Condition, Key, ObjectMeta, Ref, Status
from resources.object import EFFECTIVE, SPECS, Object
from resources.secret import Sealed, SecretContent

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)


def status(ready: bool | None = True, phase: str = "Running", message: str = "", **fields: Any) -> Status:
    condition = Condition(
        type="Ready",
        status="Unknown" if ready is None else "True" if ready else "False",
        reason=fields.pop("reason", "Ready"),
        message=message,
        last_transition_time=NOW,
    )
    return Status(phase=phase, observed_generation=1, conditions=(condition,), fields=fields)


class FakeObjects:
    """The store as commands see it; `history` is every change, by revision."""

    def __init__(self) -> None:
        self.items: dict[Key, Object] = {}
        self.statuses: dict[Key, Status] = {}
        self.history: list[Key] = []
        self._numbers = itertools.count(1)

    def add(self, kind: Kind, name: str, spec: Mapping[str, Any] | None = None, **metadata: Any) -> Object:
        written = SPECS[kind].parse(dict(spec or {}))
        return self.put(self.make(kind, written, ObjectMeta(**self._meta(name, **metadata))))

    def make(self, kind: Kind, written: Any, metadata: ObjectMeta) -> Object:
        effective: Any = written
        if kind is Kind.SECRET:
            keys = [*written.data, *written.files, *written.env, *written.generate]
            entries = {key: Sealed(digest=f"digest-of-{key}", value="c2VhbGVk") for key in keys}
            effective = SecretContent(entries=entries)
        elif kind is Kind.CONFIG:
            effective = EFFECTIVE[kind].parse({"entries": dict.fromkeys([*written.data, *written.files], "")})
        return Object(kind=kind, metadata=metadata, spec=written, effective=effective)

    def submit(self, submission: Submission) -> Object:
        manifest = submission.located.manifest
        metadata = {**manifest.metadata.model_dump(), **self._meta(manifest.metadata.name)}
        return self.make(manifest.kind, manifest.spec, ObjectMeta(**metadata))

    def put(self, item: Object, report: Status | None = None) -> Object:
        self.items[item.key] = item
        if report is not None:
            self.statuses[item.key] = report
        self.history.append(item.key)
        return item

    def report(self, item: Object, report: Status) -> None:
        self.statuses[item.key] = report
        self.history.append(item.key)

    def remove(self, key: Key) -> None:
        self.items.pop(key, None)
        self.history.append(key)

    def get(self, key: Key) -> Object | None:
        return self.items.get(key)

    def find(self, ref: Ref) -> Object | None:
        return next((item for item in list(self.items.values()) if item.ref == ref), None)

    def list(self, kind: Any = None, namespace: str | None = None) -> Sequence[Object]:
        found = (
            item
            for item in self.items.values()
            if (kind is None or item.kind is kind) and (namespace is None or item.metadata.namespace == namespace)
        )
        return sorted(found, key=lambda item: (item.kind, item.metadata.namespace, item.metadata.name))

    def status(self, key: Key) -> Status | None:
        return self.statuses.get(key)

    def revision(self) -> int:
        return len(self.history)

    def _meta(self, name: str, **metadata: Any) -> dict[str, Any]:
        uid = f"{next(self._numbers):032x}"
        return {"name": name, "uid": uid, "creation_timestamp": NOW, "resource_version": 1, **metadata}
