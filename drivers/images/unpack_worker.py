"""A process that unpacks one layer: a job as one JSON line on stdin, progress and result as JSON lines on stdout.

It ends when stdin does, so none outlives an engine that was killed.
"""

import json
import os
import resource
import sys
import threading
from dataclasses import asdict
from pathlib import Path

if not __package__:
    # Run by path, isolated from environment and working directory: the tree it belongs to is found from its own place.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from drivers.images.extract import NeedsLower
from drivers.images.layer import LayerJob, unpack_layer
from drivers.images.limits import Limits
from resources.errors import EngineError

_MEMORY = 4 << 30
_STEP = 4 << 20


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY if hard < 0 else min(_MEMORY, hard), hard))
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    lower = job["lower"]
    layer = LayerJob(
        **{
            **job["layer"],
            "blob": Path(job["layer"]["blob"]),
            "directory": Path(job["layer"]["directory"]),
            "lower": None if lower is None else tuple(map(Path, lower)),
        }
    )
    told = 0

    def progress(done: int) -> None:
        nonlocal told
        if done - told >= _STEP:
            told = done
            _say({"progress": done})

    try:
        result = unpack_layer(layer, progress, Limits(**job["limits"]))
    except NeedsLower:
        _say({"needs_lower": True})
    except EngineError as error:
        _say({"error": type(error).__name__, "message": error.message, "hint": error.hint})
    except MemoryError:
        _say({"error": "ResourceExhausted", "message": f"layer {layer.digest}: out of memory", "hint": ""})
    else:
        _say({"done": asdict(result)})
    return 0


def _end_with_stdin() -> None:
    # Not sys.stdin: its lock would be held at exit.
    while os.read(0, 4096):
        pass
    os._exit(1)


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
