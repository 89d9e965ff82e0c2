"""Sandboxes and probes in memory, for tests of what is above them. `break_loopback`, `scribble`, `reboot`, `listen` and
`hang` are what others do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from drivers.network.interface import ProbeAnswer, Sandbox, SandboxDriver, SandboxFiles
from drivers.network.sandbox.etcfiles import NAMES, HostFiles, contents
from drivers.network.sandbox.prober import checked_port, http_request, http_verdict
from resources.errors import InvalidArgument

_HOST = HostFiles(Path("/nonexistent"), Path("/nonexistent"), Path("/nonexistent"))


class FakeSandboxes:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        """Every writing call and its sandbox, in order."""
        self._sandboxes: dict[str, Sandbox] = {}
        self._contents: dict[str, Mapping[str, bytes]] = {}

    def create(self, sandbox_id: str, *, pid: int | None = None) -> Sandbox:
        del pid  # there is no process: the new one is as good
        self._called("create", sandbox_id)
        made = Sandbox(sandbox_id, Path("/fake/netns") / sandbox_id, True)
        self._sandboxes[sandbox_id] = made
        return made

    def inspect(self, sandbox_id: str) -> Sandbox | None:
        _checked(sandbox_id)
        if sandbox_id in self._sandboxes:
            return self._sandboxes[sandbox_id]
        return Sandbox(sandbox_id, None, True) if sandbox_id in self._contents else None

    def delete(self, sandbox_id: str) -> None:
        self._called("delete", sandbox_id)
        self._sandboxes.pop(sandbox_id, None)
        self._contents.pop(sandbox_id, None)

    def list(self) -> Sequence[str]:
        return sorted({*self._sandboxes, *self._contents})

    def write_files(self, sandbox_id: str, files: SandboxFiles) -> None:
        wanted = contents(files, _HOST)
        self._called("write_files", sandbox_id)
        self._contents[sandbox_id] = wanted

    def files(self, sandbox_id: str) -> Mapping[str, Path]:
        _checked(sandbox_id)
        return {name: Path("/fake/sandboxes") / sandbox_id / name for name in NAMES}

    def files_match(self, sandbox_id: str, files: SandboxFiles) -> bool:
        _checked(sandbox_id)
        return self._contents.get(sandbox_id) == contents(files, _HOST)

    def break_loopback(self, sandbox_id: str) -> None:
        self._sandboxes[sandbox_id] = replace(self._sandboxes[sandbox_id], loopback_up=False)

    def scribble(self, sandbox_id: str, name: str, content: bytes) -> None:
        self._contents[sandbox_id] = {**self._contents[sandbox_id], name: content}

    def reboot(self) -> None:
        self._sandboxes.clear()
        self._contents.clear()

    def _called(self, method: str, sandbox_id: str) -> None:
        self.calls.append((method, _checked(sandbox_id)))


class FakeProber:
    """Nothing listens anywhere until `listen` says so."""

    def __init__(self, sandboxes: SandboxDriver) -> None:
        self.probes: list[tuple[str | None, int, str | None]] = []
        """Every probe: sandbox, port, path (None for TCP)."""
        self._sandboxes = sandboxes
        self._statuses: dict[tuple[str | None, int], int | None] = {}

    def listen(self, sandbox: str | None, port: int, status: int = 200) -> None:
        self._statuses[sandbox, port] = status

    def hang(self, sandbox: str | None, port: int) -> None:
        """It takes connections and never answers."""
        self._statuses[sandbox, port] = None

    def refuse(self, sandbox: str | None, port: int) -> None:
        self._statuses.pop((sandbox, port), None)

    def http(self, sandbox: str | None, port: int, path: str, timeout: float) -> ProbeAnswer:
        del timeout
        http_request(port, path)
        self.probes.append((sandbox, port, path))
        if missing := self._missing(sandbox, port):
            return missing
        status = self._statuses[sandbox, port]
        return ProbeAnswer(False, "no answer in time") if status is None else http_verdict(status)

    def tcp(self, sandbox: str | None, port: int, timeout: float) -> ProbeAnswer:
        del timeout
        checked_port(port)
        self.probes.append((sandbox, port, None))
        return self._missing(sandbox, port) or ProbeAnswer(True, "connected")

    def _missing(self, sandbox: str | None, port: int) -> ProbeAnswer | None:
        if sandbox is not None:
            found = self._sandboxes.inspect(sandbox)
            if found is None or found.netns is None:
                return ProbeAnswer(False, "the sandbox has no network namespace")
        return None if (sandbox, port) in self._statuses else ProbeAnswer(False, "connection refused")


def _checked(sandbox_id: str) -> str:
    if len(sandbox_id) != 64 or set(sandbox_id) - set("0123456789abcdef"):
        raise InvalidArgument(f"{sandbox_id[:80]!r} is not a sandbox id: 64 hex digits are")
    return sandbox_id
