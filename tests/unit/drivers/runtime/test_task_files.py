"""config.json, records, paths and guards: what the driver writes and what it refuses, without a kernel."""

import json
import os
import resource
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drivers.kernel.mount import parse_mountinfo
from drivers.runtime import guard, spec
from drivers.runtime.interface import Limits, ProcessConfig, TaskConfig
from drivers.runtime.layout import checked_group, checked_id
from drivers.runtime.observe import OciState, read_oci_state
from drivers.runtime.record import Exit, Record, read_record, write_record
from drivers.runtime.seccomp import seccomp
from resources.errors import DataLoss, FailedPrecondition, InvalidArgument

ID = "0f" * 32


def config(**changes: Any) -> TaskConfig:
    made = TaskConfig(
        id=ID,
        spec={
            "process": {"args": ["a"], "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]},
            "root": {"readonly": True},
            "linux": {"seccomp": seccomp("baseline", ()), "resources": {"devices": [{"allow": False}]}},
        },
        rootfs=Path("/roots/x"),
        cgroup_parent="default",
        applied={},
        attempt=1,
    )
    return replace(made, **changes)


def test_the_driver_fills_what_only_it_knows() -> None:
    limits = Limits(64 << 20, 32 << 20, 1 << 20, 1500, 512, "0-1", 100, 200)
    made = spec.complete(config(limits=limits, terminal=True), "/lading/default/x", "runc")
    assert made["root"] == {"readonly": True, "path": "/roots/x"}
    assert made["process"]["terminal"] is True
    assert made["linux"]["cgroupsPath"] == "/lading/default/x"
    assert made["linux"]["resources"] == {
        "devices": [{"allow": False}],
        "memory": {"limit": 64 << 20, "swap": 65 << 20, "reservation": 32 << 20},
        "cpu": {"quota": 150_000, "period": 100_000, "shares": 512, "cpus": "0-1"},
        "pids": {"limit": 100},
        "blockIO": {"weight": 200},
    }


def test_the_callers_spec_is_not_changed_and_annotations_never_get_through() -> None:
    given = config()
    before = json.dumps(given.spec)
    made = spec.complete(replace(given, spec={**given.spec, "annotations": {"run.oci.handler": "x"}}), "/a/b/c", "crun")
    assert json.dumps(given.spec) == before
    assert "annotations" not in made


def test_the_default_errno_is_that_of_the_runtime() -> None:
    assert spec.complete(config(), "/a", "crun")["linux"]["seccomp"]["defaultErrnoRet"] == 38
    assert spec.complete(config(), "/a", "runc")["linux"]["seccomp"]["defaultErrnoRet"] == 1


def test_a_limit_above_the_hosts_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "_may_raise", lambda: False)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    asked = {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": hard + 1}
    given = config()
    made = spec.complete(replace(given, spec={**given.spec, "process": {"rlimits": [asked]}}), "/a", "runc")
    assert made["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": min(1024, hard), "hard": hard}]
    monkeypatch.setattr(spec, "_may_raise", lambda: True)
    made = spec.complete(replace(given, spec={**given.spec, "process": {"rlimits": [asked]}}), "/a", "runc")
    assert made["process"]["rlimits"] == [asked]


def test_an_exec_takes_environment_limits_and_labels_of_the_task() -> None:
    base = {
        "env": ["A=a", "SECRET=1"],
        "args": ["a"],
        "cwd": "/srv",
        "rlimits": [1],
        "apparmorProfile": "p",
        "capabilities": {"ambient": ["X"]},
    }
    asked = ProcessConfig(("ls",), ("A=b",), "/w", 5, 6, (7,), True, ("CAP_KILL",), True, 24, 80)
    made = spec.exec_process(base, asked)
    assert made == {
        "rlimits": [1],
        "apparmorProfile": "p",
        "terminal": True,
        "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
        "args": ["ls"],
        "env": ["A=b", "SECRET=1"],
        "cwd": "/w",
        "noNewPrivileges": True,
        "capabilities": {
            "bounding": ["CAP_KILL"],
            "effective": [],
            "permitted": [],
            "inheritable": [],
            "ambient": [],
        },
        "consoleSize": {"height": 24, "width": 80},
    }
    assert spec.exec_process(base, replace(asked, cwd=""))["cwd"] == "/srv"
    assert spec.exec_process({}, replace(asked, uid=0))["capabilities"]["effective"] == ["CAP_KILL"]


@pytest.mark.parametrize("bad", ["", "0f" * 31, "0F" * 32, "0f" * 32 + "\n", "../" * 21 + "a", "0g" * 32, "٣" * 64])
def test_ids(bad: str) -> None:
    with pytest.raises(InvalidArgument):
        checked_id(bad)
    assert checked_id(ID) == ID


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "-a", "a\n", "a" * 129, "a b"])
def test_groups(bad: str) -> None:
    with pytest.raises(InvalidArgument):
        checked_group(bad)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    record = Record(
        3, {"a": [1, {"b": None}]}, "boot", "/l/d/x", Limits(memory=5, cpuset="0"), ("/m",), ("/r",), True, at,
        Exit(None, at, True), "why",
    )  # fmt: skip
    path = tmp_path / "tasks" / ID / "record.json"
    assert read_record(path) is None
    write_record(path, record)
    assert read_record(path) == record
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert os.listdir(path.parent) == ["record.json"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b"null", b'{"attempt": "x", "applied": {}, "boot_id": ""}', b"\xff"]
)
def test_a_damaged_record_is_data_loss_and_not_absent(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(text)
    with pytest.raises(DataLoss, match=r"record\.json"):
        read_record(path)


def test_the_state_files_of_both_runtimes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/status").write_text('{"pid": 5, "process-start-time": 77, "cgroup-path": "/x"}')
    assert read_oci_state(tmp_path, "a") == OciState(5, 77, False)
    (tmp_path / "a/exec.fifo").touch()
    assert read_oci_state(tmp_path, "a") == OciState(5, 77, True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/state.json").write_text('{"init_process_pid": 6, "init_process_start": 78, "config": {}}')
    assert read_oci_state(tmp_path, "b") == OciState(6, 78, False)
    for text in ("", "{", '{"init_process_pid": 0, "init_process_start": 0}', '{"init_process_pid": null}', "[]"):
        (tmp_path / "b/state.json").write_text(text)
        assert read_oci_state(tmp_path, "b") is None
    assert read_oci_state(tmp_path, "none") is None


TABLE = b"""1 0 0:1 / / rw - overlay o rw
2 1 0:2 / /proc rw,nosuid - proc proc rw
3 2 0:2 /sys /proc/sys ro,nosuid - proc proc rw
4 2 0:3 /null /proc/kcore rw - devtmpfs d rw
5 2 0:4 / /proc/acpi ro - tmpfs t ro
6 2 0:4 / /proc/scsi rw - tmpfs t rw
7 1 0:5 / /sys ro - sysfs s rw
8 2 0:2 /keys /proc/keys rw - proc proc rw
9 2 0:3 /random /proc/timer_list rw - devtmpfs d rw
10 3 0:2 /x /proc/sys/x rw - proc proc rw
"""


def test_what_is_masked_and_what_is_read_only() -> None:
    table = tuple(parse_mountinfo(TABLE))
    assert [
        p for p in ("kcore", "acpi", "scsi", "keys", "timer_list", "none") if guard._is_masked(table, f"/proc/{p}")
    ] == [
        "kcore",
        "acpi",
    ]
    readonly = ("/proc/sys", "/proc/sys/kernel", "/proc/sys/x", "/proc", "/sys", "/sys/firmware", "/proc/sysx", "/")
    assert [p for p in readonly if guard._is_readonly(table, p)] == [
        "/proc/sys",
        "/proc/sys/kernel",
        "/sys",
        "/sys/firmware",
    ]


def test_roots(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition):
        guard.check_rootfs(tmp_path / "none", ())
    guard.check_rootfs(tmp_path, ())
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(FailedPrecondition):
        guard.check_rootfs(tmp_path / "link", ())
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/fd").symlink_to("/proc/self/fd")
    guard.check_rootfs(tmp_path, ())
    with pytest.raises(FailedPrecondition, match="dev/fd"):
        guard.check_rootfs(tmp_path, [{"destination": "/x/../dev/fd/3"}])
    (tmp_path / "proc").write_text("")
    with pytest.raises(FailedPrecondition, match="not a directory"):
        guard.check_rootfs(tmp_path, ())


def test_specs() -> None:
    dev = {"mounts": [{"destination": "/dev/"}]}
    guard.check_spec(dev)
    for bad in (
        {},
        {"mounts": [{"destination": "/dev/pts"}]},
        {**dev, "annotations": {"a": "b"}},
        {**dev, "hooks": {"x": 1}},
    ):
        with pytest.raises(InvalidArgument):
            guard.check_spec(bad)
