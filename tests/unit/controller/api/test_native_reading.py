"""What the native API shows, over its unix socket: lists, objects, events, watches. Secrets are in none of it."""

import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.api.server import ApiServer
from controller.interface import EngineEvent
from controller.store.interface import Compacted
from resources.kinds import Kind
from resources.meta import Condition, Key, Ref, Status
from resources.secret import SecretSpec
from tests.unit.controller.api.backend import NOW, FakeBackend, made
from tests.unit.controller.api.client import Client, container, until

CANARY = "hunter2-canary"


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
