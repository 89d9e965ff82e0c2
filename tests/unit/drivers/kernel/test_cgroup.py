"""cgroups in every form, on trees of plain files."""

from pathlib import Path

import pytest

from drivers.kernel.cgroup import Cgroup, Hierarchies, Mode, detect
from drivers.kernel.cgroup_limits import (
    as_asked,
    check_supported,
    counters,
    read_limits,
    shares_to_weight,
    weight_to_shares,
    write_limits,
)
from drivers.kernel.mount import parse_mountinfo
from drivers.runtime.interface import Limits
from resources.errors import InvalidArgument, Unsupported

V1 = b"""31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 31 0:30 / /elsewhere rw - cgroup cgroup rw,memory
"""
UNIFIED = b"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def test_v1_and_hybrid_are_told_apart() -> None:
    v1 = detect(tuple(parse_mountinfo(V1)))
    assert (v1.mode, v1.unified) == (Mode.V1, None)
    assert {k: str(v) for k, v in v1.controllers.items()} == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
    }
    assert len(v1.roots) == 3
    hybrid = detect(tuple(parse_mountinfo(V1 + UNIFIED)))
    assert (hybrid.mode, hybrid.unified) == (Mode.HYBRID, Path("/sys/fs/cgroup/unified"))
    assert len(hybrid.roots) == 4
    with pytest.raises(Unsupported):
        detect(())


def test_v2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    found = detect(tuple(parse_mountinfo(f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw\n".encode())))
    assert found.mode is Mode.V2
    assert set(found.controllers) == {"cpu", "io", "memory", "pids"}


@pytest.mark.parametrize("path", ["", "a", "/", "//", "/a/", "/a//b", "/../a", "/a/./b", "/a\0"])
def test_paths(path: str) -> None:
    with pytest.raises(InvalidArgument):
        Cgroup(Hierarchies(Mode.V2, {}, Path("/x"), (Path("/x"),)), path)


@pytest.fixture
def v2(tmp_path: Path) -> Cgroup:
    at = tmp_path / "l/d"
    at.mkdir(parents=True)
    files = {
        "memory.max": "max", "memory.low": "0", "memory.swap.max": "max", "cpu.max": "max 100000", "cpu.weight": "100",
        "pids.max": "max", "cpuset.cpus": "", "io.weight": "default 100", "cgroup.events": "populated 1\nfrozen 1",
        "memory.events": "low 0\noom_kill 2", "memory.current": "4096", "memory.stat": "anon 1\ninactive_file 7",
        "cpu.stat": "usage_usec 5\nthrottled_usec 2", "io.stat": "8:0 rbytes=10 wbytes=20\n8:1 rbytes=1 wbytes=2",
        "pids.current": "3",
    }  # fmt: skip
    for name, text in files.items():
        (at / name).write_text(text + "\n")
    controllers = dict.fromkeys(("memory", "cpu", "pids", "cpuset", "io"), tmp_path)
    return Cgroup(Hierarchies(Mode.V2, controllers, tmp_path, (tmp_path,)), "/l/d")


def test_v2_limits_in_and_out(v2: Cgroup) -> None:
    assert v2.unified is not None
    limits = Limits(1 << 30, 1 << 29, 0, 1500, 512, "0-1", 99, 200)
    write_limits(v2, limits)
    texts = {p.name: p.read_text() for p in v2.unified.iterdir()}
    assert texts["memory.max"] == str(1 << 30)
    assert texts["memory.swap.max"] == "0"  # v2 counts swap apart
    assert texts["cpu.max"] == "150000 100000"
    assert texts["cpu.weight"] == "20"
    assert texts["pids.max"] == "99"
    found = read_limits(v2)
    assert found is not None
    assert found.cpu_shares != 512  # weights are coarser than shares
    assert as_asked(limits, found) == limits
    write_limits(v2, Limits())
    assert as_asked(Limits(), read_limits(v2) or limits).memory is None
    assert (v2.unified / "cpu.max").read_text() == "max 100000"


def test_v2_state_and_counters(v2: Cgroup) -> None:
    assert v2.frozen()
    assert v2.oom_kills() == 2
    assert counters(v2) == {
        "memory": 4096,
        "memory_cache": 7,
        "cpu_nanos": 5000,
        "throttled_nanos": 2000,
        "io_read": 11,
        "io_write": 22,
        "pids": 3,
    }


def test_a_limit_without_its_controller_is_refused_by_name(tmp_path: Path) -> None:
    group = Cgroup(Hierarchies(Mode.V2, {"pids": tmp_path}, tmp_path, (tmp_path,)), "/l")
    check_supported(group, Limits(pids=1))
    for limits, name in (
        (Limits(memory=1), "memory"),
        (Limits(cpu_millis=1), "cpus"),
        (Limits(io_weight=1), "ioWeight"),
    ):
        with pytest.raises(Unsupported, match=name):
            check_supported(group, limits)


def test_what_the_kernel_rounds_is_no_difference_and_what_others_write_is() -> None:
    asked = Limits(memory=1_000_001, swap=0, cpu_shares=512, cpuset="0,1", pids=5)
    actual = Limits(memory=999_424, swap=0, cpu_shares=501, cpuset="0-1", pids=5)
    assert as_asked(asked, actual) == asked
    assert as_asked(asked, Limits(memory=990_000, cpu_shares=2048, cpuset="0", pids=6)) == Limits(
        memory=990_000, cpu_shares=2048, cpuset="0", pids=6
    )


def test_weights() -> None:
    assert [shares_to_weight(s) for s in (0, 2, 1024, 262_144, 10**9)] == [1, 1, 39, 10_000, 10_000]
    assert all(shares_to_weight(weight_to_shares(weight)) == weight for weight in range(1, 10_001))
