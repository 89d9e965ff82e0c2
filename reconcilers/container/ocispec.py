"""From a Container to config.json (PURE): the OCI runtime spec, v1.0.2, but for root path and cgroup, which the runtime
driver fills in.

Everything that had to be looked up (user, paths, contents) comes in as `Resolved`; nothing of an image or a label ever
becomes an annotation, since runtimes read some as instructions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.images.interface import ImageConfig
from reconcilers.container import hardening
from resources.container import ContainerSpec
from resources.container_parts import Mount
from resources.errors import FailedPrecondition, InvalidArgument

INIT = "/dev/init"
"""Where the init is bound: on a file system that is not the image's."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SeccompProfile = Callable[[str, Sequence[str]], Mapping[str, Any]]
"""(name of the profile, capabilities) -> `linux.seccomp` of the spec."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What of the world the spec needs."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    image: ImageConfig
    env: Mapping[str, str] = field(default_factory=dict)
    """Values of the manifest's env, secrets and configs opened."""
    sources: Mapping[str, Path] = field(default_factory=dict)
    """Host path of each mount that has one, by its target."""
    anonymous: tuple[str, ...] = ()
    """Targets of the volumes that the image asks for; their paths are in `sources`."""
    netns: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    """`hostname`, `hosts`, `resolv.conf`."""
    shared: Mapping[str, Path] = field(default_factory=dict)
    """Namespaces of other tasks to join: `pid`, `ipc` -> path."""
    init: Path | None = None
    """A static init to run under."""
    masked: tuple[str, ...] = hardening.MASKED


def process_args(spec: ContainerSpec, image: ImageConfig) -> tuple[str, ...]:
    """Entrypoint and command as Docker joins them: an entrypoint of the manifest's drops the image's command.

    Raises: FailedPrecondition when there is nothing to run.
    """
    entrypoint = image.entrypoint if spec.entrypoint is None else spec.entrypoint
    command = spec.command
    if command is None:
        command = image.command if spec.entrypoint is None else ()
    args = (*entrypoint, *command)
    if not args:
        raise FailedPrecondition(
            "there is nothing to run: neither image nor manifest name a command", hint="set command"
        )
    return args


def environment(spec: ContainerSpec, resolved: Resolved, hostname: str) -> list[str]:
    found = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname, "HOME": resolved.home or "/"}
    if spec.tty:
        found["TERM"] = "xterm"
    found |= resolved.image.env
    found |= dict(sorted(resolved.env.items()))  # another order in the manifest is no difference
    for name, value in found.items():
        if "\0" in value:
            raise InvalidArgument(f"env.{name}: holds a NUL character")
    return [f"{name}={value}" for name, value in found.items()]


def hostname(spec: ContainerSpec, name: str) -> str:
    return spec.hostname or name[:63].rstrip("-.")


def oci_spec(spec: ContainerSpec, resolved: Resolved, seccomp: SeccompProfile) -> dict[str, Any]:
    """Raises: InvalidArgument naming the field, FailedPrecondition."""
    security = spec.security
    caps = hardening.capabilities(security)
    held = list(caps) if resolved.uid == 0 else []
    if security.run_as_non_root and resolved.uid == 0:
        raise FailedPrecondition("security.runAsNonRoot: the user resolves to root", hint="set user")
    own_uts = spec.uts == "private"
    name = hostname(spec, resolved.name)
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": spec.tty,
            "user": {"uid": resolved.uid, "gid": resolved.gid, "additionalGids": list(resolved.groups), "umask": 0o022},
            "args": [*((INIT, "--") if resolved.init else ()), *process_args(spec, resolved.image)],
            "env": environment(spec, resolved, name),
            "cwd": spec.working_dir or resolved.image.working_dir or "/",
            "capabilities": {"bounding": list(caps), "effective": held, "permitted": held},
            "noNewPrivileges": hardening.no_new_privileges(security),
            "oomScoreAdj": spec.resources.oom_score_adj,
            "rlimits": _rlimits(spec),
        },
        "root": {"readonly": security.read_only_root},
        **({"hostname": name} if own_uts else {}),
        "mounts": [
            *hardening.kernel_mounts(spec.shm_size),
            *_init(resolved),
            *_mounts(spec, resolved),
        ],
        "linux": {
            "namespaces": _namespaces(spec, resolved),
            "resources": {"devices": hardening.devices()},
            "sysctl": hardening.sysctls(
                security.sysctls, own_network=resolved.netns is not None, own_ipc=spec.ipc == "private"
            ),
            **({} if security.seccomp == "unconfined" else {"seccomp": seccomp(security.profile, caps)}),
            "maskedPaths": list(resolved.masked),
            "readonlyPaths": list(hardening.READONLY),
        },
    }


def _rlimits(spec: ContainerSpec) -> list[dict[str, Any]]:
    limits = {"core": (0, 0), **{name.lower(): (limit.soft, limit.hard) for name, limit in spec.ulimits.items()}}
    unlimited = 2**64 - 1
    return [
        {
            "type": f"RLIMIT_{name.upper()}",
            "soft": unlimited if soft < 0 else soft,
            "hard": unlimited if hard < 0 else hard,
        }
        for name, (soft, hard) in sorted(limits.items())
    ]


def _namespaces(spec: ContainerSpec, resolved: Resolved) -> list[dict[str, str]]:
    found: list[dict[str, str]] = [{"type": "mount"}]
    for kind, mode in (("pid", spec.pid), ("ipc", spec.ipc), ("uts", spec.uts), ("cgroup", spec.cgroupns)):
        if kind in resolved.shared:
            found.append({"type": kind, "path": str(resolved.shared[kind])})
        elif mode == "private":
            found.append({"type": kind})
    if resolved.netns is not None:
        found.append({"type": "network", "path": str(resolved.netns)})
    return found


def _files(resolved: Resolved) -> list[dict[str, Any]]:
    return [
        {"destination": f"/etc/{name}", "type": "bind", "source": str(path), "options": ["rbind", "rprivate"]}
        for name, path in sorted(resolved.files.items())
    ]


def _init(resolved: Resolved) -> list[dict[str, Any]]:
    if resolved.init is None:
        return []
    options = ["rbind", "rprivate", "nosuid", "nodev", "ro"]
    return [{"destination": INIT, "type": "bind", "source": str(resolved.init), "options": options}]


def _mounts(spec: ContainerSpec, resolved: Resolved) -> list[dict[str, Any]]:
    found = [
        *_files(resolved),
        *(_mount(mount, resolved) for mount in spec.mounts),
        *(_bind(target, resolved, "rprivate") for target in resolved.anonymous),
    ]
    # Parents before what is mounted below them.
    return sorted(found, key=lambda mount: str(mount["destination"]).count("/"))


def _mount(mount: Mount, resolved: Resolved) -> dict[str, Any]:
    if any(mount.target == root or mount.target.startswith(f"{root}/") for root in ("/proc", "/sys", "/dev")):
        raise InvalidArgument(f"mounts: the target {mount.target} lies in a kernel file system")
    if mount.tmpfs is not None:
        size = [f"size={mount.tmpfs.size}"] if mount.tmpfs.size is not None else []
        options = ["nosuid", "nodev", f"mode={mount.tmpfs.mode:04o}", *size, *(["ro"] if mount.read_only else [])]
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    readonly = mount.read_only or mount.source in ("secret", "config", "image")
    return _bind(mount.target, resolved, mount.propagation, "ro" if readonly else "rw")


def _bind(target: str, resolved: Resolved, propagation: str, access: str = "rw") -> dict[str, Any]:
    return {
        "destination": target,
        "type": "bind",
        "source": str(resolved.sources[target]),
        "options": ["rbind", propagation, "nosuid", "nodev", access],
    }
