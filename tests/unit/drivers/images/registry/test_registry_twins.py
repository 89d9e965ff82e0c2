"""Pulls of the driver and of its in-memory twin, seen through the contract alone."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from drivers.images.digest import of_bytes
from drivers.images.fake import FakeImages
from drivers.images.interface import Credentials, Images
from drivers.images.registry.client import RegistryClient
from drivers.images.registry.interface import Patience
from drivers.images.store import ImageDriver
from drivers.snapshots.fake import FakeSnapshotter
from resources.errors import Cancelled, InvalidArgument, NotFound, PermissionDenied, Unavailable
from tests import registry_faults
from tests.fake_registry import FakeRegistry

ME = Credentials("me", "hunter2")


class World(Protocol):
    images: Images
    domain: str

    def publish(self, name: str, layers: Sequence[bytes], platforms: Sequence[str] = ("linux/amd64",)) -> str:
        """Return the digest of what the tag points at."""

    def fail(self) -> None: ...

    def close_to_strangers(self, name: str) -> None: ...


class Real:
    def __init__(self, folder: Path) -> None:
        self.registry = FakeRegistry()
        self.domain = self.registry.host
        client = RegistryClient(patience=Patience(attempts=1, stall=2))
        self.images: Images = ImageDriver(folder / "content", FakeSnapshotter(folder / "s"), registries=client)

    def publish(self, name: str, layers: Sequence[bytes], platforms: Sequence[str] = ("linux/amd64",)) -> str:
        return self.registry.publish(name, layers, platforms=platforms).target

    def fail(self) -> None:
        self.registry.fault("", registry_faults.status(503), times=99)

    def close_to_strangers(self, name: str) -> None:
        self.registry.users = {"me": "hunter2"}


class Twin:
    def __init__(self, folder: Path) -> None:
        self.domain = "registry.example"
        self.twin = FakeImages(FakeSnapshotter(folder / "s"))
        self.images: Images = self.twin
        self._layers: dict[str, Sequence[bytes]] = {}

    def publish(self, name: str, layers: Sequence[bytes], platforms: Sequence[str] = ("linux/amd64",)) -> str:
        self._layers[name] = layers
        return self.twin.publish(f"{self.domain}/{name}", layers=layers, platforms=platforms).digest

    def fail(self) -> None:
        self.twin.registry_fails(Unavailable("the registry has trouble"))

    def close_to_strangers(self, name: str) -> None:
        self.twin.publish(f"{self.domain}/{name}", layers=self._layers[name], credentials=ME)


@pytest.fixture(params=[Real, Twin])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    make: Callable[[Path], World] = request.param
    made = make(tmp_path)
    yield made
    if isinstance(made, Real):
        made.registry.__exit__()


def test_a_life(world: World) -> None:
    target = world.publish("team/app:1", [b"one", b"two"])
    reference = f"{world.domain}/team/app:1"
    told: list[str] = []
    image = world.images.pull(reference, platform="linux/amd64", progress=lambda what, *_: told.append(what))
    assert told[0] == "resolve"
    assert set(told) == {"resolve", of_bytes(b"one"), of_bytes(b"two")}
    assert (image.id, image.resolved) == (target, target)
    assert world.images.image(image.id) == image
    assert world.images.names().list() == []
    told.clear()
    assert world.images.resolve(reference, progress=lambda what, *_: told.append(what)).digest == target
    assert set(told) == {"resolve"}
    told.clear()
    assert world.images.pull(reference, platform="linux/amd64", progress=lambda what, *_: told.append(what)) == image
    assert set(told) == {"resolve"}
    moved = world.publish("team/app:1", [b"one", b"three"])
    assert world.images.resolve(reference).digest == moved != target
    assert world.images.resolve(f"{world.domain}/team/app@{target}").digest == target
    assert world.images.pull(reference, platform="linux/amd64").id == moved
    assert world.images.prune([moved]) > 0
    assert world.images.image(target) is None
    assert world.images.pull(f"{world.domain}/team/app:1@{target}", platform="linux/amd64").id == target
    world.images.abandon(reference)
    assert world.images.prune([]) > 0
    assert list(world.images.content().walk()) == []


def test_platforms(world: World) -> None:
    target = world.publish("team/app:1", [b"one"], ["linux/amd64", "linux/arm64"])
    reference = f"{world.domain}/team/app:1"
    assert world.images.resolve(reference).digest == target
    arm = world.images.pull(reference, platform="linux/arm64/v8")
    intel = world.images.pull(reference, platform="linux/amd64")
    assert (arm.platform, intel.platform) == ("linux/arm64", "linux/amd64")
    assert {arm.resolved, intel.resolved} == {target}
    assert len({arm.id, intel.id, target}) == 3
    with pytest.raises(InvalidArgument, match="linux/amd64, linux/arm64"):
        world.images.pull(reference, platform="linux/s390x")
    by_digest = world.images.pull(f"{world.domain}/team/app@{arm.id}", platform="linux/arm64")
    assert (by_digest.id, by_digest.resolved) == (arm.id, arm.id)


def test_what_is_here_needs_no_registry(world: World) -> None:
    world.publish("team/app:1", [b"one"])
    reference = f"{world.domain}/team/app:1"
    image = world.images.pull(reference, platform="linux/amd64")
    world.fail()
    assert world.images.pull(f"{world.domain}/team/app@{image.id}", platform="linux/amd64") == image
    with pytest.raises(Unavailable):
        world.images.pull(reference, platform="linux/amd64")
    with pytest.raises(Unavailable):
        world.images.resolve(reference)


def test_refusals(world: World) -> None:
    world.publish("team/app:1", [b"one"])
    reference = f"{world.domain}/team/app:1"
    for missing in ("team/app:2", "team/none:1", f"team/app@{of_bytes(b'absent')}"):
        with pytest.raises(NotFound):
            world.images.pull(f"{world.domain}/{missing}", platform="linux/amd64")
        with pytest.raises(NotFound):
            world.images.resolve(f"{world.domain}/{missing}")
    for malformed in ("", "A/b:c:d", "a/../b"):
        with pytest.raises(InvalidArgument):
            world.images.pull(malformed, platform="linux/amd64")
        with pytest.raises(InvalidArgument):
            world.images.resolve(malformed)
    with pytest.raises(InvalidArgument):
        world.images.pull(reference, platform="linux")

    def cancel(what: str, done: int, total: int) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        world.images.pull(reference, platform="linux/amd64", progress=cancel)
    assert list(world.images.content().walk()) == []
    world.images.abandon(reference)
    world.images.abandon(f"{world.domain}/never:1")


def test_logins(world: World) -> None:
    world.publish("team/app:1", [b"one"])
    world.close_to_strangers("team/app:1")
    reference = f"{world.domain}/team/app:1"
    for credentials in (None, Credentials("me", "wrong")):
        with pytest.raises(PermissionDenied, match=f"lading login {world.domain}"):
            world.images.pull(reference, platform="linux/amd64", credentials=credentials)
        with pytest.raises(PermissionDenied):
            world.images.resolve(reference, credentials=credentials)
    assert world.images.pull(reference, platform="linux/amd64", credentials=ME).layers


def test_a_login_that_is_refused_is_told_with_where_it_is_changed(world: World) -> None:
    world.publish("team/app:1", [b"one"])
    world.close_to_strangers("team/app:1")
    reference = f"{world.domain}/team/app:1"
    for source, said in (
        ("", f"(`lading login {world.domain}` anew)"),
        ("secret/hub", "of secret/hub (check secret/hub)"),
    ):
        with pytest.raises(PermissionDenied) as refused:
            world.images.pull(reference, platform="linux/amd64", credentials=Credentials("me", "wrong", source=source))
        assert str(refused.value) == f"{world.domain} refuses the login {said}"
    of_a_secret = Credentials("me", "hunter2", source="secret/hub")
    assert world.images.pull(reference, platform="linux/amd64", credentials=of_a_secret).layers


def test_what_a_login_may_not_read_is_no_login_refused(tmp_path: Path) -> None:
    real = Real(tmp_path)
    with real.registry:
        real.publish("team/app:1", [b"one"])
        real.close_to_strangers("team/app:1")
        real.registry.fault("manifests/1", registry_faults.status(403), times=9)
        for source, hint in (("", f"`lading login {real.domain}` as another"), ("secret/hub", "into secret/hub")):
            login = Credentials("me", "hunter2", source=source)
            with pytest.raises(PermissionDenied, match="may not read it") as refused:
                real.images.pull(f"{real.domain}/team/app:1", platform="linux/amd64", credentials=login)
            assert hint in refused.value.hint
            assert (source or "the login") in refused.value.message


def test_the_twin_counts() -> None:
    twin = FakeImages()
    twin.publish("docker.io/library/x:1", layers=[b"a", b"b"])
    twin.pull("docker.io/library/x:1", platform="linux/amd64")
    twin.pull("docker.io/library/x:1", platform="linux/amd64")
    twin.resolve("docker.io/library/x:1")
    twin.abandon("docker.io/library/x:1")
    assert (twin.pulls, twin.resolves, twin.fetches) == (2, 1, 4)
    assert twin.abandoned == ["docker.io/library/x:1"]
    twin.registry_fails(NotFound("gone"))
    with pytest.raises(NotFound, match="gone"):
        twin.resolve("docker.io/library/x:1")
    twin.registry_fails(None)
    twin.unpublish("docker.io/library/x:1")
    with pytest.raises(NotFound, match="no image"):
        twin.resolve("docker.io/library/x:1")
