"""The native API over its unix socket, in front of an engine in memory."""

import asyncio
import json
import os
import random
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, UnixConnector

from controller.api.server import ApiServer
from controller.interface import EngineEvent
from controller.store.interface import Compacted
from resources.container import ContainerSpec
from resources.errors import Conflict
from resources.kinds import Kind
from resources.meta import Condition, Key, Ref, Status
from resources.secret import SecretSpec
from tests.unit.controller.api.backend import NOW, FakeBackend, made

SLEEPER: dict[str, Any] = {
    "apiVersion": "lading/v1",
    "kind": "Container",
    "metadata": {"name": "web"},
    "spec": {"image": {"name": "busybox"}, "networks": ["none"]},
}
CANARY = "hunter2-canary"


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


class Client:
    def __init__(self, path: Path, backend: FakeBackend) -> None:
        self.path = path
        self.backend = backend

    def __call__(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Answer:
        async def ask() -> Answer:
            async with ClientSession(connector=UnixConnector(str(self.path))) as session:
                given = {"json": body} if body is not None else {}
                async with session.request(method, f"http://localhost/apis/lading/v1{path}", **given, **kwargs) as got:
                    return Answer(got.status, await got.json(), dict(got.headers))

        return asyncio.run(ask())

    def raw(self, request: bytes, *, until: bytes = b"") -> bytes:
        """Whatever bytes are sent, and what came back until the connection was closed, or until some text."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.path))
            connection.sendall(request)
            got = b""
            while chunk := connection.recv(65536):
                got += chunk
                if until and until in got:
                    break
            return got


@pytest.fixture
def client(short_path: Path) -> Iterator[Client]:
    backend = FakeBackend()
    server = ApiServer(short_path, backend)  # type: ignore[arg-type]
    server.start()
    yield Client(short_path / "lading.sock", backend)
    server.stop()
    assert not (short_path / "lading.sock").exists()
    assert "api" not in {thread.name for thread in threading.enumerate()}


def container(name: str = "web", **metadata: Any) -> Any:
    return made(Kind.CONTAINER, name, ContainerSpec.parse({"image": "busybox"}), **metadata)


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 10
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return value


def test_the_socket_is_for_root_and_the_group(client: Client) -> None:
    assert stat.S_IMODE(client.path.stat().st_mode) == 0o660
    assert os.listdir(client.path.parent) == ["lading.sock"]


def test_a_new_engine_takes_the_socket_of_a_killed_one(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(short_path / "lading.sock"))
    server = ApiServer(short_path, FakeBackend())  # type: ignore[arg-type]
    server.start()
    assert Client(short_path / "lading.sock", FakeBackend())("GET", "/healthz").status == 200
    server.stop()


def test_health_version_and_kinds(client: Client) -> None:
    assert client("GET", "/healthz").body == {"status": "ok", "resourceVersion": 0}
    version = client("GET", "/version").body
    assert version["api"] == "lading/v1"
    assert version["host"] == {"pid": 7, "since": NOW.isoformat()}
    kinds = {kind["plural"]: kind["kind"] for kind in client("GET", "/kinds").body["kinds"]}
    assert kinds["containers"] == "Container"
    assert len(kinds) == 6


def test_lists_by_namespace_and_labels(client: Client) -> None:
    client.backend.put(container("a", labels={"app": "shop", "tier": "web"}))
    client.backend.put(container("b", labels={"app": "shop"}))
    client.backend.put(container("c", namespace="other"))

    def names(query: str) -> list[str]:
        return [item["metadata"]["name"] for item in client("GET", f"/containers{query}").body["items"]]

    assert names("") == ["a", "b", "c"]
    assert names("?namespace=other") == ["c"]
    assert names("?labelSelector=app=shop") == ["a", "b"]
    assert names("?labelSelector=app%3Dshop,tier") == ["a"]
    assert names("?labelSelector=app==shop,!tier") == ["b"]
    assert names("?labelSelector=app!=shop") == ["c"]
    answer = client("GET", "/containers").body
    assert (answer["kind"], answer["resourceVersion"]) == ("ContainerList", 3)


def test_one_object_with_its_status(client: Client) -> None:
    condition = Condition(type="Ready", status="True", reason="Running", last_transition_time=NOW)
    client.backend.put(container(), Status(phase="Running", conditions=(condition,), fields={"pid": 42}))
    body = client("GET", "/containers/default/web").body
    assert body["spec"] == {"image": "busybox"}
    assert body["status"]["pid"] == 42
    assert body["status"]["phase"] == "Running"
    assert body["status"]["conditions"][0]["reason"] == "Running"
    assert body["metadata"]["uid"]


def test_secrets_are_shown_nowhere(client: Client) -> None:
    client.backend.put(made(Kind.SECRET, "db", SecretSpec.parse({"data": {"password": CANARY}})))
    for path in ("/secrets", "/secrets/default/db"):
        text = json.dumps(client("GET", path).body)
        assert CANARY not in text
        assert "sealed" not in text
        assert "password" in text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/containers/default/none", 404, "NotFound"),
        ("GET", "/boxes", 404, "NotFound"),
        ("GET", "/containers/default/-rf", 400, "InvalidArgument"),
        ("GET", "/containers/default/%2e%2e", 404, "NotFound"),
        ("GET", "/containers/..%2f..%2fetc/web", 400, "InvalidArgument"),
        ("GET", "/containers/default/a%00b", 400, "InvalidArgument"),
        ("GET", "/containers?namespace=..", 400, "InvalidArgument"),
        ("GET", "/containers?watch=2", 400, "InvalidArgument"),
        ("GET", "/containers?watch=1&resourceVersion=x", 400, "InvalidArgument"),
        ("GET", "/events?since=-1", 400, "InvalidArgument"),
        ("GET", "/containers/default/web/extra/parts", 404, "NotFound"),
        ("PATCH", "/containers/default/web", 405, "MethodNotAllowed"),
        ("POST", "/containers", 405, "MethodNotAllowed"),
        ("POST", "/containers/default/web/explode", 404, "NotFound"),
        ("POST", "/containers/default/none/stop", 404, "NotFound"),
        ("DELETE", "/containers/default/none", 404, "NotFound"),
        ("DELETE", "/containers/default/web?cascade=maybe", 400, "InvalidArgument"),
    ],
)
def test_what_is_refused_has_a_status_and_a_code(
    client: Client, method: str, path: str, status: int, code: str
) -> None:
    answer = client(method, path)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert set(answer.body) == {"code", "message", "hint", "problems"}
    assert "Traceback" not in json.dumps(answer.body)


def test_another_version_of_the_api_is_not_there(client: Client) -> None:
    for path in (b"/apis/lading/v9999/kinds", b"/", b"//apis/lading/v1/kinds", b"/" + b"a" * 4000):
        assert client.raw(b"GET " + path + b" HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 404")


def test_applies_one_manifest(client: Client) -> None:
    answer = client("PUT", "/containers/default/web?owner=me&adopt=1", SLEEPER)
    assert (answer.status, answer.body["created"]) == (
        201,
        [{"kind": "Container", "namespace": "default", "name": "web"}],
    )
    _, options = client.backend.applied[0]
    assert (options.manager, options.owner, options.adopt, options.prune) == ("api", "me", True, False)
    assert client("PUT", "/containers/default/web", {"spec": SLEEPER["spec"]}).body["unchanged"]
    changed = client("PUT", "/containers/default/web", {"spec": {**SLEEPER["spec"], "tty": True}})
    assert (changed.status, len(changed.body["changed"])) == (200, 1)


def test_the_address_and_the_body_must_agree(client: Client) -> None:
    answer = client("PUT", "/containers/default/other", SLEEPER)
    assert (answer.status, answer.body["code"]) == (400, "InvalidArgument")
    assert "'web' in the body and 'other' in the address" in answer.body["message"]
    assert client("PUT", "/containers/default/web", {"metadata": 1}).status == 400
    assert client.backend.applied == []


def test_a_dry_run_and_a_plan_change_nothing(client: Client) -> None:
    for answer in (
        client("PUT", "/containers/default/web?dryRun", SLEEPER),
        client("POST", "/apply", {"manifests": [SLEEPER], "dryRun": True}),
        client("POST", "/plan", {"manifests": [SLEEPER]}),
    ):
        assert [change["verb"] for change in answer.body["changes"]] == ["create"]
    assert client.backend.applied == []


def test_applies_many_with_contents_and_variables(client: Client) -> None:
    digest = "sha256:" + "a" * 64
    manifests = [
        {
            "apiVersion": "lading/v1",
            "kind": "Secret",
            "metadata": {"name": "tls", "namespace": "shop"},
            "spec": {"files": {"key": "./tls.key"}, "env": {"token": "CI_TOKEN"}, "data": {"a": "${WORD} \x7f😀"}},
        },
        {
            "apiVersion": "lading/v1",
            "kind": "Image",
            "metadata": {"name": "nginx"},
            "spec": {"from": {"archive": "./nginx.tar"}},
        },
    ]
    body = {"manifests": manifests, "namespace": "shop", "variables": {"WORD": "yes"}, "owner": "ci", "prune": True}
    missing = client("POST", "/apply", body)
    assert (missing.status, missing.body["code"]) == (400, "InvalidArgument")
    assert "opens no path of a client" in missing.body["message"]

    contents: dict[str, Any] = {
        "tls.key": {"base64": "a2V5"},
        "CI_TOKEN": {"text": "t"},
        "nginx.tar": {"digest": digest, "size": 3},
    }
    answer = client("POST", "/apply", {**body, "contents": contents})
    assert (answer.status, answer.body["code"]) == (409, "FailedPrecondition")
    assert f"PUT /apis/lading/v1/uploads/{digest}" in answer.body["hint"]

    sent = client("PUT", f"/uploads/{digest}", data=b"tar", headers={"Content-Type": "application/octet-stream"})
    assert (sent.status, client.backend.received) == (201, {digest: b"tar"})
    answer = client("POST", "/apply", {**body, "contents": contents})
    assert (answer.status, len(answer.body["created"])) == (200, 2)
    submissions, options = client.backend.applied[0]
    assert (options.owner, options.prune, options.only_namespace) == ("ci", True, "shop")
    secret, image = submissions
    assert {content.data for content in secret.contents.values()} == {b"key", b"t"}
    assert secret.located.manifest.spec.data["a"] == "yes \x7f😀"
    assert [(content.digest, content.size) for content in image.contents.values()] == [(digest, 3)]


def test_every_problem_of_every_manifest_is_told(client: Client) -> None:
    manifests = [{**SLEEPER, "spec": {**SLEEPER["spec"], "comand": ["x"]}}, {**SLEEPER, "kind": "Contaner"}]
    answer = client("POST", "/apply", {"manifests": manifests})
    assert (answer.status, answer.body["code"]) == (422, "Invalid")
    assert [problem["file"] for problem in answer.body["problems"]] == ["manifests[0]", "manifests[1]"]
    assert answer.body["problems"][0]["path"] == "spec.comand"
    assert "did you mean" in answer.body["problems"][0]["message"]
    assert client.backend.applied == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"manifests": []}',
        b'{"manifests": {}}',
        b'{"manifest": [1]}',
        b'{"manifests": [1], "owner": 1}',
        b'{"manifests": [1], "prune": "yes"}',
        b'{"manifests": [1], "namespace": "../x"}',
        b'{"manifests": [1], "manifests": [2]}',
        b'{"manifests": [NaN]}',
        b'{"manifests": [1' + b"0" * 5000 + b"]}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xff\xfe{",
        b'{"manifests": [{}], "contents": []}',
        b'{"manifests": [{}], "variables": {"a": 1}}',
    ],
)
def test_bodies_that_are_no_request(client: Client, body: bytes) -> None:
    answer = client("POST", "/apply", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.body["code"]) == (400, "InvalidArgument")


def test_strange_characters_in_a_manifest_are_its_problem(client: Client) -> None:
    for text in ('"\\ud800"', '"\\u0000"', '"a\\nb"'):
        body = (
            b'{"manifests": [{"apiVersion": "lading/v1", "kind": "Container", "metadata": {"name": %s}}]}'
            % text.encode()
        )
        answer = client("POST", "/apply", data=body, headers={"Content-Type": "application/json"})
        assert answer.status == 422, answer
        assert answer.body["problems"]


def test_writes_come_as_json_from_no_browser_to_this_host(client: Client) -> None:
    def status(method: str = "POST", path: str = "/apply", **headers: str) -> int:
        return client(method, path, data=b"{}", headers={"Content-Type": "application/json", **headers}).status

    assert status() == 400
    assert status(**{"Content-Type": "text/plain"}) == 415
    assert status(**{"Content-Type": "application/x-www-form-urlencoded"}) == 415
    assert status(**{"Content-Type": "application/octet-stream"}) == 415
    assert status(**{"Content-Encoding": "gzip"}) == 415
    assert status(Origin="http://localhost") == 403
    assert status(**{"Sec-Fetch-Site": "cross-site"}) == 403
    assert status(Host="evil.example") == 421
    assert status(Host="localhost.evil.example") == 421
    assert status(Host="localhost:80") == 400
    assert client("GET", "/kinds", headers={"Host": "rebound.example"}).status == 421


def test_a_request_is_what_it_says_it_is(client: Client) -> None:
    """Two lengths, two hosts, bytes after the end: refused, and the connection is closed."""
    head = b"POST /apis/lading/v1/apply HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    smuggled = b"GET /apis/lading/v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for lengths in (
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, x\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"Content-Length: +2\r\n\r\n{}",
        "Content-Length: ２\r\n\r\n{}".encode(),
        b"X: a\r\n b\r\nContent-Length : 2\r\n\r\n{}",
        b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    ):
        got = client.raw(head + lengths + smuggled)
        assert got.startswith(b"HTTP/1.1 400") or got.startswith(b"HTTP/1.0 400"), (lengths, got)
        assert b'"host"' not in got, lengths
        assert b"Traceback" not in got
    two = client.raw(head + b"Host: localhost\r\nContent-Length: 2\r\n\r\n{}")
    assert two.split()[1] == b"400"
    assert client.backend.applied == []


def test_bodies_are_bounded_and_nothing_follows_one_that_was_not_read(client: Client) -> None:
    head = b"POST /apis/lading/v1/apply HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    size = 9 * 1024 * 1024
    got = client.raw(head + b"Content-Length: %d\r\n\r\n{" % size, until=b"TooLarge")
    assert got.split()[1] == b"413"
    refused = b"POST /apis/lading/v1/apply HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
    inner = b"GET /apis/lading/v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    got = client.raw(refused + b"Content-Length: %d\r\n\r\n" % len(inner) + inner)
    assert got.split()[1] == b"415"
    assert b'"host"' not in got


def test_get_changes_nothing(client: Client) -> None:
    client.backend.put(container())
    before = client.backend.revision()
    for path in ("/healthz", "/version", "/kinds", "/containers", "/containers/default/web", "/events"):
        assert client("GET", path).status == 200
        assert client("GET", path, data=b'{"manifests": []}').status == 200
    for path in ("/apply", "/containers/default/web/stop"):
        assert client("GET", path).status in (404, 405)
    assert (client.backend.revision(), client.backend.edits, client.backend.applied) == (before, [], [])


def test_errors_of_the_engine(client: Client) -> None:
    client.backend.put(container(owner="ci"))
    answer = client("PUT", "/containers/default/web", SLEEPER)
    assert (answer.status, answer.body["code"]) == (409, "Conflict")
    client.backend.used.add(Ref(kind=Kind.CONTAINER, namespace="default", name="web"))
    answer = client("DELETE", "/containers/default/web")
    assert (answer.status, answer.body["code"]) == (409, "FailedPrecondition")
    assert "cascade" in answer.body["hint"]
    client.backend.fail = RuntimeError(f"no user should see {CANARY}")
    answer = client("GET", "/containers/default/web")
    assert (answer.status, answer.body["code"]) == (500, "Internal")
    assert CANARY not in json.dumps(answer.body)
    client.backend.fail = ExceptionGroup("two", [Conflict("one"), Conflict("another")])
    answer = client("GET", "/containers/default/web")
    assert (answer.status, [problem["message"] for problem in answer.body["problems"]]) == (409, ["one", "another"])


def test_deletes_with_what_was_asked(client: Client) -> None:
    client.backend.put(container())
    answer = client("DELETE", "/containers/default/web?data=1&cascade")
    assert (answer.status, answer.body) == (
        202,
        {"deleted": [{"kind": "Container", "namespace": "default", "name": "web"}]},
    )
    assert client.backend.deletions == [{"data": True, "cascade": True, "force": False}]


def test_verbs_edit_desired_state(client: Client) -> None:
    item = container()
    client.backend.put(item)
    client.backend.put(item, Status(phase="Running"))

    def now() -> Any:
        return client.backend.get(item.key)

    assert client("POST", "/containers/default/web/pause").status == 202
    assert (now().suspension.state, now().suspension.by) == ("paused", "api")
    assert client("POST", "/containers/default/web/resume").body.get("suspension") is None
    assert (now().suspension, now().restart_request) == (None, "")
    answer = client("POST", "/containers/default/web/resume")
    assert (answer.status, answer.body["code"]) == (409, "FailedPrecondition")
    assert client("POST", "/containers/default/web/stop").body["suspension"]["state"] == "stopped"
    assert client("POST", "/containers/default/web/start").status == 202
    assert (now().suspension, now().restart_request) == (None, "")
    assert client("POST", "/containers/default/web/start").status == 202
    assert now().restart_request == ""
    assert client("POST", "/containers/default/web/restart").status == 202
    assert now().restart_request != ""
    assert client.backend.edits[:2] == [("api", "Paused"), ("api", "Resumed")]


def test_what_has_ended_is_started_again_and_cannot_be_paused(client: Client) -> None:
    client.backend.put(container(), Status(phase="Completed"))
    assert client("POST", "/containers/default/web/pause").body["code"] == "FailedPrecondition"
    assert client("POST", "/containers/default/web/start").status == 202
    assert client.backend.list()[0].restart_request != ""


def test_what_the_manifest_stops_is_not_started_by_hand(client: Client) -> None:
    client.backend.put(made(Kind.CONTAINER, "web", ContainerSpec.parse({"image": "busybox", "state": "stopped"})))
    for verb in ("start", "restart"):
        answer = client("POST", f"/containers/default/web/{verb}")
        assert (answer.status, answer.body["code"]) == (409, "FailedPrecondition")


def test_kill_is_an_operation(client: Client) -> None:
    client.backend.put(container())
    assert client("POST", "/containers/default/web/kill?signal=SIGHUP").status == 200
    assert [signal for _, signal in client.backend.signals] == ["SIGHUP"]
    assert client.backend.edits == []


def test_events_from_a_number_on(client: Client) -> None:
    key = Key(kind=Kind.CONTAINER, uid="a" * 32)
    ref = Ref(kind=Kind.CONTAINER, namespace="default", name="web")
    client.backend.log = [EngineEvent(n, NOW, key, ref, "Started", f"pid {n}", {"pid": n}) for n in (1, 2, 3)]
    events = client("GET", "/events?since=1").body["events"]
    assert [event["sequence"] for event in events] == [2, 3]
    assert events[0]["name"] == "web"
    got = client.raw(b"GET /apis/lading/v1/events?since=2&follow HTTP/1.0\r\nHost: localhost\r\n\r\n", until=b"pid 3")
    assert b"pid 2" not in got


def test_watches_changes_and_lets_go_when_the_client_leaves(client: Client) -> None:
    client.backend.put(container("a", labels={"app": "x"}))
    request = b"GET /apis/lading/v1/containers?watch=1&labelSelector=app HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(client.path))
        connection.sendall(request)
        reader = connection.makefile("rb")

        def line() -> Any:
            while True:
                text = reader.readline()
                assert text, "the stream ended"
                if text.startswith(b"{"):
                    return json.loads(text)

        first = line()
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
        until(lambda: client.backend.followers == 1)
        client.backend.put(container("hidden"))
        client.backend.put(made(Kind.SECRET, "db", SecretSpec()))
        client.backend.put(container("b", labels={"app": "y"}))
        client.backend.put(container("a", labels={"app": "z"}))
        client.backend.put(container("b"))
        client("DELETE", "/containers/default/a")
        # "b" lost its label before the watch got to it, or after; the last word on each is the same.
        last: dict[str, str] = {}
        while last.get("a") != "DELETED":
            event = line()
            last[event["object"]["metadata"].get("name", "?")] = event["type"]
        assert "hidden" not in last
        assert last.get("b", "DELETED") == "DELETED"
        reader.close()
    until(lambda: client.backend.followers == 0)


def test_a_watch_goes_on_from_a_revision(client: Client) -> None:
    client.backend.put(container("a"))
    revision = client("GET", "/containers").body["resourceVersion"]
    client.backend.put(container("b"))
    request = f"GET /apis/lading/v1/containers?watch&resourceVersion={revision} HTTP/1.0\r\nHost: localhost\r\n\r\n"
    got = client.raw(request.encode(), until=b'"b"')
    assert b'"name": "a"' not in got
    assert b'"ADDED"' in got


def test_streams_are_bounded(client: Client) -> None:
    request = b"GET /apis/lading/v1/containers?watch=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    connections = []
    try:
        for _ in range(64):
            connection = socket.socket(socket.AF_UNIX)
            connections.append(connection)
            connection.connect(str(client.path))
            connection.sendall(request)
        until(lambda: client.backend.followers == 64)
        answer = client("GET", "/containers?watch=1")
        assert (answer.status, answer.body["code"]) == (503, "Unavailable")
        assert client("GET", "/healthz").status == 200
    finally:
        for connection in connections:
            connection.close()
    until(lambda: client.backend.followers == 0)
    client.backend.put(container("after"))
    assert b"after" in client.raw(request, until=b"after")


def test_a_watch_from_too_long_ago_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def changes(since: int, stopped: Callable[[], bool]) -> Iterator[Key]:
        raise Compacted
        yield

    monkeypatch.setattr(client.backend, "changes", changes)
    request = b"GET /apis/lading/v1/containers?watch&resourceVersion=1 HTTP/1.0\r\nHost: localhost\r\n\r\n"
    got = json.loads(client.raw(request).partition(b"\r\n\r\n")[2])
    assert got["error"]["code"] == "Compacted"


def test_no_request_gets_more_than_a_refusal(client: Client) -> None:
    """Requests put together at random: each is answered, by no failure of ours and no traceback."""
    client.backend.put(container())
    chosen = random.Random(7)
    parts = [
        "containers",
        "secrets",
        "default",
        "web",
        "apply",
        "events",
        "..",
        "%2e%2e",
        "%00",
        "%ff",
        "//",
        "*",
        "kill",
    ]
    parts += [
        "?since=1",
        "?labelSelector=a,,!=,=",
        "?namespace=%0a",
        "uploads",
        f"sha256:{'a' * 64}",
        "a" * 300,
        "\u00e9",
    ]
    bodies = [b"", b"[]", b'{"manifests":[1,null,"x",[[]]]}', b'{"metadata":{"name":1}}', b'{"kind":null}', b"\0\xff"]
    kind = b'{"apiVersion":"lading/v1","kind":"Secret","metadata":{"name":"a"},"spec":'
    bodies += [b'{"manifests":[%s{"data":{"k":1e400}}}]}' % kind, b'{"manifests":[%s[]}]}' % kind]
    bodies += [
        b'{"manifests":[%s{"files":{"k":"/x"}}}],"contents":{"/x":%s}}' % (kind, c) for c in (b"[]", b'{"base64":"!"}')
    ]
    for _ in range(500):
        method = chosen.choice(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"])
        path = "/".join(chosen.choice(parts) for _ in range(chosen.randint(1, 4)))
        body = chosen.choice(bodies)
        head = f"{method} /apis/lading/v1/{path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        got = client.raw(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert got.split()[1][:1] in (b"2", b"4"), (head, body, got)
        assert b"Traceback" not in got
