"""Small real tasks for the tests of the runtime driver: busybox in a folder, and a spec as the engine writes it."""

import itertools
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.runtime.interface import Limits, Runtime, TaskConfig, TaskState, TaskStatus
from drivers.runtime.seccomp import seccomp

BUSYBOX = Path("/bin/busybox")
APPLETS = ("sh", "cat", "echo", "sleep", "ls", "stty", "id", "head", "seq", "yes", "tty", "dd", "true", "kill", "mkdir")
MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/nosuchfile")
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
CAPABILITIES = ("CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE")
_numbers = itertools.count(1)


def new_id() -> str:
    return f"{os.getpid():08x}{next(_numbers):024x}{1:032x}"


def make_rootfs(path: Path) -> Path:
    for name in ("bin", "dev", "proc", "sys", "etc", "tmp"):
        (path / name).mkdir(parents=True)
    shutil.copy2(BUSYBOX, path / "bin/busybox")
    for name in APPLETS:
        (path / "bin" / name).symlink_to("busybox")
    (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:web:/srv:/bin/sh\n")
    (path / "etc/group").write_text("root:x:0:\nweb:x:102:\nlogs:x:44:web\n")
    return path


def spec(args: tuple[str, ...], **process: Any) -> dict[str, Any]:
    capabilities = list(CAPABILITIES)
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": list(args),
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1048576, "hard": 1048576}],
            **process,
        },
        "root": {"readonly": False},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "seccomp": seccomp("baseline", capabilities),
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
        },
    }


def task(rootfs: Path, *args: str, **changes: Any) -> TaskConfig:
    config = TaskConfig(
        id=new_id(),
        spec=spec(args),
        rootfs=rootfs,
        cgroup_parent="default",
        applied={"image": "busybox"},
        attempt=1,
        limits=Limits(pids=64),
        masked=MASKED,
        readonly=READONLY,
    )
    return replace(config, **changes)


def until(condition: Callable[[], Any], timeout: float = 10.0) -> Any:
    """Wait for something true and return it."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.005)
    return value


def stopped(runtime: Runtime, task_id: str, timeout: float = 10.0) -> TaskState:
    def look() -> TaskState | None:
        state = runtime.state(task_id)
        return state if state and state.status is TaskStatus.STOPPED else None

    found: TaskState = until(look, timeout)
    return found
