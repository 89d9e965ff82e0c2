"""A dockerd on a machine of the test: real, with all it has below the test's folder, and gone with it.

It has a mount namespace and a PID namespace of its own. The first keeps its containerd from one that runs here already, and
what they would change for the whole host from being changed: limits of keys, AppArmor profiles, files in /etc and /opt.
With the second nothing it started outlives it. Its containers are read from outside by the names of their network namespaces.
"""

import json
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from tests.leaks.mounts import cgroup_hierarchies, read_mounts
from tests.machines import Machine
from tests.networks import wait_for

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_START = """
mount -t tmpfs none /run
for folder in /etc /opt; do
  mkdir -p /run/over$folder /run/work$folder
  mount -t overlay -o lowerdir=$folder,upperdir=/run/over$folder,workdir=/run/work$folder none $folder
done
[ ! -d /sys/kernel/security ] || mount -t tmpfs none /sys/kernel/security
mount --bind /proc/sys/kernel/keys /proc/sys/kernel/keys
mount -o remount,bind,ro /proc/sys/kernel/keys
exec "$@"
"""
SERVER = """
answer='read question && echo -n "$NAME "'
nc -ll -p 81 -e sh -c "$answer" &
exec nc -ll -p 80 -e sh -c "$answer"
"""
"""Says its name to who asks at 80 and at 81."""


class Joined(Machine):
    """A machine in a network namespace that somebody else made."""

    def __init__(self, name: str, path: Path | str) -> None:
        self.name = name
        self.ipv4 = self.ipv6 = ""
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._stack = ExitStack()
        self._stack.callback(os.close, self.fd)


class Dockerd:
    """`options` are words for its command line, `tools` a folder with programs that it takes before those of this machine.
    It is started by `start`, as often as it has been stopped."""

    def __init__(self, machine: Machine, folder: Path, instance: str, *options: str, tools: Path | None = None) -> None:
        self._machine = machine
        self._folder = folder
        self._group = instance
        self._options = options
        self._path = f"{tools}:{_PATH}" if tools else _PATH
        self._process: subprocess.Popen[bytes] | None = None
        self._joined: list[Machine] = []
        folder.mkdir(mode=0o700)
        (folder / "daemon.json").write_text("{}")  # and none of this machine's

    def start(self) -> None:
        dockerd = shutil.which("dockerd", path=_PATH)
        assert dockerd, "no dockerd: run script/setup --dev first"
        here = self._folder
        with (here / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._machine.prefix,
                    *(
                        "unshare",
                        "--mount",
                        "--pid",
                        "--fork",
                        "--kill-child",
                        "--mount-proc",
                        "sh",
                        "-ec",
                        _START,
                        "-",
                    ),
                    *(dockerd, "--config-file", f"{here}/daemon.json", "--data-root", f"{here}/data"),
                    *("--exec-root", f"{here}/exec", "--pidfile", f"{here}/pid", "--host", f"unix://{here}/socket"),
                    *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self._group}"),
                    *("--storage-driver", "vfs", "--iptables=true", *self._options),
                ],
                env={**os.environ, "PATH": self._path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if not wait_for(self._answers, seconds=60):
            raise AssertionError((here / "log").read_text()[-3000:])

    def stop(self) -> None:
        """As a service manager does. Its containers end with it, and those that restart are back with the next start."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        for machine in self._joined:
            machine.close()
        # With the first process of its PID namespace all others end, and with the last its mounts and links.
        self._end(signal.SIGKILL)
        for hierarchy in cgroup_hierarchies(read_mounts()):
            for folder, _, _ in os.walk(Path(hierarchy, self._group), topdown=False):
                assert wait_for(partial(_removed, folder)), folder

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pid in _children(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()

    def __call__(self, *words: str) -> str:
        """A command of Docker's client."""
        answer = self._client(*words)
        assert answer.returncode == 0, f"docker {' '.join(words)}: {answer.stderr}"
        return answer.stdout.strip()

    def load(self, archive: Path, name: str) -> None:
        """An image out of one of ours, which are in a layout that this dockerd does not load."""
        made = self._folder / "image.tar"
        subprocess.run(
            ["skopeo", "copy", "--quiet", f"oci-archive:{archive}", f"docker-archive:{made}:{name}:latest"],
            check=True,
            timeout=60,
        )
        self("load", "--quiet", "--input", str(made))
        made.unlink()

    def run(self, name: str, image: str, *options: str) -> Machine:
        """A container that answers with its name at ports 80 and 81."""
        words = ("--restart", "always", "--stop-signal", "KILL", "--hostname", name, "--env", f"NAME={name}", *options)
        self("run", "--detach", "--name", name, *words, image, "/bin/sh", "-c", SERVER)
        return self.joined(name)

    def joined(self, name: str) -> Machine:
        """Where a container of that name is now."""
        found = self.inspect("container", name)["NetworkSettings"]
        (process,) = _children(self._running().pid)
        machine = Joined(name, f"/proc/{process}/root{found['SandboxKey']}")
        self._joined.append(machine)
        (network,) = found["Networks"].values()
        machine.ipv4, machine.ipv6 = network["IPAddress"], network["GlobalIPv6Address"]
        # It answers only once its server is there.
        assert wait_for(lambda: machine.ask("127.0.0.1", 81) is not None, seconds=10), name
        return machine

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        return dict(json.loads(self(kind, "inspect", name))[0])

    def subnets(self) -> list[str]:
        """Of all its networks."""
        names = self("network", "ls", "--quiet", "--filter", "driver=bridge").split()
        networks = json.loads(self("network", "inspect", *names))
        return [pool["Subnet"] for network in networks for pool in network["IPAM"]["Config"]]

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it is stopped"
        return self._process

    def _answers(self) -> bool:
        if self._running().poll() is not None:
            raise AssertionError((self._folder / "log").read_text()[-3000:])
        return (self._folder / "socket").exists() and self._client("version").returncode == 0

    def _client(self, *words: str) -> subprocess.CompletedProcess[str]:
        docker = shutil.which("docker", path=_PATH)
        assert docker, "no docker: run script/setup --dev first"
        settings = {"DOCKER_CONFIG": str(self._folder), "DOCKER_HOST": f"unix://{self._folder}/socket"}
        return subprocess.run(
            [docker, *words], env={"PATH": _PATH, **settings}, capture_output=True, text=True, timeout=60, check=False
        )


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _removed(group: str) -> bool:
    try:
        os.rmdir(group)
    except OSError:
        return False  # somebody in it is still ending
    return True
