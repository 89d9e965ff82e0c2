"""Layers onto real overlays: stacked, side by side, raced, cancelled, killed, pruned."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.images.interface import Image
from resources.errors import Cancelled, DataLoss, InvalidArgument, Unavailable
from tests.integration.drivers.images.conftest import Ground
from tests.unit.drivers.images import tars

pytestmark = pytest.mark.host

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


def test_layers_are_unpacked_side_by_side(ground: Ground) -> None:
    layers = [tars.entry(f"f{i}", os.urandom(8 << 20)) + tars.END for i in range(2)]
    image = ground.only(tars.oci_archive(layers))
    begun = {f"unpack {layer.digest}": threading.Event() for layer in image.layers}

    def progress(what: str, done: int, total: int) -> None:
        begun[what].set()
        # Neither goes on before both have begun: one after the other would end here.
        for other in begun.values():
            assert other.wait(30), "the other layer is not under way"

    ground.images.unpack(image, progress=progress)
    assert ground.images.unpacked(image)


def test_what_images_have_in_common_is_stored_once(ground: Ground) -> None:
    base = tars.entry("base", os.urandom(1 << 20)) + tars.END
    images = [ground.only(tars.oci_archive([base, tars.entry(f"own{i}") + tars.END])) for i in range(2)]
    for image in images:
        ground.images.unpack(image)
    assert images[0].layers[0] == images[1].layers[0]
    blobs = [blob.digest for blob in ground.images.content().walk()]
    # One layer in common; of each its own layer, its configuration and its manifest.
    assert len(blobs) == len(set(blobs)) == 1 + 2 * 3
    assert len(list(ground.snapshots.walk())) == 3
    stored = sum(path.stat().st_size for path in ground.base.joinpath("snapshots").rglob("base"))
    assert stored == 1 << 20


def test_nobody_but_root_reaches_what_is_unpacked(ground: Ground) -> None:
    image = ground.only(tars.oci_archive([tars.entry("su", b"x", mode=0o4755) + tars.END]))
    ground.images.unpack(image)
    [unpacked] = ground.base.joinpath("snapshots").rglob("su")
    ground.base.chmod(0o755)
    look = subprocess.run(["stat", unpacked], user=1000, group=1000, extra_groups=[], capture_output=True, check=False)
    assert b"Permission denied" in look.stderr


def test_a_wrong_diff_id_names_both(ground: Ground) -> None:
    layer = tars.entry("x") + tars.END
    image = ground.only(tars.oci_archive([layer], diff_ids=[tars.digest(b"other")]))
    with pytest.raises(DataLoss) as caught:
        ground.images.unpack(image)
    assert tars.digest(layer) in caught.value.message
    assert tars.digest(b"other") in caught.value.message


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
        root = Path(__file__).parents[4]
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
