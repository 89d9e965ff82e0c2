"""Requests that are wrong, forged or hostile: each is refused, bounded, and changes nothing."""

import json
import random
import socket

import pytest

from tests.unit.controller.api.client import Client, container

CANARY = "hunter2-canary"


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


def test_a_client_that_goes_within_its_request_is_no_failure(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(client.path))
        connection.sendall(
            b"POST /apis/lading/v1/apply HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 900\r\nExpect: 100-continue\r\n\r\n{"
        )
        assert b"100 Continue" in connection.recv(100)
    assert client("GET", "/kinds").status == 200
    assert "Traceback" not in capsys.readouterr().out


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


def test_get_changes_nothing(client: Client) -> None:
    client.backend.put(container())
    before = client.backend.revision()
    for path in ("/healthz", "/version", "/kinds", "/containers", "/containers/default/web", "/events"):
        assert client("GET", path).status == 200
        assert client("GET", path, data=b'{"manifests": []}').status == 200
    for path in ("/apply", "/containers/default/web/stop"):
        assert client("GET", path).status in (404, 405)
    assert (client.backend.revision(), client.backend.edits, client.backend.applied) == (before, [], [])
