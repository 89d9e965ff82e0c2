"""logs: what containers have written; of several, each line with the name before it."""

import heapq
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from queue import Empty, Full, Queue
from typing import NamedTuple

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Flag, Verb
from controller.cli.text.clean import clean_bytes
from resources.errors import Cancelled, InvalidArgument
from resources.meta import Ref

_PIECE = 65536
_MOST = 100
"""Containers of one command: each followed takes a thread."""
_HELD = 64
"""Lines of several that are followed, between reading and writing."""
_LOOK_SECONDS = 0.1


class Line(NamedTuple):
    time: datetime
    name: str
    stream: str
    data: bytes


Stopped = Callable[[], bool]
Source = Callable[[Stopped], Iterator[Line]]


def logs(call: Call) -> int:
    refs = list(dict.fromkeys(call.container(word) for word in call.arguments.words))
    for ref in refs:
        call.found(ref)
    sources = [_source(call, ref) for ref in refs]
    width = max(len(ref.name) for ref in refs) if len(refs) > 1 else 0
    parts = (_shown(call, line, width) for line in _lines(call, sources))
    # Line by line only where the next one may be long in coming.
    for stream, data in parts if call.arguments.on("follow") else _gathered(parts):
        (call.session.err if stream == "stderr" else call.session.out)(data)
        if call.session.cancelled():
            raise Cancelled("interrupted")
    return 0


def _source(call: Call, ref: Ref) -> Source:
    tail, since = _tail(call), call.moment("since")

    def lines(stopped: Stopped) -> Iterator[Line]:
        found = call.backend.operations.logs(
            ref,
            tail=tail,
            since=since,
            follow=call.arguments.on("follow"),
            all_tasks=call.arguments.on("all"),
            stopped=stopped,
        )
        return (Line(time, ref.name, stream, data) for time, stream, data in found)

    return lines


def _lines(call: Call, sources: Sequence[Source]) -> Iterator[Line]:
    cancelled = call.session.cancelled
    if len(sources) == 1:
        return sources[0](cancelled)
    if call.arguments.on("follow"):
        return _as_they_come(sources, cancelled)
    return heapq.merge(*(source(cancelled) for source in sources), key=lambda line: line.time)


def _as_they_come(sources: Sequence[Source], cancelled: Stopped) -> Iterator[Line]:
    """A thread each; who writes faster than is read waits."""
    queue: Queue[Line | Exception | None] = Queue(_HELD)
    over = threading.Event()

    def put(what: Line | Exception | None) -> bool:
        while not over.is_set():
            try:
                queue.put(what, timeout=_LOOK_SECONDS)
            except Full:
                continue
            return True
        return False

    def read(source: Source) -> None:
        try:
            for line in source(over.is_set):
                if not put(line):
                    return
        except Exception as error:  # told by the thread that reads the queue
            put(error)
        finally:
            put(None)

    threads = [threading.Thread(target=read, args=(source,), name="logs", daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    left = len(threads)
    try:
        while left and not cancelled():
            try:
                got = queue.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
            if isinstance(got, Exception):
                raise got
            if got is None:
                left -= 1
            else:
                yield got
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _shown(call: Call, line: Line, width: int) -> tuple[str, bytes]:
    """With a `width`, its container's name before it, and a line of its own for what is none yet."""
    if call.arguments.text("output") == "json":
        said = {"time": line.time.isoformat(), "name": line.name, "stream": line.stream}
        text = json.dumps({**said, "data": line.data.decode("utf-8", "surrogateescape")})
        return "stdout", f"{text}\n".encode()
    name = f"{line.name:<{width}} | " if width else ""
    stamp = f"{line.time.isoformat(timespec='microseconds')} " if call.arguments.on("timestamps") else ""
    data = clean_bytes(line.data).encode() if call.session.stdout_tty else line.data
    end = b"\n" if width and not data.endswith(b"\n") else b""
    return line.stream, f"{name}{stamp}".encode() + data + end


def _gathered(parts: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Lines of one stream that follow one another, as one piece."""
    stream, gathered = "", bytearray()
    for next_stream, data in parts:
        if gathered and (next_stream != stream or len(gathered) > _PIECE):
            yield stream, bytes(gathered)
            gathered.clear()
        stream = next_stream
        gathered += data
    if gathered:
        yield stream, bytes(gathered)


def _tail(call: Call) -> int | None:
    text = call.arguments.text("tail", "all")
    if text == "all":
        return None
    if not text.isdecimal() or len(text) > 9:
        raise InvalidArgument(f"--tail {text[:40]!r} is no number of lines")
    return int(text)


VERBS = (
    Verb(
        "logs",
        "NAME …",
        "what containers have written",
        logs,
        (
            Flag("follow", "go on, over restarts too, until they are deleted", short="f"),
            Flag("tail", "only the last N lines of each", value="N"),
            Flag("since", "only from then on: 10m, or a time", value="T"),
            Flag("timestamps", "begin each line with its time", short="t"),
            Flag("all", "of earlier incarnations too"),
            Flag("output", "how to print", short="o", value="FORM", choices=("text", "json")),
        ),
        (1, _MOST),
        text="""Of several, each line begins with the name, in the order in which they were written, or with -f as they come.

  lading logs web          lading logs -f --tail 10 web db cache""",
    ),
)
