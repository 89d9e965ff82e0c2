"""The oracle as tests use it: one scope, one look before and one after."""

import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.leaks.model import Leak, Scope, Store, ours
from tests.leaks.mounts import read_mounts
from tests.leaks.processes import read_processes
from tests.leaks.snapshots import settled, snapshot

# Every name we make in the kernel begins with this; which engine it belongs to is told by what follows.
PREFIX = "lading"


class TestRuns:
    """Knows whether other test runs are going on here: their leftovers carry our prefix too."""

    __test__ = False

    def __init__(self) -> None:
        self._file = open(Path(tempfile.gettempdir(), "lading-tests.lock"), "a")  # noqa: SIM115
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def alone(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            fcntl.flock(self._file, fcntl.LOCK_SH)
        return True

    def close(self) -> None:
        self._file.close()


class Oracle:
    def __init__(self, token: str, runs: TestRuns, *, strict: bool = False) -> None:
        self.instance = "t" + token
        self._runs = runs
        self._scope = Scope(marks=(self.instance,), token=token, strict=strict, watched=(os.getpid(),))
        self._alone = runs.alone()
        self._before = snapshot(self._scope)

    def own(self, root: Path, *, mark: str = "") -> None:
        """Whatever names a path below this folder, or has this mark in its name, was made by this test."""
        marks = (mark,) if mark else ()
        self._scope = replace(self._scope, roots=(*self._scope.roots, root), marks=(*self._scope.marks, *marks))

    def compare(self, store: Store) -> None:
        """At the end, the folder must hold what its records say and nothing else."""
        self._scope = replace(self._scope, stores=(*self._scope.stores, store))

    def leaks(self, *, within: float = 5.0) -> list[Leak]:
        alone = self._alone and self._runs.alone()
        scope = replace(self._scope, prefixes=(PREFIX,)) if alone else self._scope
        leaks = settled(self._before, scope, within=within)
        return [leak for leak in leaks if leak.what != self._lock_file()]

    @staticmethod
    def _lock_file() -> str:
        return str(Path(tempfile.gettempdir(), "lading-tests.lock"))

    def sweep(self) -> None:
        """After a failure: end our processes and undo our mounts, so that the next test starts clean."""
        for pid in ours(read_processes(), self._scope):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for mount in reversed(read_mounts()):
            if any(Path(mount.target).is_relative_to(root) for root in self._scope.roots):
                subprocess.run(["umount", "-l", mount.target], check=False, capture_output=True)
