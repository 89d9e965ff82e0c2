"""`lading serve`: this process becomes the engine."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from controller import daemon, settings
from controller.cli import words
from controller.cli.server import dispatch
from controller.cli.server.listener import CommandServer
from resources.errors import EngineError

_SETTINGS = ("runtime", "workers", "resync-seconds", "log-format", "log-level")


def run(argv: Sequence[str], line: words.Line) -> int:
    try:
        given = dispatch.parse(argv)
        flags = {name.replace("-", "_"): given.text(name) for name in _SETTINGS if given.on(name)}
        if given.on("verbose"):
            flags.setdefault("log_level", "debug")
        found = settings.load(Path(line.root), Path(line.run_root), os.environ, flags)
    except EngineError as error:
        sys.stderr.write(dispatch.complaint(error))
        return dispatch.failure(error, "serve")
    # While there is one thread: neither whose folder nor whose mask this was started with is to matter.
    os.umask(0o022)
    if given.on("background"):
        os.chdir("/")
    code = daemon.serve(found, CommandServer)
    # Who started it in the background waits for the other one.
    return 1 if code == daemon.ANOTHER and not given.on("background") else code
