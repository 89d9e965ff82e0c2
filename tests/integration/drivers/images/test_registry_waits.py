"""Registries that are slow, that ask for patience, and waits that are cut short."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from drivers.images.interface import Credentials
from drivers.images.registry.interface import RegistryConfig
from resources.errors import Cancelled, Unavailable
from tests import registry_faults
from tests.fake_registry import Answer, FakeRegistry, Request
from tests.integration.drivers.images.pulls import Puller
from tests.integration.drivers.images.test_registry_faults import BLOBS, MANIFESTS, chunked, name, published


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        yield made


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(registry: FakeRegistry, puller: Puller, form: str) -> None:
    published(registry)
    # A date has whole seconds only.
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    registry.fault(
        "manifests/1",
        registry_faults.status(429, {"Retry-After": "2" if form == "seconds" else format_datetime(until, usegmt=True)}),
    )
    puller.pull(name(registry))
    first, second = registry.asked("manifests/1")
    if form == "seconds":
        assert 2.0 <= second.at - first.at < 2.2
    else:
        assert 0 <= datetime.now(UTC).timestamp() - until.timestamp() < 0.5


def test_to_wait_for_too_long_is_an_error_that_says_until_when(registry: FakeRegistry, puller: Puller) -> None:
    published(registry)
    registry.fault("manifests/1", registry_faults.status(429, {"Retry-After": "3600"}))
    until = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(Unavailable, match="wait until") as caught:
        puller.pull(name(registry))
    match = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", caught.value.message)
    assert match is not None
    told = datetime.strptime(match[0], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    assert abs((told - until).total_seconds()) < 5
    # And it is left alone until then.
    with pytest.raises(Unavailable, match="wait until"):
        puller.images.resolve(name(registry))
    assert len(registry.requests) == 1


def test_a_login_gets_around_the_limit_of_those_without(registry: FakeRegistry, puller: Puller) -> None:
    """It is what the error advises."""
    image = published(registry)
    registry.fault("manifests/1", registry_faults.status(429, {"Retry-After": "3600"}))
    with pytest.raises(Unavailable, match="lading login"):
        puller.pull(name(registry))
    me = Credentials("me", "secret")
    puller.client.check(registry.host, me)
    assert puller.pull(name(registry), credentials=me).id == image.id


def test_a_registry_that_is_slow_but_fast_enough(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.publish("team/app:1", [b"x" * 200])
    registry.fault(BLOBS, registry_faults.trickle(0.005), times=5)
    Puller(tmp_path, minimum_rate=20).pull(name(registry))


def dripping(before: bytes, after: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + before
    while True:
        yield after
        time.sleep(0.05)


@pytest.mark.parametrize("what", [MANIFESTS, BLOBS])
def test_text_between_chunks_that_never_ends(registry: FakeRegistry, tmp_path: Path, what: str) -> None:
    """Each byte of it comes in time, and it is no content that could be too slow or too much."""
    published(registry)
    registry.fault(what, lambda request, answer: replace(answer, raw=dripping(b"5;", b"x")), times=1000)
    started = time.monotonic()
    with pytest.raises(Unavailable):
        Puller(tmp_path, attempts=2).pull(name(registry))
    assert time.monotonic() - started < 6


def test_trailers_that_never_end(registry: FakeRegistry, puller: Puller) -> None:
    """All of the content has come by then."""
    image = published(registry)

    def endless(request: Request, answer: Answer) -> Answer:
        return replace(
            answer, raw=dripping(chunked(answer.body, len(answer.body)).partition(b"\r\n\r\n")[2][:-2], b"X: y\r\n")
        )

    registry.fault(BLOBS, endless)
    started = time.monotonic()
    assert puller.pull(name(registry)).id == image.id
    assert time.monotonic() - started < 6


def test_a_document_that_comes_too_slowly_as_a_whole(registry: FakeRegistry, tmp_path: Path) -> None:
    """Fast enough for content, which may be long, but no manifest may take an hour."""
    published(registry)
    registry.fault(MANIFESTS, registry_faults.trickle(0.01), times=1000)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="takes too long"):
        Puller(tmp_path, attempts=2, minimum_rate=1, deadline=1).pull(name(registry))
    assert time.monotonic() - started < 6


def test_a_head_that_trickles_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def slowly() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=drip, args=(connection,), daemon=True).start()

        def drip(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                for letter in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
                    connection.send(bytes([letter]))
                    time.sleep(0.1)

        threading.Thread(target=slowly, daemon=True).start()
        puller = Puller(tmp_path, {_host(server): _plain()}, attempts=2, connect=0.5)
        started = time.monotonic()
        with pytest.raises(Unavailable):
            puller.pull(f"{_host(server)}/x")
        assert time.monotonic() - started < 6


@pytest.mark.parametrize("where", ["manifests", "blobs", "before the head", "delay", "connecting"])
def test_a_cancellation_comes_through_at_once(registry: FakeRegistry, tmp_path: Path, where: str) -> None:
    published(registry)
    puller = Puller(tmp_path, stall=60, deadline=600, first_delay=60, longest_delay=60)
    reference = name(registry)
    if where == "manifests":
        registry.fault("manifests/1", registry_faults.stall(0.5, 20))
    elif where == "blobs":
        registry.fault(BLOBS, registry_faults.stall(0.5, 20), times=9)
    elif where == "before the head":
        registry.fault("manifests/1", lambda request, answer: time.sleep(20) or answer)  # type: ignore[func-returns-value]
    elif where == "delay":
        registry.fault(BLOBS, registry_faults.status(503), times=9)
    else:
        reference = "192.0.2.1/x:1"
    threads = threading.active_count()
    told: list[float] = []

    def cancel(what: str, done: int, total: int) -> None:
        told.append(time.monotonic())
        if time.monotonic() - told[0] > 0.5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        puller.pull(reference, progress=cancel)
    assert time.monotonic() - told[0] < 1.7
    assert len(told) > 3
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and any(t.name.startswith("pull") for t in threading.enumerate()):
        time.sleep(0.05)
    assert not [t for t in threading.enumerate() if t.name.startswith("pull")]
    assert threading.active_count() <= threads + 5
    puller.images.abandon(reference)
    assert puller.leftovers() == []


def test_asking_can_be_cancelled_too(registry: FakeRegistry, tmp_path: Path) -> None:
    published(registry)
    registry.fault("manifests/1", lambda request, answer: time.sleep(20) or answer)  # type: ignore[func-returns-value]
    started = time.monotonic()

    def cancel(what: str, done: int, total: int) -> None:
        assert what == "resolve"
        if time.monotonic() - started > 0.5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        Puller(tmp_path, stall=60).images.resolve(name(registry), progress=cancel)
    assert time.monotonic() - started < 1.7


def _host(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def _plain() -> RegistryConfig:
    return RegistryConfig(plain_http=True)
