"""VOLUME of an image, which its manifest says nothing of: data of the container's own, as long as the container is there."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.command.client import ARCHIVE, Client, container, document
from tests.integration.command.outside import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]
IMAGE = {"name": "asks"}


def asking(path: Path, *volumes: str) -> Path:
    """The test image, with VOLUMEs: an OCI archive with another config."""
    with tarfile.open(ARCHIVE) as archive:
        files = {name: _content(archive, name) for name in archive.getnames()}
    index = json.loads(files["index.json"])
    manifest = json.loads(files[_blob(index["manifests"][0])])
    config = json.loads(files[_blob(manifest["config"])])
    config.setdefault("config", {})["Volumes"] = {volume: {} for volume in volumes}
    manifest["config"] |= _added(files, config)
    index["manifests"][0] |= _added(files, manifest)
    files["index.json"] = json.dumps(index).encode()
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    return file.read() if file else b""


def _blob(descriptor: Mapping[str, Any]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def _added(files: dict[str, bytes], value: Any) -> dict[str, Any]:
    content = json.dumps(value).encode()
    digest = hashlib.sha256(content).hexdigest()
    files[f"blobs/sha256/{digest}"] = content
    return {"digest": f"sha256:{digest}", "size": len(content)}


def image(archive: Path) -> dict[str, Any]:
    return document("Image", "asks", **{"from": {"archive": str(archive)}})


def volumes(client: Client) -> list[Path]:
    return list((client.engine.root / "anonymous" / "volumes").glob("[0-9a-f]*"))


def test_its_data_lives_as_long_as_the_container(client: Client, tmp_path: Path) -> None:
    asks = image(asking(tmp_path / "one.tar", "/etc", "/var/lib/box"))
    client.apply(asks, container("web", image=IMAGE))
    mounts = client.process("web").mounts()
    for target in ("/etc", "/var/lib/box"):
        assert {"rw", "nosuid", "nodev"} <= set(mounts[target]), target
    assert client.inside("web", "grep -c root: /etc/passwd").strip() == "1"
    # What we put over /etc is seen over the volume, not under it.
    assert "localhost" in client.inside("web", "cat /etc/hosts")
    assert client.plan(asks, container("web", image=IMAGE)) == {}
    client.inside("web", "echo kept > /var/lib/box/file; echo kept > /etc/file; echo gone > /file")
    client("restart", "web")
    assert client.inside("web", "cat /var/lib/box/file /etc/file /file").split() == ["kept", "kept", "gone"]
    client.apply(asks, container("web", image=IMAGE, env={"NEW": "1"}))
    assert client.inside("web", "cat /var/lib/box/file /etc/file; test -e /file || echo new").split() == [
        "kept", "kept", "new",
    ]  # fmt: skip
    assert len(volumes(client)) == 2
    client("delete", "container/web")
    until(lambda: volumes(client) == [], what="its volumes are gone")


def test_a_mount_of_the_manifest_and_another_image(client: Client, tmp_path: Path) -> None:
    asks = image(asking(tmp_path / "one.tar", "/data", "/other"))
    client.apply(asks, container("web", image=IMAGE, mounts=[{"tmpfs": {}, "target": "/data"}]))
    assert len(volumes(client)) == 1
    client.inside("web", "echo kept > /other/file; echo gone > /data/file")
    client.apply(asks, container("web", image=IMAGE))
    assert client.inside("web", "cat /other/file; ls /data").split() == ["kept"]
    assert len(volumes(client)) == 2
    client.inside("web", "echo x > /data/file")
    asks = image(asking(tmp_path / "two.tar", "/other"))
    client.apply(asks, container("web", image=IMAGE))
    assert client.inside("web", "cat /other/file; test -e /data || echo none").split() == ["kept", "none"]
    until(lambda: len(volumes(client)) == 1, what="what nothing uses is gone")


def test_a_volume_over_what_is_the_kernels_is_refused(client: Client, tmp_path: Path) -> None:
    for number, path in enumerate(("/proc", "/", "/x/../dev/shm")):
        asks = image(asking(tmp_path / f"{number}.tar", path))
        said = client.apply(asks, flags=("--timeout", "5s"), check=False)
        assert "cannot be a volume" in said, path
    client.apply(image(asking(tmp_path / "good.tar", "/data")))
