"""The verbs of images on a real engine: registries, archives that others read, names, logins."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines import Engine
from tests.fake_registry import FakeRegistry
from tests.integration.command.client import container, document
from tests.integration.command.outside import until
from tests.registry_faults import stall, trickle
from tests.unit.drivers.images import tars

pytestmark = pytest.mark.host


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    before = threading.active_count()
    with FakeRegistry() as made:
        yield made
    until(lambda: threading.active_count() <= before, what="whom it kept waiting has gone")


@pytest.fixture
def lading(engine: Callable[..., Engine]) -> Iterator[Engine]:
    """An engine that keeps no image at the end."""
    made = engine()
    yield made
    made("image", "prune", "-a")
    assert made("image", "ls", "-a").stdout == ""


def layer(size: int, name: str = "data") -> bytes:
    return tars.entry(name, os.urandom(size)) + tars.END


def listed(engine: Engine, *flags: str) -> dict[str, Any]:
    return {one["names"][0] if one["names"] else "": one for one in engine.json("image", "ls", *flags)}


def skopeo(*command: str | Path) -> dict[str, Any]:
    answer = subprocess.run(["skopeo", *map(str, command)], check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(answer) if answer.startswith("{") else {}
    return found


def test_what_is_pulled_is_saved_for_others_and_loaded_again(
    lading: Engine, registry: FakeRegistry, engine: Callable[..., Engine], tmp_path: Path
) -> None:
    published = registry.publish("shop:1", [layer(3_000_000), layer(5)], config={"Env": ["A=b"], "Cmd": ["serve"]})
    name = f"{registry.host}/shop:1"
    said = lading("image", "pull", name).stdout.splitlines()
    complete = {line.rpartition(" complete,")[0][-12:] for line in said if " complete," in line}
    assert complete == {_digest(one)[7:19] for one in published.layers}
    before = listed(lading)[name]
    assert (before["digest"], before["platform"]) == (published.id, "linux/amd64")
    lading("image", "tag", name, "mine:2")

    docker, oci = tmp_path / "docker.tar", tmp_path / "oci.tar"
    lading("image", "save", name, "mine:2", "-o", docker)
    with oci.open("wb") as file:
        subprocess.run([*lading.command, "image", "save", "--format", "oci", name], stdout=file, check=True)
    assert docker.stat().st_mode & 0o777 == 0o600
    for source in (f"docker-archive:{docker}:{name}", f"docker-archive:{docker}:docker.io/library/mine:2"):
        found = skopeo("inspect", "--config", source)
        assert found["config"]["Env"] == ["A=b"]
    assert skopeo("inspect", f"oci-archive:{oci}:{name}")["Digest"] == published.id
    skopeo("copy", "-q", f"docker-archive:{docker}:{name}", f"dir:{tmp_path / 'copied'}")

    other = engine()
    try:
        for path in (docker, oci):
            other("image", "load", "-i", path)
            again = listed(other)[name]
            assert {**again, "names": []} == {**before, "names": []}
            other("image", "rm", again["id"][7:19])
        with docker.open("rb") as file:
            subprocess.run([*other.command, "image", "load"], stdin=file, check=True, capture_output=True)
        assert listed(other)[name]["names"] == [name, "docker.io/library/mine:2"]
    finally:
        other("image", "prune", "-a")


def test_archives_of_skopeo_are_loaded(lading: Engine, registry: FakeRegistry, tmp_path: Path) -> None:
    registry.publish("shop:1", [layer(1000)])
    source = f"docker://{registry.host}/shop:1"
    for form, name in (("docker-archive", "docker.io/library/a:1"), ("oci-archive", "docker.io/library/b:1")):
        path = tmp_path / form
        skopeo("copy", "-q", "--src-tls-verify=false", source, f"{form}:{path}:{name}")
        lading("image", "load", "-i", path)
        assert name in listed(lading)
    ids = {one["id"] for one in listed(lading).values()}
    assert len(ids) == 1


def test_a_pull_that_is_interrupted_goes_on_where_it_was(lading: Engine, registry: FakeRegistry) -> None:
    published = registry.publish("shop:1", [layer(8_000_000)])
    name = f"{registry.host}/shop:1"
    lading("image", "ls")
    registry.fault(r"GET .*/blobs/" + _digest(published.layers[0]), stall(0.5, 6))
    client = subprocess.Popen([*lading.command, "image", "pull", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ingest = lading.root / "images" / "ingest"
    until(lambda: any(path.stat().st_size >= 3_900_000 for path in ingest.glob("**/*")), what="half of it is here")
    client.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, errors = client.communicate(timeout=20)
    assert client.returncode == 130, errors
    assert time.monotonic() - begun < 3
    assert listed(lading) == {}
    lading("image", "prune")
    registry.requests.clear()
    lading("image", "pull", "-q", name)
    [request] = registry.asked(r"GET .*/blobs/" + _digest(published.layers[0]))
    assert int(request.headers["range"].removeprefix("bytes=").rstrip("-")) >= 3_900_000
    assert listed(lading)[name]["digest"] == published.id


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def test_a_slow_pull_says_how_it_gets_on_and_does_not_flood(lading: Engine, registry: FakeRegistry) -> None:
    published = registry.publish("shop:1", [layer(4_000), layer(400)])
    registry.fault(r"GET .*/blobs/" + _digest(published.layers[0]), trickle(0.001))
    lines = [
        json.loads(line)
        for line in lading("image", "pull", f"{registry.host}/shop:1", "-o", "json").stdout.splitlines()
    ]
    assert lines[-1]["event"] == "pulled"
    of_slow = [line for line in lines if line.get("what") == _digest(published.layers[0])]
    assert 2 <= len(of_slow) <= 20
    assert of_slow[-1]["done"] == of_slow[-1]["total"] == len(published.layers[0])


def test_what_an_object_asks_for_stays(lading: Engine, registry: FakeRegistry, images: Path) -> None:
    layers, config = busybox(images)
    registry.publish("shop:1", layers, config=config)
    name = f"{registry.host}/shop:1"
    web = container("web", image=name)
    lading("apply", "-f", "-", stdin=json.dumps(web))
    assert [one["name"] for one in listed(lading)[name]["usedBy"]] == ["web"]
    refused = lading("image", "rm", name, check=False)
    assert refused.returncode == 1
    assert "is the image of container/web" in refused.stderr
    assert "removed" not in lading("image", "prune", "-a").stdout
    lading("delete", "container/web")
    assert f"{name} removed" in lading("image", "prune", "-a").stdout


def busybox(images: Path) -> tuple[list[bytes], dict[str, Any]]:
    """Layers and config of an image that runs."""
    with tarfile.open(images / "busybox.tar") as archive:

        def blob(digest: str) -> bytes:
            file = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file is not None
            return file.read()

        index = archive.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.load(index)["manifests"][0]["digest"]))
        config: dict[str, Any] = json.loads(blob(manifest["config"]["digest"]))["config"]
        return [gzip.decompress(blob(one["digest"])) for one in manifest["layers"]], config


def test_an_image_that_is_pulled_for_a_container_is_seen_on_its_way(
    lading: Engine, registry: FakeRegistry, images: Path
) -> None:
    layers, config = busybox(images)
    published = registry.publish("shop:1", layers, config=config)
    registry.fault(r"GET .*/blobs/" + _digest(published.layers[0]), stall(0.5, 1.5))
    web = container("web", image=f"{registry.host}/shop:1")
    said = lading("apply", "-f", "-", stdin=json.dumps(web)).stdout
    assert f"pull {registry.host}/shop:1" in said
    assert len(said.splitlines()) < 20
    lading("delete", "container/web")


def test_a_login_is_taken_by_the_registry_before_it_is_kept(lading: Engine) -> None:
    with FakeRegistry(users={"me": "secret"}) as registry:
        registry.publish("shop:1")
        name = f"{registry.host}/shop:1"
        refused = lading("image", "pull", name, check=False)
        assert refused.returncode == 1
        assert "lading login" in refused.stderr
        wrong = lading("login", registry.host, "-u", "me", "--password-stdin", stdin="guess\n", check=False)
        assert wrong.returncode == 1
        assert "guess" not in wrong.stdout + wrong.stderr
        assert not (lading.root / "credentials.json").exists()
        said = lading("login", registry.host, "-u", "me", "--password-stdin", stdin="secret\n").stdout
        assert said == f"logged in at {registry.host} as me; saved in {lading.root}/credentials.json\n"
        assert (lading.root / "credentials.json").stat().st_mode & 0o777 == 0o600
        assert lading.json("login", "--list") == [{"registry": registry.host, "username": "me"}]
        lading("image", "pull", name)
        lading("logout", registry.host)
        assert lading("image", "pull", name, check=False).returncode == 1


def test_settings_say_how_a_registry_is_reached(engine: Callable[..., Engine], registry: FakeRegistry) -> None:
    registry.publish("library/shop:1", [layer(1000)])
    lading = engine()
    lading.root.mkdir()
    settings = {"registries": {"docker.io": {"mirrors": [registry.host]}, registry.host: {"plainHttp": True}}}
    (lading.root / "settings.yaml").write_text(json.dumps(settings))
    lading("image", "pull", "shop:1")
    assert list(listed(lading)) == ["docker.io/library/shop:1"]
    lading("image", "prune", "-a")
    lading("shutdown")
    (lading.root / "settings.yaml").write_text("registries: {docker.io: {mirors: []}}")
    refused = lading("image", "ls", check=False)
    assert refused.returncode == 1
    assert 'registries["docker.io"].mirors: is not a field' in refused.stderr
    (lading.root / "settings.yaml").unlink()


def test_names_of_an_image_object_are_its_own(lading: Engine, images: Path) -> None:
    archive = str(images / "busybox.tar")
    image = document("Image", "bb", **{"from": {"archive": archive}, "tags": ["shop/bb:1"]})
    lading("apply", "-f", "-", stdin=json.dumps(image))
    [one] = lading.json("image", "ls")
    assert one["names"] == ["docker.io/shop/bb:1"]
    assert [ref["name"] for ref in one["usedBy"]] == ["bb"]
    for argv in (["rm", "-f", "shop/bb:1"], ["rm", one["id"][7:19]]):
        assert "image/bb" in lading("image", *argv, check=False).stderr
    lading("image", "tag", "shop/bb:1", "other:1")
    lading("delete", "image/bb")
    assert list(listed(lading)) == ["docker.io/library/other:1"]
    assert "freed" in lading("image", "rm", "other:1").stdout


def test_a_root_file_system_is_imported_from_a_folder(lading: Engine, tmp_path: Path) -> None:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "motd").write_text("hello\n")
    lading("image", "import", tmp_path / "root", "mine:1")
    assert list(listed(lading)) == ["docker.io/library/mine:1"]
    refused = lading("image", "load", "-i", tmp_path / "root", check=False)
    assert refused.returncode == 1
    assert "no archive of images" in refused.stderr
