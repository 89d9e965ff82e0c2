"""A reconciler's loop on a real host: threads for its jobs, the files of a folder as what clients have sent."""

import hashlib
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controller.jobs import ThreadJobs
from reconcilers.interface import Context, Diff, Reconciler
from resources.meta import Ref, Status
from resources.object import Object
from tests.unit.reconcilers.engines import FolderInputs

DEADLINE = 120


class ThreadedLoop:
    """Set `reconciler` before anything is looked at."""

    reconciler: Reconciler[Any, Any]

    def __init__(self, base: Path) -> None:
        (base / "inputs").mkdir(parents=True, exist_ok=True)
        self.inputs = FolderInputs(base / "inputs")
        self._ended = threading.Event()
        self.jobs = ThreadJobs({"images": 2, "pulls": 2, "io": 2}, lambda _key: self._ended.set())
        self.dependencies: Mapping[Ref, Object] = {}

    def take(self, source: Path) -> str:
        """Have a file sent; return its digest."""
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        path = self.inputs.folder / digest
        if not path.exists():
            path.symlink_to(source)
        return f"sha256:{digest}"

    def context(self) -> Context:
        return Context(datetime.now(UTC), self.dependencies)

    def look(self, item: Object) -> Diff[Any]:
        context = self.context()
        return self.reconciler.diff(item, self.reconciler.observe(item.key, item, context), context)

    def status(self, item: Object) -> Status:
        context = self.context()
        return self.reconciler.status(item, self.reconciler.observe(item.key, item, context), context)

    def converge(self, *items: Object) -> list[Diff[Any]]:
        """Until nothing is to be done and no job runs."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            self._ended.clear()
            busy = self.jobs.running() > 0
            diffs = [self.look(item) for item in items]
            for action in (action for diff in diffs for action in diff.actions):
                self.reconciler.act(action)
            if any(diff.actions for diff in diffs):
                continue
            if not busy and not any(diff.wake_at for diff in diffs):
                return diffs
            self._ended.wait(0.2)
        raise TimeoutError([diff.waiting for diff in diffs])

    def end(self) -> None:
        self.jobs.close()
        until = time.monotonic() + DEADLINE
        while self.jobs.running() and time.monotonic() < until:
            time.sleep(0.01)
