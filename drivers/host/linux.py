"""The real host. Facts are read from /proc and /sys where they tell the truth, and found by trying where they do not."""

import contextlib
import grp
import os
import platform
import re
import resource
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from drivers.host.findings import GROUP
from drivers.host.interface import CgroupFacts, Facts, Finding, Installed, RuntimeFacts, SpaceFacts, Tool
from drivers.host.packages import install
from drivers.kernel.cgroup import Mode, detect
from drivers.kernel.mount import mount, mounts, overlay_by_layer, unmount
from drivers.network.bridge.trial import lacking, obstacles
from drivers.runtime.choice import choose, find
from drivers.snapshots.interface import Mount
from resources.errors import EngineError

_TOOLS = ("crun", "runc", "conmon", "nft", "ip", "tini-static")
_VERSION = {"ip": "-V"}
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"}
_PROGRAM = Path(__file__).resolve().parent.parent


class LinuxHost:
    """`root` and `run_root` are where the engine's state is, or will be; nothing is left in either. `instance` is the engine's,
    by which its links are called."""

    def __init__(self, root: Path, run_root: Path, instance: str) -> None:
        self._instance = instance
        self._root = root.absolute()
        self._run_root = run_root.absolute()

    def facts(self) -> Facts:
        is_root = os.geteuid() == 0
        place = _nearest(self._root)
        return Facts(
            root_user=is_root,
            kernel=platform.release(),
            architecture=platform.machine(),
            cgroup=_cgroup(),
            runtime=_runtime() if is_root else RuntimeFacts(reason="trying one needs root"),
            tools={name: _tool(name) for name in _TOOLS},
            namespaces=frozenset(name for name in os.listdir("/proc/self/ns") if not name.endswith("_for_children")),
            overlay_error=_try_overlay(place) if is_root else "",
            overlay_by_layer=is_root and overlay_by_layer(),
            space=_space(place),
            open_files=_open_files(),
            seccomp=_text("/proc/sys/kernel/seccomp/actions_avail") != "",
            apparmor=_text("/sys/module/apparmor/parameters/enabled").startswith("Y"),
            user_namespaces=int(_text("/proc/sys/user/max_user_namespaces") or 0),
            run_file_system=_file_system(_nearest(self._run_root)),
            clock_behind=_clock_behind(),
            group=_group(),
            network_errors=lacking() if is_root else {},
            obstacles=tuple(obstacles(self._instance)) if is_root else (),
        )

    def install(self, findings: Sequence[Finding]) -> Installed:
        return install(findings)


def _nearest(path: Path) -> Path:
    """The path itself, or the folder above it that is there already."""
    return next(candidate for candidate in (path, *path.parents) if candidate.is_dir())


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _cgroup() -> CgroupFacts:
    try:
        found = detect()
    except EngineError:
        return CgroupFacts("")
    # What no v1 hierarchy has taken is left to the v2 tree of a hybrid host.
    left = _text(f"{found.unified}/cgroup.controllers").split() if found.mode is Mode.HYBRID else []
    return CgroupFacts(found.mode.value, frozenset(found.controllers), tuple(left))


def _runtime() -> RuntimeFacts:
    with tempfile.TemporaryDirectory(prefix="ld-") as folder:
        try:
            # Under a name and in a place of its own: an engine that runs is not disturbed.
            found = choose(Path(folder), f"lading-doctor-{secrets.token_hex(4)}", detect(), None)
        except EngineError as error:
            return RuntimeFacts(reason=error.message.removeprefix("no OCI runtime works here: "))
    return RuntimeFacts(found.name, found.version, found.reason, found.known_issues)


def _tool(name: str) -> Tool:
    path = find(name)
    if path is None:
        return Tool(name)
    said = _run([str(path), _VERSION.get(name, "--version")])
    match = re.search(r"(?:version|nftables)\D{0,9}(\d\S*)|iproute2-(\d\S*)", said)
    return Tool(name, path, (match[1] or match[2]).rstrip(",") if match else "")


def _run(words: list[str]) -> str:
    try:
        answer = subprocess.run(
            words, capture_output=True, text=True, errors="replace", env=_ENVIRONMENT, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (answer.stdout + answer.stderr).strip()


def _try_overlay(place: Path) -> str:
    try:
        scratch = Path(tempfile.mkdtemp(prefix="ld-doctor-", dir=place))
    except OSError as error:
        return f"{place} cannot be written: {error.strerror}"
    try:
        for name in ("a", "b", "upper", "work", "merged"):
            (scratch / name).mkdir()
        options = (f"upperdir={scratch}/upper", f"workdir={scratch}/work")
        overlay = Mount("overlay", "overlay", options, (scratch / "a", scratch / "b"))
        mount(overlay, scratch / "merged")
        try:
            (scratch / "merged" / "written").touch()
        finally:
            unmount(scratch / "merged")
    except (EngineError, OSError) as error:
        return f"no overlay can be mounted on {place}: {error}"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return ""


def _space(place: Path) -> SpaceFacts:
    status = os.statvfs(place)
    size = status.f_frsize
    return SpaceFacts(str(place), status.f_bavail * size, status.f_blocks * size, status.f_favail, status.f_files)


def _open_files() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard if hard != resource.RLIM_INFINITY else 1 << 30


def _file_system(place: Path) -> str:
    """The type of the last mount at or above the place: later ones hide earlier ones."""
    real = os.path.realpath(place)
    above = [m for m in mounts() if real == m.target or real.startswith(m.target.rstrip("/") + "/")]
    longest = max((len(m.target) for m in above), default=0)
    return [m.type for m in above if len(m.target) == longest][-1] if above else "unknown"


def _clock_behind() -> float:
    newest = max((path.stat().st_mtime for path in _PROGRAM.rglob("*.py")), default=0.0)
    return max(0.0, newest - time.time())


def _group() -> str | None:
    with contextlib.suppress(KeyError):
        return " ".join(grp.getgrnam(GROUP).gr_mem)
    return None
