"""A user and an engine in memory, for tests of the verbs."""

import hashlib
import itertools
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from controller.cli import dispatch
from controller.interface import Applied, ApplyOptions, Content, EngineEvent, Stream, Submission
from controller.plan import Change, Plan
from controller.plan import Verb as PlanVerb
from resources.errors import Conflict, DataLoss, NotFound
from resources.kinds import Kind
from resources.meta import Condition, Key, ObjectMeta, Ref, Status
from resources.object import EFFECTIVE, SPECS, Object
from resources.secret import Sealed, SecretContent

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)


class FakeSession:
    def __init__(self, *argv: str, tty: bool = False, files: Mapping[str, bytes] | None = None) -> None:
        self.argv: Sequence[str] = argv
        self.columns, self.rows = (80, 24) if tty else (0, 0)
        self.stdin_tty = self.stdout_tty = tty
        self.color = tty
        self.cwd = "/home/user"
        self.files = dict(files or {})
        self.environment: dict[str, str] = {}
        self.stdout, self.stderr = b"", b""
        self.interrupted: Callable[[], bool] = lambda: False
        self.joined: list[tuple[Stream, bool, bool, bool]] = []
        self.received: dict[str, bytes] = {}

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def errors(self) -> str:
        return self.stderr.decode()

    def out(self, text: str | bytes) -> None:
        self.stdout += text.encode() if isinstance(text, str) else text

    def err(self, text: str | bytes) -> None:
        self.stderr += text.encode() if isinstance(text, str) else text

    def cancelled(self) -> bool:
        return self.interrupted()

    def find(self, path: str) -> Sequence[str]:
        if path in self.files:
            return [path]
        found = sorted(name for name in self.files if name.startswith(f"{path.rstrip('/')}/"))
        if not found:
            raise NotFound(f"{path}: no such file or directory")
        return found

    def read(self, path: str, limit: int) -> bytes:
        if path not in self.files:
            raise NotFound(f"{path}: no such file or directory")
        return self.files[path]

    def digest(self, path: str) -> Content:
        data = self.read(path, 0)
        return Content(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))

    def send(self, path: str) -> Iterator[bytes]:
        yield self.read(path, 0)

    def variable(self, name: str) -> str | None:
        return self.environment.get(name)

    def variables(self) -> Mapping[str, str]:
        return self.environment

    def write(self, path: str, data: bytes) -> None:
        self.files[path] = data

    def receive(self, path: str, chunks: Iterator[bytes], *, name: str = "") -> None:
        self.received[path] = b"".join(chunks)

    def pack(self, path: str, *, name: str = "") -> Iterator[bytes]:
        yield f"{name or path}=".encode() + self.read(path, 0)

    def interact(self, stream: Stream, *, tty: bool, stdin: bool, detachable: bool = False) -> int:
        self.joined.append((stream, tty, stdin, detachable))
        while (got := stream.read()) is not None:
            (self.err if got[0] == "stderr" else self.out)(got[1])
        return stream.wait()


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


class FakeEvents:
    def __init__(self) -> None:
        self.entries: list[EngineEvent] = []

    def add(self, item: Object, reason: str, message: str, when: datetime = NOW) -> None:
        self.entries.append(EngineEvent(len(self.entries) + 1, when, item.key, item.ref, reason, message))

    def read(self, since: int = 0, *, limit: int = 10_000) -> Sequence[EngineEvent]:
        return [event for event in self.entries if event.sequence > since][:limit]

    def follow(self, since: int, stopped: Callable[[], bool]) -> Iterator[EngineEvent]:
        while not stopped():
            for event in self.read(since):
                since = event.sequence
                yield event
            time.sleep(0.002)


class FakeUploads:
    def __init__(self) -> None:
        self.received: dict[str, bytes] = {}

    def has(self, digest: str) -> bool:
        return digest in self.received

    def receive(self, digest: str, size: int, chunks: Iterator[bytes]) -> None:
        self.received[digest] = b"".join(chunks)


class FakeStream:
    """A process that has said all it will say."""

    def __init__(self, *output: tuple[str, bytes], code: int = 0) -> None:
        self.output: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        for part in (*output, None):
            self.output.put(part)
        self.code = code
        self.closed = False

    def fileno(self) -> int:
        raise AssertionError("the fake session does not poll")

    def read(self) -> tuple[str, bytes] | None:
        return self.output.get()

    def write(self, data: bytes) -> None: ...
    def close_stdin(self) -> None: ...
    def resize(self, rows: int, columns: int) -> None: ...
    def kill(self, signal: int) -> None: ...

    def wait(self) -> int:
        return self.code

    def close(self) -> None:
        self.closed = True


class FakeOperations:
    def __init__(self) -> None:
        self.stream = FakeStream()
        self.calls: list[tuple[Any, ...]] = []
        self.lines: list[tuple[datetime, str, bytes]] = []
        self.tree: dict[str, Mapping[str, Any]] = {}
        self.failure: Exception | None = None

    def exec(self, name: Ref, args: Sequence[str], **options: Any) -> Stream:
        self.calls.append(("exec", name.name, tuple(args), options))
        if self.failure:
            raise self.failure
        return self.stream

    def attach(self, name: Ref) -> Stream:
        self.calls.append(("attach", name.name))
        return self.stream

    def logs(self, name: Ref, **options: Any) -> Iterator[tuple[datetime, str, bytes]]:
        options.pop("stopped")
        self.calls.append(("logs", name.name, options))
        return iter(self.lines)

    def kill(self, name: Ref, signal: str) -> None:
        self.calls.append(("kill", name.name, signal))

    def copy_out(self, name: Ref, path: str) -> Iterator[bytes]:
        self.calls.append(("copy_out", name.name, path))
        return iter([b"a tar"])

    def copy_in(self, name: Ref, path: str, archive: Any) -> None:
        self.calls.append(("copy_in", name.name, path, archive.read()))

    def stat(self, name: Ref, path: str) -> Mapping[str, Any] | None:
        return self.tree.get(path)

    def top(self, name: Ref) -> Sequence[Mapping[str, Any]]:
        return [{"pid": 7, "user": 101, "cpuTime": 0.5, "command": "nginx\x1b[2J"}]

    def stats(self, name: Ref) -> Mapping[str, int]:
        return {"memory": 3 << 20, "cpu_nanos": time.monotonic_ns(), "pids": 2}


class FakeRetained:
    def __init__(self) -> None:
        self.refs: list[Ref] = []

    def list(self, namespace: str | None = None) -> Sequence[Ref]:
        return [ref for ref in self.refs if namespace in (None, ref.namespace)]

    def discard(self, ref: Ref) -> None:
        self.refs.remove(ref)


class FakeBackend:
    """`then` is what the engine makes of a written object: by default it is ready at once."""

    def __init__(self) -> None:
        self.objects = FakeObjects()
        self.uploads = FakeUploads()
        self.events = FakeEvents()
        self.operations = FakeOperations()
        self.retained = FakeRetained()
        self.applied: list[tuple[Sequence[Submission], ApplyOptions, int | None]] = []
        self.deleted: list[tuple[Sequence[Ref], dict[str, bool]]] = []
        self.then: Callable[[Object], None] = lambda item: self.objects.report(item, status())
        self.busy: set[Key] = set()
        self.obeys = True
        """What is edited is so at once."""
        self.planned: tuple[Change, ...] = ()
        self.edges: list[tuple[Ref, Ref, str]] = []
        self.ended = False

    def wanted(self, submissions: Sequence[Submission]) -> frozenset[str]:
        digests = (content.digest for s in submissions for content in s.contents.values() if content.data is None)
        return frozenset(digest for digest in digests if not self.uploads.has(digest))

    def plan(self, submissions: Sequence[Submission], options: ApplyOptions) -> Plan:
        missing = [s.located.manifest.ref for s in submissions if self.objects.find(s.located.manifest.ref) is None]
        return Plan(self.objects.revision(), self.planned or tuple(Change(ref, PlanVerb.CREATE) for ref in missing))

    def apply(self, submissions: Sequence[Submission], options: ApplyOptions, *, expect: int | None = None) -> Applied:
        if expect is not None and expect != self.objects.revision():
            raise Conflict("container/web was changed since")
        self.applied.append((submissions, options, expect))
        created, unchanged = [], []
        for submission in submissions:
            ref = submission.located.manifest.ref
            if self.objects.find(ref) is not None:
                unchanged.append(ref)
                continue
            self.then(self.objects.put(self.objects.submit(submission)))
            created.append(ref)
        return Applied(self.objects.revision(), created=tuple(created), unchanged=tuple(unchanged))

    def delete(self, refs: Sequence[Ref], *, data: bool, cascade: bool, force: bool) -> tuple[Ref, ...]:
        self.deleted.append((refs, {"data": data, "cascade": cascade, "force": force}))
        for ref in refs:
            item = self.objects.find(ref)
            if item is None:
                raise NotFound(f"there is no {ref}")
            self.objects.remove(item.key)
        return tuple(refs)

    def edit(self, ref: Ref, change: Callable[[Object], Object], *, manager: str, reason: str) -> Object:
        item = self.objects.find(ref)
        if item is None:
            raise NotFound(f"there is no {ref}")
        changed = self.objects.put(change(item))
        if self.obeys and changed.kind is Kind.CONTAINER:
            phase = changed.suspension.state.capitalize() if changed.suspension else "Running"
            self.objects.report(changed, status(changed.suspension is None, phase))
        return changed

    def rename(self, ref: Ref, name: str) -> Object:
        def renamed(item: Object) -> Object:
            return item.model_copy(update={"metadata": item.metadata.model_copy(update={"name": name})})

        return self.edit(ref, renamed, manager="cli", reason="Renamed")

    def changes(self, since: int, stopped: Callable[[], bool]) -> Iterator[Key]:
        while not stopped():
            while since < len(self.objects.history):
                since += 1
                yield self.objects.history[since - 1]
            time.sleep(0.002)

    def graph(self, submissions: Sequence[Submission], namespace: str | None) -> Sequence[tuple[Ref, Ref, str]]:
        return self.edges

    def settled(self, key: Key) -> bool:
        return key not in self.busy

    def seal(self, data: bytes) -> bytes:
        return b"sealed:" + data[::-1]

    def unseal(self, data: bytes) -> bytes:
        if not data.startswith(b"sealed:"):
            raise DataLoss("this was not sealed here")
        return data.removeprefix(b"sealed:")[::-1]

    def describe_host(self) -> Mapping[str, Any]:
        return {"version": "0.1.0", "pid": 4711, "objects": {"container": 2}, "knownIssues": ["a", "b"]}

    def shutdown(self) -> None:
        self.ended = True


def ref(kind: Kind, name: str, namespace: str = "default") -> Ref:
    return Ref(kind=kind, namespace=namespace, name=name)


def run(backend: FakeBackend | None, session: FakeSession) -> int:
    return dispatch.run(session, backend)
