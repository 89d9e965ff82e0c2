"""Pulls beside one another, killed, given up, and pruned meanwhile; mirrors. Bytes are counted at the registry."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.images.interface import Credentials
from drivers.images.registry.interface import RegistryConfig
from resources.errors import Cancelled, DataLoss, EngineError, NotFound, Unavailable
from tests import fake_registry, registry_faults
from tests.fake_registry import Answer, FakeRegistry, Published, Request
from tests.integration.drivers.images.pulls import Kept, Puller
from tests.unit.drivers.images import tars

MIB = 1 << 20
ROOT = Path(__file__).parents[4]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        yield made


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path)


def large(registry: FakeRegistry, name: str = "team/app:1", size: int = 4 * MIB) -> Published:
    return registry.publish(name, [os.urandom(size) for _ in range(3)])


def sent(registry: FakeRegistry, data: bytes) -> int:
    return sum(
        count for path, count in registry.sent.items() if path.endswith(f"/blobs/{fake_registry.digest_of(data)}")
    )


def test_fifty_want_one_image(registry: FakeRegistry, puller: Puller) -> None:
    image = large(registry, size=MIB)
    ids: list[str] = []
    errors: list[Exception] = []

    def pull() -> None:
        try:
            ids.append(puller.pull(f"{registry.host}/team/app:1").id)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=pull) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert ids == [image.id] * 50
    for blob in registry.blobs.values():
        assert sent(registry, blob) == len(blob)
    assert len(registry.asked("blobs/")) == 4
    assert puller.check_blobs() == 5
    assert puller.leftovers() == []


def test_images_with_the_same_base_fetch_it_once(registry: FakeRegistry, puller: Puller) -> None:
    base = os.urandom(2 * MIB)
    for number in range(8):
        registry.publish(f"team/app{number}:1", [base, b"%d" % number])
    threads = [
        threading.Thread(target=puller.pull, args=(f"{registry.host}/team/app{number}:1",)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sent(registry, base) == len(base)
    assert puller.check_blobs() == 1 + 8 * 3


def test_no_more_at_once_than_set(registry: FakeRegistry, puller: Puller) -> None:
    running = most = 0
    lock = threading.Lock()

    def counted(request: Request, answer: Answer) -> Answer:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.1)
        with lock:
            running -= 1
        return answer

    registry.publish("team/app:1", [b"%d" % number for number in range(12)])
    registry.fault("blobs/", counted, times=99)
    puller.pull(f"{registry.host}/team/app:1")
    assert most == 3


def test_when_the_first_is_cancelled_the_next_goes_on(registry: FakeRegistry, tmp_path: Path) -> None:
    puller = Puller(tmp_path, attempts=20, stall=5)
    image = large(registry)
    registry.fault("blobs/", registry_faults.stall(0.5, 3.0), times=4)
    results: dict[str, object] = {}

    def pull(name: str, patient: bool) -> None:
        started = time.monotonic()

        def progress(what: str, done: int, total: int) -> None:
            if not patient and time.monotonic() - started > 0.3:
                raise Cancelled("enough")

        try:
            results[name] = puller.pull(f"{registry.host}/team/app:1", progress=progress).id
        except EngineError as error:
            results[name] = error

    threads = [threading.Thread(target=pull, args=("first", False)), threading.Thread(target=pull, args=("next", True))]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert isinstance(results["first"], Cancelled)
    assert results["next"] == image.id
    assert puller.check_blobs() == 5
    assert puller.leftovers() == []


KILLED = """
import sys
from pathlib import Path
from tests.integration.drivers.images.pulls import Puller
Puller(Path(sys.argv[1]), stall=30).pull(sys.argv[2])
"""


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_kill_9_and_the_next_goes_on_where_it_stopped(registry: FakeRegistry, tmp_path: Path, part: float) -> None:
    image = large(registry)
    reference = f"{registry.host}/team/app:1"
    for layer in image.layers:
        registry.fault(fake_registry.digest_of(layer), registry_faults.stall(part, 60))
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), reference], cwd=ROOT)
    expected = sum(int(len(layer) * part) for layer in image.layers)
    folder = tmp_path / "content" / "ingest"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(OSError):
            if sum((folder / name).stat().st_size for name in os.listdir(folder)) >= expected:
                break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    registry._scripts.clear()
    before = {layer: sent(registry, layer) for layer in image.layers}
    # What the next engine does at its start: nothing of it may cost the pull what it has.
    puller = Puller(tmp_path)
    puller.images.cleanup()
    puller.images.prune([])
    assert puller.partials() == expected
    assert puller.images.content().info(image.id) is None
    assert puller.pull(reference).id == image.id
    for layer in image.layers:
        assert sent(registry, layer) - before[layer] == len(layer) - int(len(layer) * part)
    assert puller.check_blobs() == 5
    assert puller.leftovers() == []


def test_kill_9_at_any_time(registry: FakeRegistry, tmp_path: Path) -> None:
    image = large(registry, size=MIB)
    reference = f"{registry.host}/team/app:1"
    for delay in (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7):
        registry.fault("blobs/", registry_faults.stall(0.6, 0.05), times=4)
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), reference], cwd=ROOT)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        puller = Puller(tmp_path)
        puller.images.cleanup()
        puller.images.prune([])
        puller.check_blobs()
    registry._scripts.clear()
    puller = Puller(tmp_path)
    assert puller.pull(reference).id == image.id
    puller.images.prune([])
    assert puller.check_blobs() == 0
    assert puller.leftovers() == []


def test_an_unfinished_pull_is_not_pruned_until_it_is_abandoned(registry: FakeRegistry, puller: Puller) -> None:
    image = large(registry, size=MIB)
    reference = f"{registry.host}/team/app:1"
    last = fake_registry.digest_of(image.layers[2])
    registry.fault(last, registry_faults.cut(0.25), times=99)
    with pytest.raises(Unavailable):
        puller.pull(reference)
    whole = puller.check_blobs()
    partial = puller.partials()
    assert whole >= 1
    assert partial > 0
    puller.images.prune([])
    assert (puller.check_blobs(), puller.partials()) == (whole, partial)
    puller.images.abandon("docker.io/library/other:1")
    assert puller.partials() == partial
    puller.images.abandon(reference)
    assert puller.leftovers() == []
    assert puller.images.prune([]) > 0
    assert puller.check_blobs() == 0


def test_prune_does_not_wait_for_a_pull_and_takes_nothing_from_it(registry: FakeRegistry, tmp_path: Path) -> None:
    puller = Puller(tmp_path, attempts=20)
    image = large(registry, size=MIB)
    garbage = registry.publish("team/garbage:1", [b"garbage"])
    puller.pull(f"{registry.host}/team/garbage:1")
    registry.fault("blobs/", registry_faults.stall(0.5, 0.3), times=4)
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(puller.pull(f"{registry.host}/team/app:1").id))
    thread.start()
    pruned = 0
    while thread.is_alive() and puller.images.content().info(image.id) is None:
        # A pull keeps it away for as long as it takes to write down what it wants.
        with suppress(Unavailable):
            puller.images.prune([])
            pruned += 1
    thread.join()
    assert pruned > 2
    assert puller.images.content().info(garbage.id) is None
    assert done == [image.id]


def test_what_a_pull_that_failed_left_is_gone_after_a_day(registry: FakeRegistry, puller: Puller) -> None:
    large(registry, size=MIB)
    registry.fault("blobs/", registry_faults.cut(0.25), times=99)
    with pytest.raises(Unavailable):
        puller.pull(f"{registry.host}/team/app:1")
    assert puller.leftovers()
    for folder in ("ingest", "leases"):
        for name in os.listdir(puller.base / "content" / folder):
            os.utime(puller.base / "content" / folder / name, (time.time() - 90_000,) * 2)
    Puller(puller.base).images.cleanup()
    puller.images.prune([])
    assert puller.leftovers() == []
    assert puller.check_blobs() == 0


def test_an_import_takes_nothing_from_a_pull(registry: FakeRegistry, puller: Puller, tmp_path: Path) -> None:
    """At its end an import deletes what came in meanwhile and is not its own: there a pull came in between."""
    archive = tars.written(tmp_path / "a.tar", tars.oci_archive([tars.entry("x") + tars.END]))
    image = registry.publish("team/app:1", [b"one", b"two"])
    pulled: list[str] = []

    def pull(what: str, done: int, total: int) -> None:
        if not pulled:
            pulled.append(puller.pull(f"{registry.host}/team/app:1").id)

    puller.images.import_archive(archive, platform="linux/amd64", progress=pull)
    assert pulled == [image.id]
    assert puller.images.image(image.id) is not None


def test_connections_end_with_their_pull(registry: FakeRegistry, puller: Puller) -> None:
    large(registry, size=1000)
    registry.fault("blobs/", registry_faults.cut(0.5), times=3)
    reference = f"{registry.host}/team/app:1"
    puller.pull(reference)
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for number in range(20):
        puller.images.prune([])
        if number % 2:
            registry.fault("blobs/", registry_faults.raw(b"x"), times=9)
            with suppress(Unavailable):
                puller.pull(reference)
            registry._scripts.clear()
        puller.pull(reference)
        puller.images.resolve(reference)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        now = len(os.listdir("/proc/self/fd")), threading.active_count()
        if now[0] <= before[0] + 2 and now[1] <= before[1] + 2:
            break
        time.sleep(0.1)
    assert now[0] <= before[0] + 2
    assert now[1] <= before[1] + 2


class TestMirrors:
    @pytest.fixture
    def mirror(self) -> Iterator[FakeRegistry]:
        with FakeRegistry() as made:
            yield made

    def puller(self, folder: Path, registry: FakeRegistry, *mirrors: FakeRegistry) -> Puller:
        return Puller(folder, {registry.host: RegistryConfig(mirrors=tuple(mirror.host for mirror in mirrors))})

    def both(self, *registries: FakeRegistry) -> Published:
        layers = [os.urandom(50_000), os.urandom(50_000)]
        made = [registry.publish("team/app:1", layers) for registry in registries]
        return made[0]

    def test_a_mirror_is_asked_first(self, registry: FakeRegistry, mirror: FakeRegistry, tmp_path: Path) -> None:
        image = self.both(registry, mirror)
        puller = self.puller(tmp_path, registry, mirror)
        assert puller.pull(f"{registry.host}/team/app:1").id == image.id
        assert puller.images.resolve(f"{registry.host}/team/app:1").digest == image.id
        assert registry.requests == []

    @pytest.mark.parametrize(
        ("pattern", "fault"),
        [
            ("", registry_faults.status(500)),
            ("", registry_faults.status(404)),
            ("", registry_faults.status(401, {"WWW-Authenticate": "Basic"})),
            ("", registry_faults.raw(b"")),
            ("manifests/", registry_faults.body(lambda data: data + b"x")),
            ("blobs/", registry_faults.body(lambda data: data[:-1] + b"x")),
            ("blobs/", registry_faults.cut(0.5)),
            ("blobs/", registry_faults.status(404)),
            ("blobs/", registry_faults.redirect("file:///etc/passwd")),
        ],
    )
    def test_what_is_wrong_there_is_had_from_the_registry(
        self, registry: FakeRegistry, mirror: FakeRegistry, tmp_path: Path, pattern: str, fault: fake_registry.Fault
    ) -> None:
        image = self.both(registry, mirror)
        mirror.fault(pattern, fault, times=999)
        puller = self.puller(tmp_path, registry, mirror)
        assert puller.pull(f"{registry.host}/team/app:1").id == image.id
        assert puller.check_blobs() == 4
        assert registry.requests

    def test_one_that_does_not_answer_is_not_waited_for_again(self, registry: FakeRegistry, tmp_path: Path) -> None:
        with FakeRegistry() as mirror:
            for one in (registry, mirror):
                one.publish("team/app:1", [b"%d" % number for number in range(10)])
            mirror.fault("", registry_faults.stall(0, 2), times=999)
            puller = Puller(tmp_path, {registry.host: RegistryConfig(mirrors=(mirror.host,))}, attempts=5)
            started = time.monotonic()
            puller.pull(f"{registry.host}/team/app:1")
            assert time.monotonic() - started < 3
            assert len(mirror.requests) == 2

    def test_the_errors_told_are_those_of_the_registry(
        self, registry: FakeRegistry, mirror: FakeRegistry, tmp_path: Path
    ) -> None:
        mirror.fault("", registry_faults.status(500), times=999)
        puller = self.puller(tmp_path, registry, mirror)
        with pytest.raises(NotFound, match=registry.host):
            puller.pull(f"{registry.host}/team/app:1")
        self.both(registry, mirror)
        for one in (registry, mirror):
            one._scripts.clear()
            one.fault("blobs/", registry_faults.body(lambda data: data[:-1] + b"x"), times=999)
        with pytest.raises(DataLoss):
            puller.pull(f"{registry.host}/team/app:1")

    def test_what_a_mirror_began_the_registry_goes_on_with(
        self, registry: FakeRegistry, mirror: FakeRegistry, tmp_path: Path
    ) -> None:
        layer = os.urandom(100_000)
        for one in (registry, mirror):
            one.publish("team/app:1", [layer])
        digest = fake_registry.digest_of(layer)
        mirror.fault(digest, registry_faults.cut(0.6))
        mirror.fault(digest, registry_faults.status(500), times=99)
        self.puller(tmp_path, registry, mirror).pull(f"{registry.host}/team/app:1")
        assert sent(registry, layer) == 40_000

    def test_credentials_of_the_registry_are_not_the_mirrors(self, mirror: FakeRegistry, tmp_path: Path) -> None:
        with FakeRegistry(users={"me": "hunter2"}) as registry:
            self.both(registry, mirror)
            mirror.users = {"other": "word"}
            config = {registry.host: RegistryConfig(mirrors=(mirror.host,))}
            given = Credentials("me", "hunter2")
            Puller(tmp_path / "a", config).pull(f"{registry.host}/team/app:1", credentials=given)
            assert all("authorization" not in one.headers for one in mirror.requests)
            kept = Kept({mirror.host: Credentials("other", "word")})
            registry.requests.clear()
            Puller(tmp_path / "b", config, kept).pull(f"{registry.host}/team/app:1", credentials=given)
            assert registry.requests == []
