"""Images from real tools onto real overlays: import, unpack, mount, run, race, kill, prune."""

import gzip
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers.images.interface import Image
from drivers.images.limits import Limits
from drivers.images.store import ImageDriver
from drivers.kernel.mount import mount, unmount
from drivers.snapshots.overlay import OverlaySnapshotter
from resources.errors import Cancelled, DataLoss, InvalidArgument, ResourceExhausted, Unavailable
from tests.unit.drivers.images import tars

pytestmark = pytest.mark.host
PLATFORM = "linux/amd64"


class Ground:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.snapshots = OverlaySnapshotter(base / "snapshots")
        self.images = ImageDriver(base / "content", self.snapshots)

    def archive(self, data: bytes, name: str = "a.tar") -> Path:
        return tars.written(self.base / name, data)

    def only(self, data: bytes) -> Image:
        [image] = self.images.import_archive(self.archive(data), platform=PLATFORM)
        return image

    @contextmanager
    def mounted(self, image: Image, key: str = "c") -> Iterator[Path]:
        target = self.base / "m"
        target.mkdir(exist_ok=True)
        [description] = self.snapshots.prepare(key, image.chain_id)
        mount(description, target)
        try:
            yield target
        finally:
            unmount(target, detach=False)
            self.snapshots.remove(key)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.snapshots.close()


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


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


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


LAYERS = [
    tars.folder(".", mode=0o755)
    + tars.folder("usr/")
    + tars.folder("usr/bin/", mode=0o711)
    + tars.symlink("bin", "usr/bin")
    + tars.entry("usr/bin/old", b"old")
    + tars.folder("tmp/", mode=0o1777)
    + tars.folder("gone/")
    + tars.entry("gone/x")
    + tars.folder("hidden/")
    + tars.entry("hidden/below", b"1")
    + tars.entry("shared", b"low", mode=0o640)
    + tars.END,
    # What stands alone: whiteouts, an opaque folder.
    tars.entry(".wh.gone")
    + tars.folder("hidden/")
    + tars.entry("hidden/.wh..wh..opq")
    + tars.entry("hidden/new", b"2")
    + tars.END,
    # What needs the layers below: through a link, a folder not of its own, a hard link.
    tars.entry("bin/tool", b"new") + tars.entry("tmp/file") + tars.hardlink("alias", "shared") + tars.END,
    tars.entry("usr/bin/.wh.old") + tars.END,
]


def check_layers(root: Path) -> None:
    assert sorted(os.listdir(root)) == ["alias", "bin", "hidden", "shared", "tmp", "usr"]
    assert (root / "bin").is_symlink()
    assert os.listdir(root / "usr/bin") == ["tool"]
    assert stat.S_IMODE((root / "usr/bin").stat().st_mode) == 0o711
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777
    assert stat.S_IMODE(root.stat().st_mode) == 0o755
    assert os.listdir(root / "hidden") == ["new"]
    assert (root / "alias").read_text() == "low"
    assert (root / "alias").stat().st_ino == (root / "shared").stat().st_ino


def test_layers_stack_as_if_extracted_one_after_another(ground: Ground) -> None:
    image = ground.only(tars.oci_archive(LAYERS))
    ground.images.unpack(image)
    with ground.mounted(image) as root:
        check_layers(root)
        (root / "shared").write_text("changed")
        (root / "usr/bin/tool").unlink()
    with ground.mounted(image) as root:
        check_layers(root)


def test_large_layers_go_through_worker_processes(ground: Ground) -> None:
    big = [
        layer[: -len(tars.END)] + tars.entry(f"big{i}", os.urandom(3 << 20)) + tars.END
        for i, layer in enumerate(LAYERS)
    ]
    image = ground.only(tars.oci_archive(big))
    told: list[tuple[str, int, int]] = []
    ground.images.unpack(image, progress=lambda *what: told.append(what))
    with ground.mounted(image) as root:
        for i in range(len(big)):
            (root / f"big{i}").unlink()
        check_layers(root)


def test_an_opaque_root_hides_all_below(ground: Ground) -> None:
    top = tars.entry(".wh..wh..opq") + tars.entry("only") + tars.END
    image = ground.only(tars.oci_archive([LAYERS[0], top]))
    ground.images.unpack(image)
    with ground.mounted(image) as root:
        assert os.listdir(root) == ["only"]


def test_the_root_folder_is_that_of_the_topmost_layer_that_names_it(ground: Ground) -> None:
    layers = [tars.folder("./", mode=0o1755, uid=5) + tars.END, tars.entry("a") + tars.END, tars.entry("b") + tars.END]
    image = ground.only(tars.oci_archive(layers))
    ground.images.unpack(image)
    with ground.mounted(image) as root:
        assert (stat.S_IMODE(root.stat().st_mode), root.stat().st_uid) == (0o1755, 5)


def test_120_layers(ground: Ground) -> None:
    layers = [tars.entry(f"f{i}", b"%d" % i) + tars.entry("last", b"%d" % i) + tars.END for i in range(120)]
    image = ground.only(tars.oci_archive(layers))
    ground.images.unpack(image)
    with ground.mounted(image) as root:
        assert len(os.listdir(root)) == 121
        assert (root / "last").read_text() == "119"
        (root / "f0").unlink()
        assert not (root / "f0").exists()


@pytest.mark.parametrize(
    ("archive", "error"),
    [
        (lambda: tars.oci_archive([tars.entry("../x") + tars.END]), InvalidArgument),
        (lambda: tars.oci_archive([LAYERS[0], LAYERS[1]], diff_ids=[tars.digest(b"a"), tars.digest(b"b")]), DataLoss),
        (
            lambda: tars.oci_archive([LAYERS[0]], media_type="application/vnd.oci.image.layer.v1.tar+gzip"),
            InvalidArgument,
        ),
        (lambda: tars.oci_archive([LAYERS[0][:1700]]), InvalidArgument),
        (lambda: tars.oci_archive([LAYERS[0], tars.entry("x/../../y", bytes(2 << 20)) + tars.END]), InvalidArgument),
    ],
)
def test_what_does_not_unpack_leaves_no_snapshot(
    ground: Ground, archive: Callable[[], bytes], error: type[Exception]
) -> None:
    image = ground.only(archive())
    with pytest.raises(error, match="layer sha256"):
        ground.images.unpack(image)
    assert not ground.images.unpacked(image)
    assert all(info.key in image.diff_ids for info in ground.snapshots.walk())


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


def test_many_unpacks_of_one_image_at_once(ground: Ground) -> None:
    shared = LAYERS[0][: -len(tars.END)] + tars.entry("big", os.urandom(2 << 20)) + tars.END
    images = [ground.only(tars.oci_archive([shared, tars.entry(f"own{i}") + tars.END])) for i in range(3)]
    errors: list[BaseException] = []

    def unpack(image: Image) -> None:
        try:
            ground.images.unpack(image)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=unpack, args=(image,)) for image in images * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(list(ground.snapshots.walk())) == 4
    assert ground.snapshots.cleanup() == 0


def test_cancelling_ends_the_workers(ground: Ground) -> None:
    layers = [tars.entry(f"f{i}", os.urandom(24 << 20)) + tars.END for i in range(2)]
    image = ground.only(tars.oci_archive(layers))

    def cancel(what: str, done: int, total: int) -> None:
        raise Cancelled("asked to")

    with pytest.raises(Cancelled):
        ground.images.unpack(image, progress=cancel)
    assert not [i for i in ground.snapshots.walk() if i.key.startswith("unpack-")]
    ground.images.unpack(image)
    assert ground.images.unpacked(image)


KILLED = """
import sys
from pathlib import Path
from drivers.images.store import ImageDriver
from drivers.snapshots.overlay import OverlaySnapshotter
base = Path(sys.argv[1])
driver = ImageDriver(base / "content", OverlaySnapshotter(base / "snapshots"))
print("ready", flush=True)
[image] = driver.import_archive(base / "a.tar", platform="linux/amd64")
driver.unpack(image)
"""


def test_kill_9_at_any_time_leaves_nothing_after_cleanup(ground: Ground) -> None:
    layers = [tars.entry(f"f{i}-{j}", os.urandom(1 << 20)) for i in range(3) for j in range(4)]
    data = tars.oci_archive([b"".join(layers[i * 4 : i * 4 + 4]) + tars.END for i in range(3)])
    ground.archive(data)
    for delay in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
        root = Path(__file__).parents[3]
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(ground.base)], cwd=root, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        time.sleep(0.05)
        again = Ground(ground.base)
        again.images.cleanup()
        again.snapshots.cleanup()
        assert os.listdir(ground.base / "content" / "ingest") == []
        known = list(again.snapshots.walk())
        assert all(info.kind == "committed" for info in known)
        assert len(os.listdir(ground.base / "snapshots" / "snapshots")) == len(known)
        for blob in again.images.content().walk():
            assert tars.digest(again.images.content().read(blob.digest, 1 << 30)) == blob.digest
        again.snapshots.close()
    image = ground.only(data)
    ground.images.unpack(image)
    with ground.mounted(image) as mounted:
        assert len(os.listdir(mounted)) == 12
    ground.images.prune([])
    assert list(ground.images.content().walk()) == []


def test_prune_keeps_what_is_needed(ground: Ground) -> None:
    base = tars.entry("base") + tars.END
    images = [ground.only(tars.oci_archive([base, tars.entry(f"own{i}") + tars.END])) for i in range(3)]
    for i, image in enumerate(images):
        ground.images.unpack(image)
        ground.images.names().put(f"uid:{i}", image.manifest)
    ground.snapshots.prepare("running", images[1].chain_id)
    assert ground.images.prune([images[0].id]) > 0
    assert ground.images.image(images[0].id) == images[0]
    assert ground.images.image(images[1].id) is None
    assert ground.images.unpacked(images[0])
    assert ground.images.unpacked(images[1])
    assert not ground.images.unpacked(images[2])
    assert [name for name, _ in ground.images.names().list()] == ["uid:0"]
    with pytest.raises(Unavailable), ground.images._shared():
        ground.images.prune([])
    ground.snapshots.remove("running")
    ground.images.prune([])
    assert list(ground.snapshots.walk()) == []
    assert list(ground.images.content().walk()) == []


def test_a_bomb_is_stopped(ground: Ground) -> None:
    limits = Limits(max_unpacked=1 << 20, ratio_floor=1 << 20)
    small = ImageDriver(ground.base / "small", ground.snapshots, limits)
    source = ground.archive(gzip.compress(tars.entry("zeros", bytes(32 << 20)) + tars.END), "bomb.tar.gz")
    with pytest.raises(ResourceExhausted):
        small.import_rootfs(source, platform=PLATFORM)
    assert list(small.content().walk()) == []
