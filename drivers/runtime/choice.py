"""Which OCI runtime runs here: found by trying, since versions and mount tables do not tell.

crun starts faster, but crun 1.8 refuses a cgroup hybrid host unless every v1 controller is mounted; runc does not. The
finding is remembered for this boot and these binaries, so that it costs once what one small container costs.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from drivers.kernel.cgroup import Cgroup, Hierarchies
from drivers.kernel.durable import write_atomic
from drivers.kernel.process import boot_id
from drivers.runtime.conmon import ENVIRONMENT
from drivers.runtime.interface import RuntimeInfo
from drivers.runtime.record import read_json
from resources.errors import Unavailable

_ORDER = ("crun", "runc")
_PLACES = ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin")
_ISSUES = {
    "crun": (
        ((1, 27), "CVE-2026-30892 (exec -u): avoided, numeric ids are used"),
        ((1, 28), "CVE-2026-47766 (mount races): the /dev check before create and the mount check before start guard"),
    ),
    "runc": (
        ((1, 1, 14), "CVE-2024-45310 (creates empty files on the host)"),
        ((1, 2, 8), "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881 (masked paths): mounts are verified before start"),
        ((1, 3, 6), "CVE-2026-41579: the /dev check before create guards"),
    ),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    name: str
    path: Path
    identity: tuple[int, int, int]
    """Inode, size and time of change: another version is another file."""


def find(name: str) -> Path | None:
    for place in _PLACES:
        path = Path(place) / name
        if os.access(path, os.X_OK) and path.is_file():
            return path
    return None


def choose(run_root: Path, instance: str, hierarchies: Hierarchies, preferred: str | None) -> RuntimeInfo:
    """Try the candidates in order and return the first that runs a container.

    Raises: Unavailable when none does, with what each said and what to install.
    """
    names = [preferred, *(n for n in _ORDER if n != preferred)] if preferred else list(_ORDER)
    found = {name: _candidate(name) for name in names}
    candidates = [candidate for candidate in found.values() if candidate]
    memory = run_root / "runtime.json"
    key = json.dumps(
        {
            "boot": boot_id(),
            "candidates": [[c.name, str(c.path), *c.identity] for c in candidates],
            "cgroups": [hierarchies.mode, sorted(hierarchies.controllers)],
        }
    )
    remembered = read_json(memory)
    if remembered.get("key") == key:
        for candidate in candidates:
            if candidate.name == remembered.get("name"):
                return _info(candidate, str(remembered.get("version")), str(remembered.get("reason")))
    refusals: list[str] = []
    for name, tried in found.items():
        if tried is None:
            refusals.append(f"{name} is not installed")
            continue
        version = _version(tried)
        said = try_out(tried, run_root, instance, hierarchies)
        if said is None:
            reason = "; ".join(refusals) if refusals else "preferred"
            run_root.mkdir(mode=0o700, parents=True, exist_ok=True)
            finding = {"key": key, "name": tried.name, "version": version, "reason": reason}
            write_atomic(memory, json.dumps(finding).encode())
            return _info(tried, version, reason)
        refusals.append(f"{tried.name} {version}: {said}")
    raise Unavailable(
        f"no OCI runtime works here: {'; '.join(refusals)}", hint="install crun or runc; see `lading doctor`"
    )


def _candidate(name: str) -> Candidate | None:
    path = find(name)
    if path is None:
        return None
    status = path.stat()
    return Candidate(name, path, (status.st_ino, status.st_size, status.st_mtime_ns))


def _version(candidate: Candidate) -> str:
    try:
        result = subprocess.run(
            [str(candidate.path), "--version"], capture_output=True, env=ENVIRONMENT, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    match = re.search(rb"version (\S+)", result.stdout)
    return match[1].decode(errors="replace") if match else "unknown"


def _info(candidate: Candidate, version: str, reason: str) -> RuntimeInfo:
    number = tuple(int(n) for n in re.findall(r"\d+", version.split("+")[0])[:3])
    issues = [text for fixed, text in _ISSUES.get(candidate.name, ()) if number < fixed]
    return RuntimeInfo(candidate.name, candidate.path, version, reason, tuple(issues))


def try_out(candidate: Candidate, run_root: Path, instance: str, hierarchies: Hierarchies) -> str | None:
    """Create a container whose process is never started; None when that works, else what was said.

    Nothing of any image is run: the executable is a file of ours that only has to be found.
    """
    run_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="probe-", dir=run_root))
    name = scratch.name
    group = Cgroup(hierarchies, f"/{instance}/{name}")
    try:
        for directory in ("dev", "proc", "sys", "etc"):
            (scratch / "rootfs" / directory).mkdir(parents=True)
        program = scratch / "rootfs" / "probe"
        program.write_bytes(b"")
        program.chmod(0o755)
        (scratch / "config.json").write_text(json.dumps(_spec(group.path)))
        command = [str(candidate.path), f"--root={scratch}/oci", "create", f"--bundle={scratch}", name]
        # To files: the waiting init keeps the runtime's streams open, and a pipe would never end.
        with open(scratch / "said", "wb") as said:
            result = subprocess.run(
                command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=30, check=False
            )
        return None if result.returncode == 0 else _message((scratch / "said").read_bytes())
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        group.kill(2.0)
        with contextlib.suppress(ExceptionGroup):
            group.remove()
        Cgroup(hierarchies, f"/{instance}").remove_if_empty()
        shutil.rmtree(scratch, ignore_errors=True)


def _message(said: bytes) -> str:
    text = " ".join(said.decode(errors="replace").split())[:400] or "no message"
    if "hybrid mode" in text:
        text += " (it refuses cgroup hybrid mode unless every v1 controller is mounted)"
    return text


def _spec(cgroup: str) -> dict[str, object]:
    namespaces = [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": ["/probe"],
            "cwd": "/",
            "env": [],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "probe",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        ],
        "linux": {"cgroupsPath": cgroup, "namespaces": namespaces, "resources": {"pids": {"limit": 8}}},
    }
