"""Roots and runtimes that cannot be trusted: refused before anything is written, killed before anything runs."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.runtime.interface import TaskStatus
from drivers.runtime.oci import OciRuntime
from resources.errors import FailedPrecondition
from tests.tasks import MASKED, READONLY, spec, stopped, task

pytestmark = pytest.mark.host


@pytest.mark.parametrize("name", ["dev", "proc", "sys", "dev/pts", "dev/shm", "etc"])
def test_a_link_where_kernel_files_go_is_refused_and_the_target_untouched(
    runtime: OciRuntime, rootfs: Path, tmp_path: Path, name: str
) -> None:
    sentinel = tmp_path / "sentinel"
    sentinel.mkdir()
    at = rootfs / name
    if at.is_dir():
        for path in at.iterdir():
            path.unlink()
        at.rmdir()
    at.symlink_to(sentinel)
    config = task(rootfs, "true")
    with pytest.raises(FailedPrecondition, match=name.split("/")[0]):
        runtime.create(config)
    assert os.listdir(sentinel) == []
    assert runtime.state(config.id) is None


@pytest.mark.parametrize("field", ["maskedPaths", "readonlyPaths"])
def test_a_task_whose_paths_are_open_is_killed_before_it_runs(
    runtime: OciRuntime, rootfs: Path, short_path: Path, field: str
) -> None:
    base = spec(("sh", "-c", "echo ran > /ran; sleep 100"))
    open_spec = {**base, "linux": {**base["linux"], field: []}}
    config = task(rootfs, "true", spec=open_spec)
    runtime.create(config)
    wanted = "/proc/keys is not masked" if field == "maskedPaths" else "/proc/sys is writable"
    with pytest.raises(FailedPrecondition, match=wanted):
        runtime.start(config.id)
    assert stopped(runtime, config.id).exit_code == 137
    assert not (rootfs / "ran").exists()


def test_shielded_paths_are_shielded_from_inside(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    reads = "; ".join(f"head -c 1 {path} 2>/dev/null" for path in MASKED)
    lists = "; ".join(f"ls {path} 2>/dev/null" for path in MASKED if path.startswith("/sys"))
    writes = "; ".join(f"(: > {path}/x) 2>/dev/null && echo wrote" for path in READONLY)
    config = task(rootfs, "sh", "-c", f"{reads}; {lists}; {writes}; exit 0")
    runtime.create(config)
    runtime.start(config.id)
    assert stopped(runtime, config.id).exit_code == 0
    assert (short_path / "s/tasks" / config.id / "log").read_bytes() == b""


def test_a_task_has_the_capabilities_and_filter_it_was_given(
    runtime: OciRuntime, rootfs: Path, short_path: Path
) -> None:
    script = "cat /proc/self/status; mkdir /tmp/m; busybox mount -t tmpfs x /tmp/m; busybox unshare -n true; ls /proc/self/fd"
    config = task(rootfs, "sh", "-c", script)
    runtime.create(config)
    runtime.start(config.id)
    stopped(runtime, config.id)
    lines = [line.split(" ", 3)[3] for line in (short_path / "s/tasks" / config.id / "log").read_text().splitlines()]
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    assert int(status["CapBnd"], 16) == 1 << 0 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["Seccomp"].strip() == "2"
    refusals = [line for line in lines if "not permitted" in line or "denied" in line]
    assert len(refusals) == 2, lines
    # The two streams come through two pipes: which line is first is not said.
    assert [line for line in lines if line not in refusals][-4:] == ["0", "1", "2", "3"]


def test_a_device_node_of_the_image_cannot_be_opened(runtime: OciRuntime, rootfs: Path, short_path: Path) -> None:
    os.mknod(rootfs / "disk", stat.S_IFBLK | 0o666, os.makedev(7, 0))
    os.mknod(rootfs / "kmsg", stat.S_IFCHR | 0o666, os.makedev(1, 11))
    script = "for node in disk kmsg dev/zero; do head -c 1 /$node >/dev/null && echo opened $node; done"
    config = task(rootfs, "sh", "-c", script)
    runtime.create(config)
    runtime.start(config.id)
    stopped(runtime, config.id)
    lines = [line.split(" ", 3)[3] for line in (short_path / "s/tasks" / config.id / "log").read_text().splitlines()]
    assert sum("not permitted" in line for line in lines) == 2, lines
    assert [line for line in lines if "not permitted" not in line] == ["opened dev/zero"]


def test_no_socket_of_ours_is_abstract(runtime: OciRuntime, rootfs: Path) -> None:
    config = task(rootfs, "sleep", "100")
    runtime.create(config)
    runtime.start(config.id)
    state = runtime.state(config.id)
    assert state is not None
    assert state.status is TaskStatus.RUNNING
    text = Path("/proc/net/unix").read_text()
    assert not [line for line in text.splitlines() if "@" in line and config.id[:12] in line]


@pytest.mark.parametrize("link", ["/proc", "../../sys/fs", "/dev/shm", "inner", "/proc/nosuch"])
def test_a_link_that_leads_a_mount_into_a_kernel_file_system_is_refused(
    runtime: OciRuntime, rootfs: Path, link: str
) -> None:
    (rootfs / "inner").symlink_to("sys")
    (rootfs / "data").symlink_to(link)
    config = task(rootfs, "true")
    source = {"source": str(rootfs / "etc"), "type": "bind", "options": ["rbind"]}
    for target in ("/data", "/data/below", "/tmp/../data"):
        mounts = [*config.spec["mounts"], {"destination": target, **source}]
        with pytest.raises(FailedPrecondition, match="leads the mount"):
            runtime.create(replace(config, spec={**config.spec, "mounts": mounts}))
    assert runtime.state(config.id) is None


def test_a_link_that_leads_round_in_a_circle_is_refused(runtime: OciRuntime, rootfs: Path) -> None:
    (rootfs / "data").symlink_to("data")
    config = task(rootfs, "true")
    mount = {"destination": "/data", "source": str(rootfs / "etc"), "type": "bind", "options": ["rbind"]}
    with pytest.raises(FailedPrecondition, match="too many"):
        runtime.create(replace(config, spec={**config.spec, "mounts": [*config.spec["mounts"], mount]}))
