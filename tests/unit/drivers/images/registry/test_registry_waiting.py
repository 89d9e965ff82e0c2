"""When it is asked again: Retry-After, delays that grow, bounds on both; and kinds of documents."""

import json
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from drivers.images.manifest import OCI_INDEX, OCI_MANIFEST
from drivers.images.registry.attempts import Attempts, HeldBack
from drivers.images.registry.documents import media_type_of
from drivers.images.registry.interface import Patience
from drivers.images.registry.refusal import asked_to_wait
from drivers.images.registry.stop import Stop
from drivers.images.registry.trouble import Passing
from resources.errors import Cancelled, InvalidArgument, Unsupported

NOW = 1_700_000_000.0


class Waits(Stop):
    """Notes the delays instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []

    def wait(self, seconds: float) -> None:
        self.delays.append(seconds)
        self.check()


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        (date(90), 90),
        (date(-90), 0),
        ("999999999", 30 * 86_400),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 50, None),
        ("Mon, 99 Xyz 9999 99:99:99 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30 * 86_400),
    ],
)
def test_how_long_a_registry_asks_to_wait(text: str, seconds: float | None) -> None:
    assert asked_to_wait({"Retry-After": text}, NOW) == seconds


def test_delays_grow_up_to_a_bound_and_end() -> None:
    stop = Waits()
    attempts = Attempts(Patience(attempts=7, first_delay=1, longest_delay=5, deadline=100), stop)
    with pytest.raises(Passing, match="again"):
        attempts.run(lambda: (_ for _ in ()).throw(Passing("again")))
    assert len(stop.delays) == 6
    for delay, full in zip(stop.delays, (1, 2, 4, 5, 5, 5), strict=True):
        assert full / 2 <= delay <= full


@pytest.mark.parametrize("after", [3.0, 40.0])
def test_what_the_registry_asks_for_is_waited_for(after: float) -> None:
    stop = Waits()
    attempts = Attempts(Patience(deadline=100), stop)
    attempts.again(Passing("busy", after=after))
    assert after <= stop.delays[0] <= after * 1.1


def test_but_not_beyond_the_deadline() -> None:
    stop = Waits()
    attempts = Attempts(Patience(deadline=100), stop)
    attempts.again(Passing("busy", after=60))
    with pytest.raises(Passing, match="busy"):
        attempts.again(Passing("busy", after=60))
    assert len(stop.delays) == 1
    with pytest.raises(Passing):
        Attempts(Patience(deadline=100), stop).again(Passing("busy", after=101))


def test_what_brings_it_further_counts_anew() -> None:
    attempts = Attempts(Patience(attempts=2), Waits())
    for _ in range(20):
        attempts.again(Passing("again"))
        attempts.advanced()
    attempts.again(Passing("again"))
    with pytest.raises(Passing):
        attempts.again(Passing("again"))


def test_a_stop_ends_every_wait() -> None:
    stop = Stop()
    stop.set()
    started = time.monotonic()
    for wait in (lambda: stop.wait(60), lambda: Attempts(Patience(), stop).again(Passing("x", after=60))):
        with pytest.raises(Cancelled):
            wait()
    assert time.monotonic() - started < 1


def test_a_registry_is_left_alone_as_long_as_it_asks() -> None:
    held = HeldBack()
    held.hold("a", 0.2)
    held.hold("a", 0.1)
    assert 0.1 < held.left("a") <= 0.2
    assert held.left("b") == 0
    time.sleep(0.25)
    assert held.left("a") == 0
    held.hold("days", 30 * 86_400)
    assert held.left("days") <= 3600, "one that means it is asked once an hour"
    for number in range(1000):
        held.hold(str(number), 60)
    assert held.left("999") == 0


MANIFEST = {"schemaVersion": 2, "layers": [], "config": {}}


@pytest.mark.parametrize(
    ("document", "header", "kind"),
    [
        ({**MANIFEST, "mediaType": OCI_MANIFEST}, OCI_MANIFEST, OCI_MANIFEST),
        ({**MANIFEST, "mediaType": OCI_MANIFEST}, "application/json", OCI_MANIFEST),
        (MANIFEST, OCI_MANIFEST + "; charset=utf-8", OCI_MANIFEST),
        (MANIFEST, "", OCI_MANIFEST),
        ({"schemaVersion": 2, "manifests": []}, "text/plain", OCI_INDEX),
        ({"schemaVersion": 2, "manifests": []}, OCI_INDEX, OCI_INDEX),
    ],
)
def test_kinds_of_documents(document: object, header: str, kind: str) -> None:
    assert media_type_of(json.dumps(document).encode(), header, "it", 1000) == kind


@pytest.mark.parametrize(
    ("document", "header", "error"),
    [
        ({**MANIFEST, "mediaType": OCI_MANIFEST}, OCI_INDEX, InvalidArgument),
        ({**MANIFEST, "mediaType": OCI_INDEX}, OCI_MANIFEST, InvalidArgument),
        ({**MANIFEST, "mediaType": 5}, OCI_MANIFEST, InvalidArgument),
        ({**MANIFEST, "mediaType": "application/x"}, "", InvalidArgument),
        (MANIFEST, "text/html", InvalidArgument),
        ([], OCI_MANIFEST, InvalidArgument),
        ({"schemaVersion": 1, "fsLayers": []}, "application/json", Unsupported),
        ({"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws", Unsupported),
        ({**MANIFEST, "fsLayers": []}, OCI_MANIFEST, Unsupported),
    ],
)
def test_documents_that_are_refused(document: object, header: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="it"):
        media_type_of(json.dumps(document).encode(), header, "it", 1000)
