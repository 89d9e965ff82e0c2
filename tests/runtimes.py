"""Run a command on this machine as if it had one OCI runtime that works, so that whatever makes containers there uses that one.

    python -m tests.runtimes crun pytest tests/integration       # or runc, or other: the one not used here without being asked

It happens in a mount namespace of its own; the host stays as it is. crun 1.8 refuses cgroup hybrid with a v1 controller
unmounted: it looks for those in cgroup.controllers of the v2 tree, so it is shown an empty one. crun is tried first
anyway; for runc it is hidden. LADING_TEST_RUNTIME says to the tests which it is, and they do not begin with another.
"""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

from drivers.kernel.cgroup import Mode, detect
from drivers.runtime.choice import find
from drivers.runtime.oci import OciRuntime

NAMES = ("crun", "runc")
VARIABLE = "LADING_TEST_RUNTIME"
CHOSEN = os.environ.get(VARIABLE, "")
_SCRIPT = 'mount --bind /dev/null "$1" && shift && exec "$@"'


@cache
def refusal(name: str) -> str:
    """What an OCI runtime says when it is tried here; empty when it works."""
    if os.geteuid() != 0:
        return "needs root"
    used, reason = _tried(name)
    return "" if used == name else reason


def default() -> str:
    """The one that is used here by whoever asks for none."""
    return _tried(None)[0]


def _tried(preferred: str | None) -> tuple[str, str]:
    with tempfile.TemporaryDirectory(prefix="ld-") as folder:
        tried = OciRuntime(Path(folder) / "s", Path(folder) / "r", f"probe-{os.getpid()}", preferred)
        info = tried.info()
        tried.close()
    return info.name, info.reason


def other() -> str:
    """The one that is not used here unless it is asked for."""
    return next(name for name in NAMES if name != default())


def under(name: str, *command: str) -> tuple[list[str], dict[str, str]]:
    """The command that runs this one with that runtime, and its environment."""
    environment = {**os.environ, VARIABLE: name}
    hidden = _in_the_way(name)
    if hidden is None:
        return [*command], environment
    return ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", str(hidden), *command], environment


def _in_the_way(name: str) -> Path | None:
    if name == "runc":
        return find("crun")
    hierarchies = detect()
    refused = hierarchies.mode is Mode.HYBRID and hierarchies.unified and refusal("crun")
    return hierarchies.unified / "cgroup.controllers" if hierarchies.unified and refused else None


if __name__ == "__main__":
    wanted, *words = sys.argv[1:]
    if wanted not in (*NAMES, "other") or not words:
        sys.exit("say which OCI runtime (crun, runc, other) and a command")
    program, variables = under(other() if wanted == "other" else wanted, *words)
    os.execvpe(program[0], program, variables)
