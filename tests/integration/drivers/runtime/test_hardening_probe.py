"""The whole default hardening, asked of the kernel from inside a container of each profile, under each OCI runtime."""

import json
import os
import platform
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.images.interface import ImageConfig
from drivers.runtime.interface import Limits, TaskConfig
from drivers.runtime.oci import OciRuntime
from drivers.runtime.seccomp import seccomp
from reconcilers.container import hardening
from reconcilers.container.ocispec import Resolved, oci_spec
from resources.container import ContainerSpec
from tests.tasks import new_id, stopped

pytestmark = pytest.mark.host
NEW_USER, NEW_NET = 0x10000000, 0x40000000
# Numbers of x86_64, and arguments that do nothing where the call is let through.
REFUSED = {
    "mount": [165], "umount2": [166], "pivot_root": [155], "fsopen": [430], "fsconfig": [431, -1], "fsmount": [432, -1],
    "fspick": [433, -1], "open_tree": [428, -1], "move_mount": [429, -1], "mount_setattr": [442, -1],
    "unshare a user": [272, NEW_USER], "unshare a network": [272, NEW_NET], "setns": [308, -1],
    "clone a user": [56, NEW_USER], "io_uring_setup": [425], "io_uring_enter": [426, -1], "io_uring_register": [427, -1],
    "keyctl": [250], "add_key": [248], "request_key": [249], "bpf": [321], "perf_event_open": [298],
    "userfaultfd": [323], "kexec_load": [246, 0, 99], "kexec_file_load": [320, -1, -1], "swapon": [167],
    "swapoff": [168], "reboot": [169], "init_module": [175], "finit_module": [313, -1], "delete_module": [176],
    "iopl": [172, 9], "ioperm": [173, -1, -1], "acct": [163, 1], "settimeofday": [164, 1], "clock_settime": [227, 99],
    "quotactl": [179], "open_by_handle_at": [304, -1], "fanotify_init": [300, -1], "syslog": [103, -1],
    "sethostname": [170, 1, 65], "setdomainname": [171, 1, 65], "vhangup": [153], "kcmp": [312], "mbind": [237],
    "set_mempolicy": [238, 99], "get_mempolicy": [239], "pidfd_getfd": [438, -1], "process_madvise": [440, -1],
    "nfsservctl": [180], "_sysctl": [156], "uselib": [134], "lookup_dcookie": [212],
}  # fmt: skip
# Refused by its argument alone, which crun can only answer with the errno of what is unknown.
OTHER_PERSONALITY = {"another personality": [135, 0x40000]}
UNKNOWN = {"clone3": [435], "one of the future": [600]}
LET_THROUGH = {
    "cachestat": [451, -1], "fchmodat2": [452, -1],
    "futex_wake": [454, 0, 0, 0, -1], "openat2": [437, -1], "pidfd_open": [434, -1], "close_range": [436, 9, 8],
    "landlock_create_ruleset": [444, 0, 0, 1], "statx": [332, -1], "copy_file_range": [326, -1], "memfd_create": [319],
    "ptrace": [101, 99], "name_to_handle_at": [303, -1], "rseq": [334], "membarrier": [324, 99], "chroot": [161],
    "personality": [135, 0xFFFFFFFF], "clone a process": [56, 0x10000], "getrandom": [318, 0, 0, 99],
}  # fmt: skip
# libseccomp has to know a name to let it through; before that the C library is told to use the older call.
TOO_NEW = {"mseal": [462, -1], "statmount": [457], "listmount": [458]}
FAMILIES = {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16}
NO_FAMILIES = {"alg": 38, "vsock": 40}
OWN_DEVICES = {"null", "zero", "full", "random", "urandom", "tty"}
MADE = {
    "disk": (stat.S_IFBLK | 0o600, (7, 0)),
    "tun": (stat.S_IFCHR | 0o600, (10, 200)),
    "fuse": (stat.S_IFCHR, (10, 229)),
}
WRITE = (
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/core_pattern",
    "/proc/irq/default_smp_affinity",
)
SYSCTLS = {
    "/proc/sys/net/ipv4/ping_group_range": ["0", "2147483647"],
    "/proc/sys/net/ipv4/ip_unprivileged_port_start": ["0"],
    "/proc/sys/net/core/somaxconn": ["77"],
}
Probe = Callable[..., dict[str, Any]]


@pytest.fixture
def probe(runtime: OciRuntime, rootfs: Path) -> Iterator[Probe]:
    """Run the probe in a container of such a spec, with the host's Python, and return what it found."""
    for name in ("lib", "lib64"):
        (rootfs / name).symlink_to(f"usr/{name}")
    (rootfs / "nodes").mkdir()
    shutil.copy2(Path(__file__).with_name("probe.py"), rootfs)
    for node in Path("/dev").iterdir():
        status = node.lstat()
        if (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)) and "watchdog" not in node.name:
            os.mknod(rootfs / "nodes" / node.name, status.st_mode, status.st_rdev)
    for name, (mode, device) in MADE.items():
        os.mknod(rootfs / "nodes" / f"made-{name}", mode, os.makedev(*device))
    own = "ns-" + new_id()[:24]
    subprocess.run(["ip", "netns", "add", own], check=True)

    def run(**fields: Any) -> dict[str, Any]:
        asked = {
            "calls": {
                **REFUSED,
                **UNKNOWN,
                **TOO_NEW,
                **OTHER_PERSONALITY,
                **{f"ok {name}": call for name, call in LET_THROUGH.items()},
            },
            "families": {name: [number] for name, number in {**FAMILIES, **NO_FAMILIES}.items()},
            "make": {name: [mode, os.makedev(*device)] for name, (mode, device) in MADE.items()},
            "write": WRITE,
            "read": hardening.MASKED,
            "sysctls": list(SYSCTLS),
        }
        (rootfs / "asked.json").write_text(json.dumps(asked))
        runtime.create(made := config(rootfs, Path("/run/netns") / own, **fields))
        runtime.start(made.id)
        end = stopped(runtime, made.id, 60)
        assert end.exit_code == 0, (runtime.state(made.id), [path.read_text() for path in rootfs.glob("out*")])
        found: dict[str, Any] = json.loads((rootfs / "out.json").read_text())
        return found

    yield run
    subprocess.run(["ip", "netns", "delete", own], check=True)


def config(rootfs: Path, netns: Path, **fields: Any) -> TaskConfig:
    spec = ContainerSpec.parse(
        {
            "image": "probe",
            "networks": [{"name": "none"}],
            "mounts": [{"bind": "/usr", "target": "/usr", "readOnly": True}],
            "command": ["/usr/bin/python3", "-IS", "/probe.py"],
            **fields,
        }
    )
    resolved = Resolved(
        name="probe",
        uid=0,
        gid=0,
        groups=(),
        home="/root",
        image=ImageConfig(),
        sources={"/usr": Path("/usr")},
        netns=netns,
    )
    made = oci_spec(spec, resolved, seccomp)
    masked, readonly = tuple(made["linux"]["maskedPaths"]), tuple(made["linux"]["readonlyPaths"])
    return TaskConfig(
        new_id(), made, rootfs, "default", {}, attempt=1, limits=Limits(pids=2048), masked=masked, readonly=readonly
    )


def options(found: dict[str, Any], path: str) -> set[str]:
    return set(found["mounts"][path].split(","))


def test_the_baseline_from_inside(probe: Probe) -> None:
    found = probe(security={"sysctls": {"net.core.somaxconn": "77"}})
    status = found["status"]
    assert [int(status[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Bnd", "Inh", "Amb")] == [0x800405FB] * 3 + [0, 0]
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert found["descriptors"] == ["0", "1", "2"]
    for line in found["limits"].splitlines():
        if line.startswith("Max core file size"):
            assert line.split()[4:6] == ["0", "0"]
    # Of all device files of the host these alone can be opened, whoever made them.
    assert {name for name, answer in found["nodes"].items() if answer != "EPERM"} <= {*OWN_DEVICES, "console", "ptmx"}
    assert set(found["made"].values()) == {"EPERM"}
    for path in ("/proc", "/sys", "/sys/fs/cgroup", "/dev/pts"):
        assert {"nosuid", "noexec"} <= options(found, path), path
    for path in ("/proc", "/sys", "/dev/shm", "/dev/mqueue"):
        assert {"nosuid", "noexec", "nodev"} <= options(found, path), path
    assert "nosuid" in options(found, "/dev")
    assert {"ro", "nosuid", "nodev"} <= options(found, "/usr")
    kernel = {path for path, words in found["mounts"].items() if words.split(",")[0] in ("cgroup", "cgroup2")}
    assert kernel
    for path in {"/sys", *(path for path in hardening.READONLY if Path(path).exists()), *kernel}:
        assert "ro" in options(found, path), path
    assert {answer for path, answer in found["written"].items()} <= {"EROFS", "EACCES", "EPERM", "ENOENT"}
    assert set(found["read"].values()) == {0}
    assert all(entries == [] for entries in found["listed"].values())
    assert found["sysctls"] == SYSCTLS


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the table has the numbers of x86_64")
@pytest.mark.parametrize("profile", ["baseline", "compat"])
def test_system_calls(probe: Probe, profile: str) -> None:
    found = probe(security={"profile": profile, "sysctls": {"net.core.somaxconn": "77"}})
    calls = found["calls"]
    assert {name: calls[name] for name in REFUSED if calls[name] != "EPERM"} == {}
    assert {name: calls[name] for name in UNKNOWN} == dict.fromkeys(UNKNOWN, "ENOSYS")
    assert "EPERM" not in {calls[name] for name in TOO_NEW}
    assert {calls[name] for name in OTHER_PERSONALITY} <= {"EPERM", "ENOSYS"}
    allowed = {name: calls[f"ok {name}"] for name in LET_THROUGH}
    assert {name: answer for name, answer in allowed.items() if answer in ("EPERM", "ENOSYS", "died")} == {}
    assert {name: found["families"][name] for name in FAMILIES} == dict.fromkeys(FAMILIES, "ok")
    assert not [name for name in NO_FAMILIES if found["families"][name] == "ok"]


def test_who_may_make_device_files_may_not_open_them(probe: Probe) -> None:
    found = probe(security={"profile": "compat", "sysctls": {"net.core.somaxconn": "77"}})
    assert found["status"]["NoNewPrivs"] == "0"
    assert int(found["status"]["CapEff"], 16) == 0xA80425FB
    assert set(found["made"].values()) == {"ok"}
    assert set(found["used"].values()) == {"EPERM"}
    assert {name for name, answer in found["nodes"].items() if answer != "EPERM"} <= {*OWN_DEVICES, "console", "ptmx"}
