"""Against a registry that others wrote, filled by a tool that others wrote."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from drivers.images.interface import Credentials
from drivers.images.registry.credentials import DockerCredentials
from drivers.images.registry.interface import RegistryConfig
from resources.errors import Cancelled, InvalidArgument, NotFound, PermissionDenied, Unavailable
from tests.certificates import Authority
from tests.fake_registry import INDEX, MANIFEST, digest_of
from tests.integration.drivers.images.pulls import Puller
from tests.registries import USER, Registry, TokenServer

pytestmark = pytest.mark.host


@pytest.fixture
def authority(short_path: Path) -> Authority:
    return Authority(short_path / "authority")


@pytest.fixture
def plain(short_path: Path) -> Iterator[Registry]:
    with Registry(short_path) as registry:
        yield registry


def test_an_image_is_what_was_pushed(plain: Registry, images: Path, short_path: Path) -> None:
    digest = plain.push(images / "busybox.tar", "team/busybox:1")
    puller = Puller(short_path / "p")
    reference = f"{plain.host}/team/busybox:1"
    assert puller.images.resolve(reference).digest == digest
    image = puller.pull(reference)
    assert (image.id, image.resolved) == (digest, digest)
    [imported] = puller.images.import_archive(images / "busybox.tar", platform="linux/amd64")
    assert imported == image
    with pytest.raises(NotFound, match="no such image"):
        puller.pull(f"{plain.host}/team/busybox:2")
    # This registry knows a repository only by its content, and says the same of both.
    with pytest.raises(NotFound):
        puller.pull(f"{plain.host}/team/none:1")
    with pytest.raises(NotFound):
        puller.pull(f"{plain.host}/team/busybox@{digest_of(b'absent')}")


def test_dockers_own_formats(plain: Registry, images: Path, short_path: Path) -> None:
    digest = plain.push(images / "busybox.tar", "team/busybox:2", "--format=v2s2")
    puller = Puller(short_path / "p")
    image = puller.pull(f"{plain.host}/team/busybox:2")
    assert image.id == digest
    assert image.manifest.media_type == "application/vnd.docker.distribution.manifest.v2+json"
    assert puller.images.resolve(f"{plain.host}/team/busybox:2") == image.manifest


def test_an_index_of_platforms(plain: Registry, images: Path, short_path: Path) -> None:
    digest = plain.push(images / "busybox.tar", "team/busybox:1")
    http = urllib3.PoolManager()
    base = f"{plain.url}/v2/team/busybox/manifests"
    size = len(http.request("GET", f"{base}/1", headers={"Accept": MANIFEST}).data)
    entry = {"mediaType": MANIFEST, "digest": digest, "size": size}
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{**entry, "platform": {"os": "linux", "architecture": one}} for one in ("s390x", "amd64")],
    }
    raw = json.dumps(index).encode()
    assert http.request("PUT", f"{base}/all", body=raw, headers={"Content-Type": INDEX}).status == 201
    puller = Puller(short_path / "p")
    image = puller.pull(f"{plain.host}/team/busybox:all")
    assert (image.id, image.resolved) == (digest, digest_of(raw))
    assert puller.images.resolve(f"{plain.host}/team/busybox:all").digest == digest_of(raw)
    assert puller.pull(f"{plain.host}/team/busybox@{digest_of(raw)}").id == digest
    with pytest.raises(InvalidArgument, match="linux/amd64, linux/s390x"):
        puller.pull(f"{plain.host}/team/busybox:all", platform="linux/arm64")


def test_a_pull_goes_on_where_it_was_cancelled(plain: Registry, images: Path, short_path: Path) -> None:
    digest = plain.push(images / "postgres.tar", "team/postgres:1")
    puller = Puller(short_path / "p", stall=30)
    reference = f"{plain.host}/team/postgres:1"

    def cancel(what: str, done: int, total: int) -> None:
        if puller.partials() > 8 << 20:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        puller.pull(reference, progress=cancel)
    there = puller.partials()
    assert there > 8 << 20
    told: list[int] = []
    image = puller.pull(reference, progress=lambda what, done, total: told.append(done) if total else None)
    assert image.id == digest
    assert puller.check_blobs() == 4
    assert puller.leftovers() == []


def test_a_registry_that_dies_and_comes_back(plain: Registry, images: Path, short_path: Path) -> None:
    digest = plain.push(images / "redis.tar", "team/redis:1")
    puller = Puller(short_path / "p", stall=10, attempts=50, deadline=60)
    stopped = 0.0

    def restart(what: str, done: int, total: int) -> None:
        nonlocal stopped
        if total and not stopped:
            stopped = time.monotonic()
            plain.stop()
            plain.start()

    image = puller.pull(f"{plain.host}/team/redis:1", progress=restart)
    assert image.id == digest
    assert stopped
    puller.check_blobs()


def test_a_login_by_name_and_password(authority: Authority, images: Path, short_path: Path) -> None:
    with Registry(short_path, tls=authority.issue("127.0.0.1"), users=True) as registry:
        registry.push(images / "busybox.tar", "team/busybox:1")
        reference = f"{registry.host}/team/busybox:1"
        configs = {registry.host: RegistryConfig(ca=authority.pem)}
        kept = DockerCredentials([short_path / "auth.json"])
        puller = Puller(short_path / "p", configs, kept)
        with pytest.raises(PermissionDenied, match=f"lading login {registry.host}"):
            puller.pull(reference)
        with pytest.raises(PermissionDenied):
            puller.client.check(registry.host, Credentials(USER.username, "wrong"))
        puller.client.check(registry.host, USER)
        kept.put(registry.host, USER)
        assert puller.pull(reference).layers
        with pytest.raises(PermissionDenied):
            puller.pull(reference, credentials=Credentials(USER.username, "wrong"))
        with pytest.raises(Unavailable, match="does not hold"):
            Puller(short_path / "q", credentials=kept).pull(reference)


def test_a_login_by_tokens(authority: Authority, images: Path, short_path: Path) -> None:
    with TokenServer(authority) as tokens:
        with Registry(short_path, tls=authority.issue("127.0.0.1"), tokens=tokens) as registry:
            # The token server is on the registry's host and trusted by the same authority.
            puller = Puller(short_path / "p", {registry.host: RegistryConfig(ca=authority.pem)})
            registry.push(images / "busybox.tar", "team/busybox:1")
            reference = f"{registry.host}/team/busybox:1"
            tokens.asked.clear()
            assert puller.pull(reference, credentials=USER).layers
            assert [one["scope"] for one in tokens.asked] == ["repository:team/busybox:pull"]
            puller.client.check(registry.host, USER)
            puller.images.prune([])
            tokens.identity_tokens.add("identity-of-tester")
            assert puller.pull(reference, credentials=Credentials(identity_token="identity-of-tester")).layers
            with pytest.raises(PermissionDenied, match="refuses the login"):
                puller.pull(reference, credentials=Credentials(USER.username, "wrong"))
            with pytest.raises(PermissionDenied, match="without a login"):
                puller.pull(reference)
            tokens.allowed = {"push"}
            with pytest.raises(PermissionDenied, match="may not read it"):
                Puller(short_path / "q", {registry.host: RegistryConfig(ca=authority.pem)}).pull(
                    reference, credentials=USER
                )


def test_how_long_a_large_image_takes(plain: Registry, images: Path, short_path: Path) -> None:
    plain.push(images / "postgres.tar", "team/postgres:1")
    puller = Puller(short_path / "p", stall=30)
    started = time.monotonic()
    image = puller.pull(f"{plain.host}/team/postgres:1")
    seconds = time.monotonic() - started
    print(f"{image.size / 1e6:.0f} MB pulled and verified in {seconds:.2f} s: {image.size / 1e6 / seconds:.0f} MB/s")
    assert image.size > 100e6
    # A quarter of what gigabit Ethernet carries, on a machine that does other things too.
    assert image.size / seconds > 30e6
    assert os.listdir(short_path / "p" / "content" / "ingest") == []
