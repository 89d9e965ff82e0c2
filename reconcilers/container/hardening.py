"""What a container is denied unless its manifest says otherwise: tables and the pure functions over them (PURE).

Capabilities, masked and read-only paths and devices of moby, containerd and containers-common, put together.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from resources.container_parts import Security
from resources.errors import InvalidArgument

BASELINE = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
)
COMPAT = (*BASELINE, "CAP_MKNOD", "CAP_NET_RAW", "CAP_AUDIT_WRITE")
PROFILES: Mapping[str, tuple[str, ...]] = {"baseline": BASELINE, "compat": COMPAT, "restricted": ()}
ALL = (
    *COMPAT,
    "CAP_DAC_READ_SEARCH",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_LEASE",
    "CAP_AUDIT_CONTROL",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
"""null zero full random urandom tty console ptmx pts/*"""

_SYSCTL_VALUE = re.compile(r"[0-9 \t-]{1,128}")
_SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
_SYSCTL_NAME = re.compile(r"[a-z0-9_]+(\.[a-zA-Z0-9_-]+)+")


def capabilities(security: Security) -> tuple[str, ...]:
    """The profile's, less `drop`, plus `add`, in the kernel tables' order. Raises: InvalidArgument."""
    add = [_capability(name) for name in security.capabilities.add]
    drop = [_capability(name) for name in security.capabilities.drop]
    held = set() if "ALL" in drop else set(PROFILES[security.profile]) - set(drop)
    held |= set(ALL) - set(drop) if "ALL" in add else set(add)
    return tuple(name for name in ALL if name in held)


def _capability(name: str) -> str:
    folded = name.upper()
    if folded == "ALL":
        return folded
    folded = folded if folded.startswith("CAP_") else f"CAP_{folded}"
    if folded not in ALL:
        raise InvalidArgument(f"security.capabilities: there is no capability {name[:64]!r}")
    return folded


def no_new_privileges(security: Security) -> bool:
    if security.no_new_privileges is not None:
        return security.no_new_privileges
    return security.profile != "compat"


def devices() -> list[dict[str, Any]]:
    """The device cgroup: deny everything, then the nodes every container has."""
    allowed: list[dict[str, Any]] = [
        {"allow": True, "type": "c", "major": major, "access": "rwm", **({} if minor is None else {"minor": minor})}
        for major, minor in _DEVICES
    ]
    return [{"allow": False, "access": "rwm"}, *allowed]


def sysctls(asked: Mapping[str, str], *, own_network: bool, own_ipc: bool) -> dict[str, str]:
    """Defaults and what is asked for, refused where it would reach out of the container. Raises: InvalidArgument."""
    found: dict[str, str] = {}
    if own_network:
        found = {"net.ipv4.ping_group_range": "0 2147483647", "net.ipv4.ip_unprivileged_port_start": "0"}
    for name, value in asked.items():
        network = name.startswith("net.")
        if _SYSCTL_NAME.fullmatch(name) is None or not (network or name in _SYSCTLS or name.startswith("fs.mqueue.")):
            raise InvalidArgument(f"security.sysctls: {name[:128]!r} is not a sysctl a container has for itself")
        if network and not own_network:
            raise InvalidArgument(f"security.sysctls: {name}: the network is not the container's own")
        if not network and not own_ipc:
            raise InvalidArgument(f"security.sysctls: {name}: the ipc namespace is not the container's own")
        if _SYSCTL_VALUE.fullmatch(value) is None:
            raise InvalidArgument(f"security.sysctls: {name}: a value is digits, spaces and '-'")
        found[name] = value
    return found


def kernel_mounts(shm_size: int) -> Sequence[Mapping[str, Any]]:
    """The mounts every container has before any of its own. The cgroup mount is read-only."""
    safe = ["nosuid", "noexec", "nodev"]
    return (
        {"destination": "/proc", "type": "proc", "source": "proc", "options": safe},
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
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*safe, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*safe, "relatime", "ro"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": safe},
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": [*safe, "mode=1777", f"size={shm_size}"],
        },
    )
