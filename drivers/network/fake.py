"""Sandboxes in memory, for tests of what is above them. `break_loopback`, `scribble` and `reboot` are what others do."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from drivers.network.etcfiles import NAMES, HostFiles, contents
from drivers.network.interface import Sandbox, SandboxFiles
from resources.errors import InvalidArgument

_HOST = HostFiles(Path("/nonexistent"), Path("/nonexistent"), Path("/nonexistent"))


class FakeSandboxes:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        """Every writing call and its sandbox, in order."""
        self._sandboxes: dict[str, Sandbox] = {}
        self._contents: dict[str, Mapping[str, bytes]] = {}

    def create(self, sandbox_id: str) -> Sandbox:
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


def _checked(sandbox_id: str) -> str:
    if len(sandbox_id) != 64 or set(sandbox_id) - set("0123456789abcdef"):
        raise InvalidArgument(f"{sandbox_id[:80]!r} is not a sandbox id: 64 hex digits are")
    return sandbox_id
