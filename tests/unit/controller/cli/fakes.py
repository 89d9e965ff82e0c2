"""A user and an engine in memory, for tests of the verbs."""

import contextlib
import hashlib
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from controller.cli.server import dispatch
from controller.images.operations import StoredImageOperations
from controller.interface import Applied, ApplyOptions, Content, EngineEvent, Stream, Submission
from controller.plan import Change, Plan
from controller.plan import Verb as PlanVerb
from drivers.images.fake import FakeImages
from drivers.images.interface import Images
from drivers.snapshots.fake import FakeSnapshotter
from resources.errors import Conflict, DataLoss, InvalidArgument, NotFound, PermissionDenied, Unavailable
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object
from tests.unit.controller.cli.fake_objects import NOW, FakeObjects, status

PLATFORM = "linux/amd64"


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
        self.answers: list[str] = []
        self.asked: list[tuple[str, bool]] = []

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

    def write(self, path: str, data: bytes | Iterator[bytes]) -> None:
        self.files[path] = data if isinstance(data, bytes) else b"".join(data)

    def ask(self, question: str, *, hidden: bool = False) -> str:
        if not self.stdin_tty:
            raise InvalidArgument("there is no terminal to ask on")
        self.asked.append((question, hidden))
        return self.answers.pop(0)

    def receive(self, path: str, chunks: Iterator[bytes], *, name: str = "") -> None:
        self.received[path] = b"".join(chunks)

    def pack(self, path: str, *, name: str = "") -> Iterator[bytes]:
        yield f"{name or path}=".encode() + self.read(path, 0)

    def interact(self, stream: Stream, *, tty: bool, stdin: bool, detachable: bool = False) -> int:
        self.joined.append((stream, tty, stdin, detachable))
        while (got := stream.read()) is not None:
            (self.err if got[0] == "stderr" else self.out)(got[1])
        return stream.wait()


class FakeEvents:
    def __init__(self) -> None:
        self.entries: list[EngineEvent] = []

    def add(self, item: Object, reason: str, message: str, when: datetime = NOW) -> None:
        self.entries.append(EngineEvent(len(self.entries) + 1, when, item.key, item.ref, reason, message))

    def emit(self, key: Key, reason: str, message: str, **data: Any) -> None:
        self.entries.append(EngineEvent(len(self.entries) + 1, NOW, key, None, reason, message, data))

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
        self.lines_of: dict[str, Callable[[Callable[[], bool]], Iterator[tuple[datetime, str, bytes]]]] = {}
        """Instead of `lines`, by container: what is asked gets `stopped`."""
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
        stopped = options.pop("stopped")
        self.calls.append(("logs", name.name, options))
        return self.lines_of[name.name](stopped) if name.name in self.lines_of else iter(self.lines)

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


class FakeLogins:
    """`taken`: the only name and password a registry takes."""

    def __init__(self) -> None:
        self.taken = ("me", "secret")
        self.saved: dict[str, str] = {}
        self.others: dict[str, str] = {}
        """What somebody else saved, and is used all the same."""
        self.down = False

    def log_in(self, host: str, username: str, password: str) -> str:
        if self.down:
            raise Unavailable(f"{host} cannot be reached")
        if (username, password) != self.taken:
            raise PermissionDenied(f"{host} does not take this login")
        self.saved[host] = username
        return "/root/credentials.json"

    def log_out(self, host: str) -> bool:
        return self.saved.pop(host, None) is not None

    def list(self) -> Sequence[tuple[str, str]]:
        return sorted({**self.others, **self.saved}.items())


class FakeBackend:
    """`then` is what the engine makes of a written object: by default it is ready at once."""

    def __init__(self) -> None:
        self.objects = FakeObjects()
        self.uploads = FakeUploads()
        self.events = FakeEvents()
        self.operations = FakeOperations()
        self.retained = FakeRetained()
        self.logins = FakeLogins()
        self.images = self.image_operations(FakeImages(), Path("/nonexistent"))
        self.applied: list[tuple[Sequence[Submission], ApplyOptions, int | None]] = []
        self.deleted: list[tuple[Sequence[Ref], dict[str, bool]]] = []
        self.then: Callable[[Object], None] = lambda item: self.objects.report(item, status())
        self.busy: set[Key] = set()
        self.obeys = True
        """What is edited is so at once."""
        self.planned: tuple[Change, ...] = ()
        self.edges: list[tuple[Ref, Ref, str]] = []
        self.ended = False

    def image_operations(self, images: Images, spool: Path) -> StoredImageOperations:
        """The engine's own, on images of somebody's choice."""
        return StoredImageOperations(
            images,
            FakeSnapshotter(),
            self.objects,
            self.events,
            self.logins,
            busy=contextlib.nullcontext,
            prune=lambda: images.prune([target.digest for _, target in images.names().list()]),
            spool=spool,
            platform=PLATFORM,
        )

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
        known = {"version": "0.1.0", "pid": 4711, "instance": "fake"}
        return {**known, "objects": {"container": 2}, "knownIssues": ["a", "b"]}

    def shutdown(self) -> None:
        self.ended = True


def ref(kind: Kind, name: str, namespace: str = "default") -> Ref:
    return Ref(kind=kind, namespace=namespace, name=name)


def run(backend: FakeBackend | None, session: FakeSession) -> int:
    return dispatch.run(session, backend)
