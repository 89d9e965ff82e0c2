"""Every way a registry can be broken: what is pulled is right, or the error says what is wrong; nothing wrong is kept."""

import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resources.errors import DataLoss, EngineError, InvalidArgument, NotFound, Unavailable
from tests import fake_registry, registry_faults
from tests.fake_registry import Answer, FakeRegistry, Fault, Published, Request
from tests.integration.drivers.images.pulls import Puller

SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 20))]
MANIFESTS, BLOBS = "GET .*/manifests/", "GET .*/blobs/"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        yield made


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path)


def published(registry: FakeRegistry, seed: int = 0, size: int = 300_000) -> Published:
    random_ = random.Random(seed)
    layers = [random_.randbytes(random_.randrange(size // 2, size)) for _ in range(3)]
    return registry.publish("team/app:1", layers, platforms=["linux/amd64", "linux/arm64"])


def name(registry: FakeRegistry) -> str:
    return f"{registry.host}/team/app:1"


def chunked(data: bytes, declared: int) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (declared, data)


def wrong_range(request: Request, answer: Answer) -> Answer:
    """Another part than the one asked for."""
    if answer.status != 206:
        return registry_faults.cut(0.4)(request, answer)
    changed = registry_faults.headers(Content_Range=f"bytes 0-{len(answer.body) - 1}/{len(answer.body)}")
    return changed(request, answer)


def from_the_start(request: Request, answer: Answer) -> Answer:
    """200 and all of it, where 206 and a part was asked for; cut once."""
    match = re.search("sha256:[0-9a-f]{64}", request.path)
    assert match is not None
    return answer if answer.status == 200 else Answer(200, {}, FULL[match[0]])


FULL: dict[str, bytes] = {}

PASSING: dict[str, Callable[[random.Random], Fault]] = {
    "truncated": lambda r: registry_faults.cut(r.random()),
    "reset": lambda r: registry_faults.cut(r.random(), reset=True),
    "reset before the head": lambda r: registry_faults.raw(b""),
    "half a head": lambda r: registry_faults.raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "no HTTP": lambda r: registry_faults.raw(r.randbytes(500)),
    "stalled": lambda r: registry_faults.stall(r.random() * 0.9, 1.0),
    "500": lambda r: registry_faults.status(500),
    "502": lambda r: registry_faults.status(502, {"Retry-After": "never"}),
    "503": lambda r: registry_faults.status(503, {"Retry-After": "0"}),
    "429": lambda r: registry_faults.status(429),
    "chunked, cut": lambda r: registry_faults.raw(chunked(b"abc", 300)),
    "chunked, not hexadecimal": lambda r: registry_faults.raw(chunked(b"abc", 3).replace(b"\r\n3\r\n", b"\r\nx\r\n")),
    "trickling": lambda r: registry_faults.trickle(0.02),
    "a head without end": lambda r: registry_faults.raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_waited_out(registry: FakeRegistry, puller: Puller, fault: str, seed: int) -> None:
    image = published(registry, seed)
    chosen = random.Random(seed)
    registry.fault(chosen.choice([MANIFESTS, BLOBS, BLOBS]), PASSING[fault](chosen), times=2)
    assert puller.pull(name(registry)).id == image.id
    assert puller.check_blobs() == 5
    assert puller.leftovers() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_part_is_not_fetched_twice(registry: FakeRegistry, tmp_path: Path, seed: int) -> None:
    image = published(registry, seed, size=3_000_000)
    for layer in map(fake_registry.digest_of, image.layers):
        for fault in (registry_faults.cut(0.5), registry_faults.stall(0.3, 0.6), registry_faults.cut(0.7)):
            registry.fault(layer, fault)
    Puller(tmp_path, attempts=10).pull(name(registry))
    for data in image.layers:
        path = f"/v2/team/app/blobs/{fake_registry.digest_of(data)}"
        assert len(registry.asked(path)) == 4
        assert registry.sent[path] == len(data)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["wrong range", "from the start", "416", "no ranges", "no Content-Range"])
def test_going_on_where_the_registry_does_not(registry: FakeRegistry, tmp_path: Path, kind: str, seed: int) -> None:
    puller = Puller(tmp_path, attempts=10)
    image = published(registry, seed)
    FULL.update(registry.blobs)
    faults: dict[str, Fault] = {
        "wrong range": wrong_range,
        "from the start": from_the_start,
        "416": lambda request, answer: Answer(416) if answer.status == 206 else answer,
        "no Content-Range": registry_faults.headers(Content_Range=None),
    }
    registry.ranges = kind != "no ranges"
    registry.fault(BLOBS, registry_faults.cut(0.2 + 0.6 * random.Random(seed).random()), times=3)
    if kind in faults:
        registry.fault(BLOBS, faults[kind], times=3)
    assert puller.pull(name(registry)).id == image.id
    assert puller.check_blobs() == 5
    assert puller.leftovers() == []


def test_a_range_that_is_always_wrong(registry: FakeRegistry, tmp_path: Path) -> None:
    """What comes of it is not even looked at: twice cut off, it is right nevertheless."""
    layer = os.urandom(100_000)
    image = registry.publish("team/app:1", [layer])
    cuts = 0

    def fault(request: Request, answer: Answer) -> Answer:
        nonlocal cuts
        if answer.status == 200:
            cuts += 1
        return wrong_range(request, answer) if cuts <= 2 or answer.status == 206 else answer

    registry.fault(fake_registry.digest_of(layer), fault, times=99)
    assert Puller(tmp_path, attempts=10).pull(name(registry)).id == image.id
    assert cuts == 3


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (registry_faults.stall(0.5, 2), r"sent nothing for 0\.5 seconds"),
        (registry_faults.cut(0.5), "broke off"),
        (registry_faults.raw(b""), "broke off"),
        (registry_faults.raw(b"SSH-2.0-x\r\n"), "does not answer as HTTP has it"),
        (registry_faults.trickle(0.02), "bytes a second"),
        (registry_faults.status(503), "has trouble .HTTP 503"),
    ],
)
def test_what_is_wrong_is_said(registry: FakeRegistry, puller: Puller, fault: Fault, told: str) -> None:
    published(registry)
    registry.fault(BLOBS, fault, times=99)
    with pytest.raises(Unavailable, match=told) as caught:
        puller.pull(name(registry))
    assert registry.host in caught.value.message


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


LIES: dict[str, tuple[str, Fault, type[EngineError]]] = {
    "a wrong blob": (BLOBS, registry_faults.body(flipped), DataLoss),
    "a blob that goes on": (BLOBS, registry_faults.body(lambda data: data + b"x"), DataLoss),
    "an endless blob": (BLOBS, registry_faults.raw(chunked(b"x" * 2_000_000, 2_000_000)), DataLoss),
    "another length": (BLOBS, registry_faults.headers(Content_Length="5"), DataLoss),
    "a wrong manifest": ("manifests/sha256", registry_faults.body(flipped), DataLoss),
    "another manifest": ("manifests/1", registry_faults.body(lambda data: data + b" "), DataLoss),
    "a manifest without end": (
        "manifests/1",
        registry_faults.body(lambda data: data + b" " * (5 << 20)),
        InvalidArgument,
    ),
    "a page": ("manifests/1", registry_faults.headers(Content_Type="text/html"), InvalidArgument),
    "another kind": ("manifests/1", registry_faults.headers(Content_Type=fake_registry.MANIFEST), InvalidArgument),
    "a blob that is not there": (BLOBS, registry_faults.status(404), NotFound),
    "5xx without end": (BLOBS, registry_faults.status(500), Unavailable),
    "nothing but ends": (BLOBS, registry_faults.cut(0), Unavailable),
    "416 without end": (BLOBS, registry_faults.status(416), Unavailable),
    "206 to no question": (BLOBS, registry_faults.status(206), Unavailable),
    "a status nobody knows": (MANIFESTS, registry_faults.status(299), Unavailable),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("lie", LIES)
def test_lies_are_told_and_not_kept(registry: FakeRegistry, puller: Puller, lie: str, seed: int) -> None:
    published(registry, seed, size=100_000)
    pattern, fault, error = LIES[lie]
    registry.fault(pattern, fault, times=1000)
    asked = len(registry.requests)
    with pytest.raises(error) as caught:
        puller.pull(name(registry))
    assert isinstance(caught.value, EngineError)
    assert str(caught.value).isprintable()
    puller.check_blobs()
    # Never asked for without end.
    assert len(registry.requests) - asked < 40
    registry._scripts.clear()
    assert puller.pull(name(registry)).layers
    assert puller.leftovers() == []


def test_a_part_that_went_bad_on_the_disk_is_fetched_anew(registry: FakeRegistry, puller: Puller) -> None:
    image = published(registry)
    registry.fault(BLOBS, registry_faults.cut(0.5), times=1000)
    with pytest.raises(Unavailable):
        puller.pull(name(registry))
    folder = puller.base / "content" / "ingest"
    for part in os.listdir(folder):
        data = (folder / part).read_bytes()
        (folder / part).write_bytes(bytes(len(data)))
    registry._scripts.clear()
    assert puller.pull(name(registry)).id == image.id
    puller.check_blobs()


def test_a_tag_that_moves_meanwhile(registry: FakeRegistry, puller: Puller) -> None:
    image = published(registry)

    def move(request: Request, answer: Answer) -> Answer:
        registry.publish("team/app:1", [b"another"])
        return answer

    registry.fault("manifests/1", move)
    pulled = puller.pull(name(registry))
    assert (pulled.id, pulled.resolved) == (image.id, image.target)
    assert puller.images.resolve(name(registry)).digest not in (image.id, image.target)
    assert puller.pull(f"{registry.host}/team/app@{image.target}").id == image.id


def test_who_lies_about_a_size_does_not_spoil_it_for_others(registry: FakeRegistry, puller: Puller) -> None:
    """They want the same blob at the same time, and only one fetches it."""
    image = published(registry)
    layer = {**fake_registry.described(image.layers[0], fake_registry.LAYER), "size": 7}
    registry.publish("team/app:liar", image.layers, manifest={"layers": [layer] * 3})
    asked = threading.Event()

    def slowly(request: Request, answer: Answer) -> Answer:
        asked.set()
        time.sleep(0.3)
        return answer

    registry.fault(f"blobs/{fake_registry.digest_of(image.layers[0])}", slowly)
    with ThreadPoolExecutor(1) as pool:
        liar = pool.submit(puller.pull, f"{registry.host}/team/app:liar")
        assert asked.wait(5)
        assert puller.pull(name(registry)).id == image.id
        with pytest.raises(DataLoss):
            liar.result()


def test_progress_tells_what_is_fetched(registry: FakeRegistry, puller: Puller) -> None:
    image = published(registry, size=3_000_000)
    told: dict[str, list[tuple[int, int]]] = {}
    main = threading.get_ident()

    def progress(what: str, done: int, total: int) -> None:
        assert threading.get_ident() == main
        told.setdefault(what, []).append((done, total))

    puller.pull(name(registry), progress=progress)
    assert set(told) == {"resolve", *map(fake_registry.digest_of, image.layers)}
    for layer in image.layers:
        steps = told[fake_registry.digest_of(layer)]
        assert steps[-1] == (len(layer), len(layer))
        assert steps == sorted(steps)
