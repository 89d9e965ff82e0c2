"""Copying into and out of a container that runs: its root as it sees it, mounts included."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.copy.copier import TreeCopier
from drivers.runtime.interface import TaskConfig
from drivers.runtime.oci import OciRuntime
from resources.errors import FailedPrecondition, InvalidArgument, NotFound
from tests.tasks import spec, stopped, task, until
from tests.unit.drivers.images.tars import END, entry, folder

pytestmark = pytest.mark.host

COPIER = TreeCopier()


@pytest.fixture
def run(runtime: OciRuntime, rootfs: Path) -> Callable[..., Path]:
    """Run a shell script and give the root of its container."""

    def start(script: str, mounts: tuple[dict[str, object], ...] = ()) -> Path:
        described = spec(("sh", "-c", script))
        described["mounts"] += mounts
        config: TaskConfig = task(rootfs, spec=described)
        runtime.create(config)
        runtime.start(config.id)
        state = runtime.state(config.id)
        assert state is not None
        return Path(f"/proc/{state.pid}/root")

    return start


def names(root: Path, path: str) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(COPIER.pack(root, path)))) as archive:
        return archive.getnames()


def test_what_the_container_wrote_comes_out_and_what_comes_in_it_reads(run: Callable[..., Path]) -> None:
    root = run(
        "echo from inside > /tmp/out; while ! [ -f /tmp/in ]; do sleep 0.02; done; cat /tmp/in > /tmp/seen; sleep 9"
    )
    until(lambda: COPIER.stat(root, "/tmp/out"))
    assert names(root, "/tmp/out") == ["out"]
    COPIER.unpack(root, "/tmp", io.BytesIO(entry("in", b"from outside") + END))
    until(lambda: (found := COPIER.stat(root, "/tmp/seen")) and found.size)
    assert b"from outside" in b"".join(COPIER.pack(root, "/tmp/seen"))


def test_volumes_are_part_of_it_and_the_kernel_is_not(run: Callable[..., Path], tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "kept").write_bytes(b"data")
    root = run(
        "sleep 100",
        ({"destination": "/srv", "type": "bind", "source": str(volume), "options": ["bind", "rw", "nosuid", "nodev"]},),
    )
    assert sorted(names(root, "/srv")) == ["srv", "srv/kept"]
    COPIER.unpack(root, "/", io.BytesIO(entry("srv/new", b"new") + END))
    assert (volume / "new").read_bytes() == b"new"
    everything = {name.removeprefix("./") for name in names(root, "/")}
    assert {"bin/busybox", "srv/kept", "proc", "sys", "dev/null"} <= everything
    assert not [name for name in everything if name.startswith(("proc/", "sys/"))]
    with pytest.raises(InvalidArgument):
        COPIER.pack(root, "/proc/1/environ")
    with pytest.raises(FailedPrecondition):
        COPIER.unpack(root, "/proc/sys/kernel", io.BytesIO(entry("domainname", b"x") + END))


def test_a_root_that_is_gone(run: Callable[..., Path], runtime: OciRuntime) -> None:
    root = run("sleep 100")
    (state,) = runtime.list()
    runtime.kill(state.id, 9)
    stopped(runtime, state.id)
    until(lambda: not root.parent.exists(), 30)
    for call in (
        lambda: COPIER.stat(root, "/"),
        lambda: COPIER.pack(root, "/"),
        lambda: COPIER.unpack(root, "/", io.BytesIO(END)),
    ):
        with pytest.raises(NotFound):
            call()


def test_a_container_that_swaps_a_folder_for_a_link_to_its_root_keeps_it_inside(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    root = run(
        "cd /tmp; while :; do busybox mkdir d; busybox rmdir d; busybox ln -s / d; busybox rm d; done 2>/dev/null"
    )
    before = sorted(path.name for path in Path("/").iterdir())
    archive = folder("d") + entry(f"d/{tmp_path.name}", b"x") + END
    for _ in range(300):
        try:
            COPIER.unpack(root, "/tmp", io.BytesIO(archive))
        except (InvalidArgument, FailedPrecondition, NotFound):
            continue
    assert sorted(path.name for path in Path("/").iterdir()) == before
