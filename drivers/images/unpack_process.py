"""Run unpack_worker for one layer, from a thread of the engine."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import resources.errors
from drivers.images.extract import Extracted, NeedsLower
from drivers.images.layer import LayerJob
from drivers.images.limits import Limits
from resources.errors import EngineError, Unavailable

_WORKER = Path(__file__).with_name("unpack_worker.py")


class UnpackProcess:
    """One worker. `kill` may be called from any thread; `run` then raises."""

    def __init__(self, job: LayerJob, limits: Limits) -> None:
        layer: dict[str, Any] = {**asdict(job), "blob": str(job.blob), "directory": str(job.directory)}
        lower = layer.pop("lower")
        self._digest = job.digest
        self._job = {
            "layer": layer,
            "lower": None if lower is None else [str(path) for path in lower],
            "limits": asdict(limits),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def run(self, progress: Callable[[int], None] | None) -> Extracted:
        """Raises: what the layer raises there; Unavailable when the process dies."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(self._job).encode() + b"\n")
                self._process.stdin.flush()
            for line in self._process.stdout:
                message = json.loads(line)
                if "progress" in message:
                    if progress:
                        progress(message["progress"])
                    continue
                return _result(message)
            raise Unavailable(
                f"layer {self._digest}: the process that unpacked it died",
                hint="out of memory, or killed; it is tried again",
            )
        finally:
            self.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    pipe.close()

    def kill(self) -> None:
        self._process.kill()


def _result(message: dict[str, Any]) -> Extracted:
    if message.get("needs_lower"):
        raise NeedsLower
    if "error" in message:
        kind = getattr(resources.errors, message["error"], EngineError)
        raise kind(message["message"], hint=message["hint"])
    done = message["done"]
    return Extracted(**{**done, "dropped_xattrs": Counter(done["dropped_xattrs"])})
