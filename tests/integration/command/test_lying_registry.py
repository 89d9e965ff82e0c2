"""Registries that lie, hang and die under the whole engine: right content or an error that says what is wrong; the rest
goes on meanwhile, nothing wrong is kept, and all is well again when the registry is."""

import itertools
import json
import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import registry_faults
from tests.engines import Engine
from tests.fake_registry import INDEX, LAYER, Answer, FakeRegistry, Fault, Published, Request, described, digest_of
from tests.integration.command.client import Client, Document, document
from tests.integration.command.outside import until
from tests.unit.drivers.images import tars

pytestmark = pytest.mark.host
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
PIECES = 20


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    before = threading.active_count()
    with FakeRegistry() as made:
        yield made
    until(lambda: threading.active_count() <= before, what="whom it kept waiting has gone")


@pytest.fixture
def lading(engine: Callable[..., Engine]) -> Iterator[Client]:
    one = Client(engine(), "default")
    yield one
    one("delete", "--all")
    one("image", "prune", "-a")


def layer(size: int = 2000) -> bytes:
    return tars.entry("data", os.urandom(size)) + tars.END


def image(registry: FakeRegistry, name: str) -> Document:
    return document("Image", name, **{"from": {"registry": f"{registry.host}/t/{name}:1"}})


def apply(client: Client, *documents: Document, flags: tuple[str, ...] = (), check: bool = True) -> str:
    answer = client("apply", "-f", "-", *flags, check=check, stdin="\n---\n".join(map(json.dumps, documents)))
    return answer.stdout + answer.stderr


def conditions(client: Client) -> dict[str, tuple[str, str]]:
    """Reason and message of Ready, of each Image that has one."""
    found = {}
    for one in client.json("get", "image")["items"]:
        for condition in one.get("status", {}).get("conditions", ()):
            found[one["metadata"]["name"]] = condition["reason"], condition["message"]
    return found


def check_content(client: Client) -> None:
    """What is kept is what its name says, and nothing is half there."""
    store = client.engine.root / "images"
    wrong = [
        blob.name for blob in (store / "blobs" / "sha256").iterdir() if digest_of(blob.read_bytes())[7:] != blob.name
    ]
    assert wrong == []
    assert os.listdir(store / "ingest") == []


def resident(pid: int | None) -> int:
    """The most memory the process has ever had, in MiB."""
    match = re.search(r"VmHWM:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) >> 10


def endless(before: bytes, again: bytes) -> Fault:
    return lambda request, answer: replace(answer, raw=itertools.chain([before], itertools.repeat(again)))


def challenge(header: str) -> Fault:
    return registry_faults.status(401, {"WWW-Authenticate": header})


MANIFEST, BLOB = "manifests/1$", "blobs/"
ANSWERS: dict[str, tuple[str, Fault, str, str]] = {
    "wrong": (BLOB, registry_faults.body(lambda data: data[:-1] + b"?"), "DataLoss", "promised"),
    "short": (BLOB, registry_faults.body(lambda data: data[:-1]), "DataLoss", "offers"),
    "long": (BLOB, registry_faults.body(lambda data: data + b"x"), "DataLoss", "offers"),
    "endless": (BLOB, endless(CHUNKED, b"2710\r\n" + b"x" * 10_000 + b"\r\n"), "DataLoss", "sends more"),
    "moved": (
        MANIFEST,
        registry_faults.headers(Docker_Content_Digest=f"sha256:{'0' * 64}"),
        "DataLoss",
        "gives sha256:",
    ),
    "page": (
        MANIFEST,
        lambda *_: Answer(200, {"Content-Type": "text/html"}, b"<p>\x1b[2J"),
        "InvalidArgument",
        "web page",
    ),
    "kind": (MANIFEST, registry_faults.headers(Content_Type=INDEX), "InvalidArgument", "is served as"),
    "huge": (MANIFEST, registry_faults.body(lambda data: data + b" " * (5 << 20)), "InvalidArgument", "more than"),
    "quotes": (
        MANIFEST,
        lambda *_: Answer(200, {}, b'{"a": "' + b'\\"' * 2_000_000),
        "InvalidArgument",
        "not valid JSON",
    ),
    "quoted": (MANIFEST, lambda *_: Answer(404, {}, b'{"a": "' + b'\\"' * 30_000), "NotFound", "no such image"),
    "spaces": (MANIFEST, challenge(f"Basic{' ' * 8100}@"), "PermissionDenied", "lading login"),
    "again": (MANIFEST, challenge('Basic realm="x"'), "PermissionDenied", "lading login"),
    "realm": (MANIFEST, challenge('Bearer realm="http://192.0.2.1/token"'), "PermissionDenied", "not trusted"),
    "metadata": (BLOB, registry_faults.redirect("http://169.254.169.254/latest"), "PermissionDenied", "169.254"),
    "file": (BLOB, registry_faults.redirect("file:///etc/passwd"), "Unavailable", "not an http"),
    "round": (BLOB, registry_faults.redirect("{path}"), "Unavailable", "redirects more than"),
    "status": (
        MANIFEST,
        registry_faults.raw(b"HTTP/1.1 299 \x1b[2J\r\nContent-Length: 0\r\n\r\n"),
        "Unavailable",
        "299",
    ),
    "escapes": (MANIFEST, registry_faults.status(403, {}, "\x1b]0;x\x07"), "PermissionDenied", "lading login"),
}


def documents_that_lie(registry: FakeRegistry, other: FakeRegistry) -> dict[str, tuple[str, str]]:
    """Publish images whose documents promise what is not so; reason and words of what is told of each."""
    one = layer()
    elsewhere = {**described(one, LAYER), "urls": [f"{other.url}/leak"]}
    foreign = {**described(b"x", FOREIGN), "urls": [f"{other.url}/leak"]}
    registry.publish("t/foreign:1", manifest={"layers": [foreign]})
    registry.publish("t/urls:1", [layer()], manifest={"layers": [elsewhere]})
    registry.publish("t/many:1", manifest={"layers": [described(b"%d" % number, LAYER) for number in range(1001)]})
    registry.publish("t/vast:1", manifest={"layers": [{**described(one, LAYER), "size": 1 << 49}]})
    registry.publish("t/type:1", manifest={"layers": [described(one, "\x1b[31m\u202e")]})
    loop = f"sha256:{'3' * 64}"
    raw = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**described(b"", INDEX), "digest": loop}]})
    registry.put_manifest("t/loop", "1", raw.encode(), INDEX)
    registry.manifests[("t/loop", loop)] = (INDEX, raw.encode())
    return {
        "foreign": ("InvalidArgument", "may not be distributed"),
        "urls": ("NotFound", "no such image"),
        "many": ("InvalidArgument", "more than 1000"),
        "vast": ("ResourceExhausted", "bytes more"),
        "type": ("InvalidArgument", "is not taken"),
        "loop": ("DataLoss", "gives sha256:"),
    }


def test_lies_are_told_and_all_is_well_when_they_end(lading: Client, registry: FakeRegistry) -> None:
    with FakeRegistry() as other:
        expected = documents_that_lie(registry, other)
        for name, (pattern, fault, reason, words) in ANSWERS.items():
            made = registry.publish(f"t/{name}:1", [layer()])
            at = f"blobs/{digest_of(made.layers[0])}" if pattern == BLOB else pattern
            registry.fault(f"t/{name}/{at}", fault, times=10_000)
            expected[name] = reason, words
        registry.publish("t/good:1", [layer(), layer()])
        lading("image", "ls")
        engine, before = lading.engine.pid, resident(lading.engine.pid)
        every = [image(registry, name) for name in (*expected, "good")]
        apply(lading, *every, flags=("--no-wait",))

        def told() -> bool:
            begun = time.monotonic()
            found = conditions(lading)
            assert time.monotonic() - begun < 5, "no answer of a registry keeps others waiting"
            return found.get("good", ("", ""))[0] == "Ready" and all(
                found.get(name, ("", ""))[0] == reason for name, (reason, _) in expected.items()
            )

        until(told, within=40, what="each has its error")
        found = conditions(lading)
        for name, (_, words) in expected.items():
            assert words in found[name][1], name
        assert lading.engine.pid == engine
        assert resident(engine) - before < 250
        assert other.requests == []
    shown = [lading(*words).stdout for words in (("get", "image"), ("describe", "image/type"), ("events",))]
    logs = [path.read_text() for path in lading.engine.base.rglob("*.log")]
    assert [text for text in (*shown, *logs) if CONTROLS.search(text)] == []
    check_content(lading)

    registry.forgive()
    for name in expected:
        registry.publish(f"t/{name}:1", [layer()])
    apply(lading, *every)
    assert {reason for reason, _ in conditions(lading).values()} == {"Ready"}
    check_content(lading)


def slowed(registry: FakeRegistry, published: list[Published], seconds: float) -> int:
    """Have the layers come slowly, piece by piece, and their bytes counted; return how many bytes a piece has."""
    layers = {digest_of(one): one for image in published for one in image.layers}

    def fault(request: Request, answer: Answer) -> Answer:
        def sent() -> Iterator[bytes]:
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            lines = [f"HTTP/1.1 {answer.status} OK", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
            yield "\r\n".join(lines).encode()
            size = -(-len(answer.body) // PIECES)
            for start in range(0, len(answer.body), max(1, size)):
                registry.sent[request.path] += len(answer.body[start : start + size])
                yield answer.body[start : start + size]
                time.sleep(seconds / PIECES)

        return replace(answer, raw=sent())

    registry.fault(f"GET .*/blobs/({'|'.join(layers)})", fault, times=10_000)
    return max(map(len, layers.values())) // PIECES + 1


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.long)])
def test_kill_9_at_any_time_and_the_next_engine_goes_on_at_the_byte(
    lading: Client, registry: FakeRegistry, times: int
) -> None:
    """Of two images that share layers."""
    shared = [layer(1_500_000), layer(1_000_000)]
    made = [registry.publish(f"t/{name}:1", [*shared, layer(2_000_000)]) for name in ("a", "b")]
    piece = slowed(registry, made, 1.5 + times / 10)
    apply(lading, image(registry, "a"), image(registry, "b"), flags=("--no-wait",))
    random_, kills = random.Random(7), 0
    while kills < times and set(conditions(lading).values()) != {("Ready", "")}:
        time.sleep(random_.uniform(0.01, 0.3))
        pid = lading.engine.pid
        assert pid is not None
        os.kill(pid, 9)
        kills += 1
        lading("image", "ls")
    until(lambda: {reason for reason, _ in conditions(lading).values()} == {"Ready"}, within=30, what="both are here")
    every = {digest_of(one): len(one) for image in made for one in image.layers}
    sent = sum(size for path, size in registry.sent.items() if path.rpartition("/")[2] in every)
    assert sum(every.values()) <= sent <= sum(every.values()) + kills * len(every) * 2 * piece
    check_content(lading)


def test_many_clients_want_one_image_and_the_engine_dies(lading: Client, registry: FakeRegistry) -> None:
    made = registry.publish("t/a:1", [layer(2_000_000), layer(2_000_000)])
    name = f"{registry.host}/t/a:1"
    piece = slowed(registry, [made], 3)
    lading("image", "ls")
    clients = [
        subprocess.Popen(
            [*lading.command, "image", "pull", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(12)
    ]
    ingest = lading.engine.root / "images" / "ingest"
    until(lambda: sum(path.stat().st_size for path in ingest.glob("*.part")) > 1_000_000, what="a part of it is here")
    pid = lading.engine.pid
    assert pid is not None
    os.kill(pid, 9)
    errors = [client.communicate(timeout=60)[1] for client in clients]
    assert not any("Traceback" in text for text in errors)
    lading("image", "pull", name)
    sent = sum(size for path, size in registry.sent.items() if path.rpartition("/")[2] in map(digest_of, made.layers))
    assert sent <= sum(map(len, made.layers)) + 2 * len(made.layers) * piece
    check_content(lading)


@pytest.fixture
def small(engine: Callable[..., Engine]) -> Iterator[Client]:
    """An engine whose state is on a disk of 32 MiB."""
    made = engine()
    made.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=0700", "tmpfs", made.root], check=True)
    try:
        yield Client(made, "default")
        made("delete", "--all")
        made("image", "prune", "-a")
        pid = made.pid
        made("shutdown")
        until(lambda: not Path(f"/proc/{pid}").exists(), what="the engine has ended")
    finally:
        subprocess.run(["umount", "--lazy", made.root], check=True)


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_told_and_room_can_be_made(small: Client, registry: FakeRegistry) -> None:
    for name, size in (("here", 100_000), ("big", 60_000_000), ("next", 3_000_000)):
        registry.publish(f"t/{name}:1", [layer(size)])
    names = {name: f"{registry.host}/t/{name}:1" for name in ("here", "big", "next")}
    small("image", "pull", names["here"])
    apply(small, image(registry, "big"), flags=("--no-wait",))
    until(lambda: conditions(small)["big"][0] == "ResourceExhausted", what="it is told")
    assert "bytes more" in conditions(small)["big"][1]
    small("delete", "image/big")
    fill(small.engine.root / "filler")
    for words in (("pull", names["next"]), ("tag", names["here"], "mine:1")):
        refused = small("image", *words, check=False)
        assert refused.returncode == 1
        assert "no room for the content" in refused.stderr, words
    assert "removed" in small("image", "rm", names["here"]).stdout, "what makes room needs none"
    (small.engine.root / "filler").unlink()
    small("image", "pull", names["next"])
    check_content(small)


def test_a_login_that_cannot_be_read_holds_up_nobody(lading: Client, registry: FakeRegistry) -> None:
    registry.publish("t/a:1", [layer()])
    lading("image", "ls")
    saved = lading.engine.root / "credentials.json"
    kinds: dict[str, Callable[[], Any]] = {
        "not one JSON object": lambda: saved.write_text("{"),
        "is not a file": lambda: os.mkfifo(saved),
        "at most 4194304 bytes": lambda: saved.write_bytes(b" " * (5 << 20)),
    }
    for words, make in kinds.items():
        make()
        begun = time.monotonic()
        refused = lading("image", "pull", f"{registry.host}/t/a:1", check=False)
        assert refused.returncode == 1
        assert words in refused.stderr
        assert time.monotonic() - begun < 5
        saved.unlink()
    lading("image", "pull", f"{registry.host}/t/a:1")
