"""Run inside the machine, before a reboot and after it: an engine whose state is on a disk that outlives the machine.

python -m tests.vm.engine before|after
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent.parent
ROOT = Path("/run/disk/lading")
CGROUPS = Path("/sys/fs/cgroup")
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
# Each start of a container writes a line.
COUNT = 'echo "$0 $(cat /proc/sys/kernel/random/boot_id)" >>/data/starts; '
MANIFEST = f"""
apiVersion: lading/v1
kind: Image
metadata: {{name: busybox}}
spec: {{from: {{archive: {CHECKOUT}/.cache/images/busybox.tar}}}}
---
apiVersion: lading/v1
kind: Volume
metadata: {{name: starts}}
spec: {{driver: local}}
"""
CONTAINER = """---
apiVersion: lading/v1
kind: Container
metadata: {{name: {name}}}
spec:
  image: {{name: busybox}}
  command: [sh, -c, {command}, {name}]
  networks: [none]
  mounts: [{{volume: starts, target: /data}}]
  stop: {{signal: SIGKILL}}
  restart: {restart}
  resources: {{memory: {memory}, cpus: 0.5, pids: 50}}
"""


def manifest(memory: str = "64Mi") -> str:
    sleeps = json.dumps(COUNT + "exec sleep 1000000")
    ends = json.dumps(COUNT + "exit 0")
    made = {
        "always": (sleeps, "always"),
        "stopped": (sleeps, "unless-stopped"),
        "never": (sleeps, "never"),
        "job": (ends, "on-failure"),
    }
    return MANIFEST + "".join(
        CONTAINER.format(name=name, command=command, restart=restart, memory=memory)
        for name, (command, restart) in made.items()
    )


def serve() -> None:
    """Emulation is slower than a command that starts an engine is patient."""
    ROOT.mkdir(exist_ok=True)
    with (ROOT / "log").open("ab") as log:
        command = ["lading", "--root", str(ROOT), "serve"]
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 300
    while not Path("/run/lading/command.sock").exists():
        if engine.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the engine did not start:\n{(ROOT / 'log').read_text()}")
        time.sleep(0.5)


def lading(*words: str, stdin: str | None = None) -> str:
    command = ["lading", "--root", str(ROOT), *words]
    answer = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(f"{' '.join(command)} ended with {answer.returncode}\n{answer.stdout}{answer.stderr}")
    return answer.stdout


def status(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lading("get", "container", name, "-o", "json"))["status"]
    return found


def expect(what: str, actual: object, wanted: object) -> None:
    if actual != wanted:
        sys.exit(f"{what}: {actual!r}, not {wanted!r}")
    print(f"ok: {what}: {actual!r}", flush=True)


def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"not within two minutes: {what}\n{lading('get', 'all')}")
        time.sleep(0.5)
    print(f"ok: {what}", flush=True)


def group(pid: int) -> Path:
    line = Path(f"/proc/{pid}/cgroup").read_text().strip()
    return CGROUPS / line.removeprefix("0::/")


def runs(name: str) -> bool:
    """Now, that is: until the engine has looked, a status is what was true before the reboot."""
    found = status(name)
    return name in starts() and found["phase"] == "Running" and Path(f"/proc/{found['pid']}/cgroup").exists()


def starts() -> list[str]:
    """Who was started, in this boot."""
    lines = [line.split() for path in ROOT.rglob("starts") if path.is_file() for line in path.read_text().splitlines()]
    return sorted(name for name, boot in lines if boot == BOOT)


def check_limits(pid: int, memory: int) -> None:
    at = group(pid)
    for file, wanted in (
        ("memory.max", str(memory)),
        ("memory.swap.max", "0"),
        ("pids.max", "50"),
        ("cpu.max", "50000 100000"),
    ):
        expect(file, (at / file).read_text().strip(), wanted)


def before() -> None:
    serve()
    lading("apply", "-f", "-", stdin=manifest())
    pid = status("always")["pid"]
    check_limits(pid, 64 << 20)
    expect("starts", starts(), ["always", "job", "never", "stopped"])
    lading("apply", "-f", "-", stdin=manifest("96Mi"))
    expect("the pid after a hot change", status("always")["pid"], pid)
    check_limits(pid, 96 << 20)
    lading("pause", "always")
    expect("cgroup.freeze", (group(pid) / "cgroup.freeze").read_text().strip(), "1")
    lading("resume", "always")
    lading("stop", "stopped")
    expect("phases", phases(), {"always": "Running", "stopped": "Stopped", "never": "Running", "job": "Completed"})
    print("acknowledged", flush=True)


def phases() -> dict[str, str]:
    items = json.loads(lading("get", "container", "-o", "json"))["items"]
    return {item["metadata"]["name"]: item["status"]["phase"] for item in items}


def after() -> None:
    """Nothing is applied: all the engine knows is on the disk."""
    serve()
    until("what always runs, runs", lambda: runs("always"))
    check_limits(status("always")["pid"], 96 << 20)
    until("what never restarts has ended", lambda: phases()["never"] not in ("Running", "Pending"))
    expect("what was completed", phases()["job"], "Completed")
    expect("started in this boot", starts(), ["always"])
    expect("what was stopped by hand", phases()["stopped"], "Stopped")
    again = lading("apply", "-f", "-", "--no-wait", stdin=manifest("96Mi")).splitlines()
    expect("apply again", again[0], "nothing to change")
    lading("start", "stopped", "never")
    expect("started in this boot", starts(), ["always", "never", "stopped"])
    lading("delete", "--all", "--data")
    expect("what is left", json.loads(lading("get", "all", "-o", "json"))["items"], [])
    lading("shutdown")


if __name__ == "__main__":
    {"before": before, "after": after}[sys.argv[1]]()
