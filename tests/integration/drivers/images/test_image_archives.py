"""Archives and layouts of real tools, and hostile ones: import, unpack, mount, run."""

import gzip
import io
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from drivers.images.limits import Limits
from drivers.images.store import ImageDriver
from resources.errors import DataLoss, InvalidArgument
from tests.integration.drivers.images.conftest import PLATFORM, Ground, run
from tests.unit.drivers.images import tars

pytestmark = pytest.mark.host


def rootfs(folder: Path) -> Path:
    """A tree that runs: static busybox and what images have."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (folder / "bin" / "busybox").chmod(0o4755)
    (folder / "bin" / "sh").symlink_to("busybox")
    (folder / "etc").mkdir()
    (folder / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    os.chown(folder / "etc" / "passwd", 12, 34)
    folder.chmod(0o755)
    return folder


@pytest.fixture
def real(ground: Ground) -> dict[str, Path]:
    """One image of real tools in every form: GNU tar made the layer, skopeo the archives."""
    base = ground.base
    tree = rootfs(base / "tree")
    run("tar", "-C", tree, "--numeric-owner", "-cf", base / "rootfs.tar", ".")
    first = ground.images.import_rootfs(base / "rootfs.tar", platform=PLATFORM)
    ground.images.names().put("docker.io/library/real:1", first.manifest)
    source = f"oci:{base / 'content'}:docker.io/library/real:1"
    forms = {"oci": "oci-archive", "docker": "docker-archive"}
    paths = {}
    for name, transport in forms.items():
        paths[name] = base / f"{name}.tar"
        run("skopeo", "copy", "-q", source, f"{transport}:{paths[name]}:docker.io/library/real:1")
        run("gzip", "-k", paths[name])
        run("zstd", "-q", paths[name])
        paths[f"{name}-gzip"] = base / f"{name}.tar.gz"
        paths[f"{name}-zstd"] = base / f"{name}.tar.zst"
    run("skopeo", "copy", "-q", "--dest-compress-format=zstd", source, f"oci:{base / 'zstd-layout'}:x")
    run("tar", "-C", base / "zstd-layout", "-cf", base / "layout.tar", ".")
    paths["layout"] = base / "layout.tar"
    return paths


def test_archives_of_real_tools_all_give_the_same_tree(ground: Ground, real: dict[str, Path]) -> None:
    (ground.base / "fresh").mkdir()
    fresh = Ground(ground.base / "fresh")
    ids = set()
    for name, path in real.items():
        load = fresh.images.import_layout if name == "layout" else fresh.images.import_archive
        [image] = load(path, platform=PLATFORM)
        assert fresh.images.image(image.id) == image
        fresh.images.unpack(image)
        assert fresh.images.unpacked(image)
        ids.add(image.chain_id)
        if name != "layout":
            assert image.names_in == ("docker.io/library/real:1",)
        with fresh.mounted(image) as root:
            busybox = (root / "bin" / "busybox").stat()
            assert stat.S_IMODE(busybox.st_mode) == 0o4755
            assert (root / "etc" / "passwd").stat().st_uid == 12
            assert run("chroot", root, "/bin/sh", "-c", "echo $((6*7))") == "42\n"
    assert len(ids) == 1
    assert [i.kind for i in fresh.snapshots.walk()] == ["committed"]
    fresh.snapshots.close()


def test_skopeo_reads_our_layout(ground: Ground, real: dict[str, Path]) -> None:
    described = json.loads(run("skopeo", "inspect", f"oci:{ground.base / 'content'}:docker.io/library/real:1"))
    assert described["Architecture"] == "amd64"
    assert len(described["Layers"]) == 1


def test_a_wrong_platform_is_told_and_leaves_nothing(ground: Ground, real: dict[str, Path]) -> None:
    before = {b.digest for b in ground.images.content().walk()}
    with pytest.raises(InvalidArgument, match="linux/riscv64"):
        ground.images.import_archive(real["docker"], platform="linux/riscv64")
    assert {b.digest for b in ground.images.content().walk()} == before


def test_a_multi_platform_index_gives_that_of_the_platform(ground: Ground) -> None:
    parts, manifests = {}, []
    for architecture in ("amd64", "arm64"):
        data = tars.oci_archive([tars.entry(architecture) + tars.END], architecture=architecture)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                if member.name.startswith("blobs"):
                    parts[member.name] = content.read()
                elif member.name == "index.json":
                    [manifest] = json.loads(content.read())["manifests"]
                    manifests.append({**manifest, "platform": {"os": "linux", "architecture": architecture}})
    nested = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    outer = [tars.described(nested, "application/vnd.oci.image.index.v1+json")]
    index = json.dumps({"schemaVersion": 2, "manifests": outer}).encode()
    source = ground.archive(tars.layout([*parts.values(), nested], index))
    for architecture in ("amd64", "arm64"):
        [image] = ground.images.import_archive(source, platform=f"linux/{architecture}")
        assert image.platform == f"linux/{architecture}"
        ground.images.unpack(image)
        with ground.mounted(image) as root:
            assert os.listdir(root) == [architecture]


def hostile_archives() -> dict[str, bytes]:
    blob = tars.entry("x") + tars.END
    good = tars.oci_archive([blob])
    empty_index = b'{"schemaVersion":2,"manifests":[]}'
    two = tars.entry("oci-layout", b"{}") + tars.entry("index.json", empty_index)
    docker = tars.entry("manifest.json", b'[{"Config":"c"}]')
    missing = good.replace(b"blobs/sha256/" + tars.digest(blob)[7:].encode(), b"blobs/other" + b"x" * 66, 1)
    return {
        "no archive": tars.entry("hello", b"x") + tars.END,
        "nothing": tars.END,
        "junk": os.urandom(4096),
        "wrong blob": good.replace(blob[:512], tars.header("y"), 1),
        "layer that is not there": missing,
        "blobs as a link": two + tars.symlink("blobs", "/etc") + tars.END,
        "two index files": tars.entry("index.json", empty_index) * 2 + tars.END,
        "huge index": tars.entry("oci-layout", b"{}") + tars.entry("index.json", b" " * (5 << 20)) + tars.END,
        "docker path out": tars.entry("manifest.json", b'[{"Config":"../../etc/passwd","Layers":[]}]') + tars.END,
        "docker links in a circle": tars.symlink("c", "d") + tars.symlink("d", "c") + docker + tars.END,
        "docker list of text": tars.entry("manifest.json", b'["x"]') + tars.END,
        "cut off": good[:2048],
    }


@pytest.mark.parametrize("name", sorted(hostile_archives()))
def test_hostile_archives_leave_nothing(ground: Ground, name: str) -> None:
    with pytest.raises((InvalidArgument, DataLoss)):
        ground.images.import_archive(ground.archive(hostile_archives()[name], "bad.tar"), platform=PLATFORM)
    assert list(ground.images.content().walk()) == []
    assert os.listdir(ground.base / "content" / "ingest") == []


def test_a_docker_archive_with_links_between_layers(ground: Ground) -> None:
    layer = tars.entry("x", b"1") + tars.END
    config = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [tars.digest(layer)] * 2},
    }
    manifest = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["one/layer.tar", "two/layer.tar"]}]
    data = (
        tars.entry("c.json", json.dumps(config).encode())
        + tars.entry("one/layer.tar", layer)
        + tars.symlink("two/layer.tar", "../one/layer.tar")
        + tars.entry("manifest.json", json.dumps(manifest).encode())
        + tars.END
    )
    image = ground.only(data)
    assert len(image.layers) == 2
    ground.images.unpack(image)
    assert len(list(ground.snapshots.walk())) == 2


def test_a_bomb_is_stopped(ground: Ground) -> None:
    limits = Limits(max_unpacked=1 << 20, ratio_floor=1 << 20)
    small = ImageDriver(ground.base / "small", ground.snapshots, limits)
    source = ground.archive(gzip.compress(tars.entry("zeros", bytes(32 << 20)) + tars.END), "bomb.tar.gz")
    with pytest.raises(InvalidArgument, match="a decompression bomb"):
        small.import_rootfs(source, platform=PLATFORM)
    assert list(small.content().walk()) == []
