"""A client's terminal joined to a stream: output one way on this thread, input and sizes the other on two more.

Input is asked for piece by piece (MORE), and a process that does not read blocks only the thread that writes to it: a
client that leaves, or presses Ctrl-C, is noticed whatever the process does.
"""

import os
import queue
import select
import signal
import threading
from collections.abc import Callable

from controller.cli.wire import frames
from controller.interface import Stream
from resources.errors import Cancelled, EngineError

Send = Callable[..., None]
NextFrame = Callable[[], tuple[bytes, bytes]]
_OUTPUTS = {"stdout": frames.OUT, "stderr": frames.ERR}


class Joined:
    def __init__(self, stream: Stream, send: Send, next_frame: NextFrame, *, stdin: bool) -> None:
        self._stream = stream
        self._send = send
        self._next_frame = next_frame
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._left: type[Exception] | None = None
        self._input: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._wanted = stdin
        threads = [self._listen, *([self._write] if stdin else [])]
        self._threads = [threading.Thread(target=run, name="joined", daemon=True) for run in threads]

    def run(self) -> int:
        """Until the stream ends (its exit code) or the user leaves (0). Raises: Cancelled when the client has gone."""
        for thread in self._threads:
            thread.start()
        try:
            if not self._pass_output():
                if self._left is Cancelled:
                    raise Cancelled("interrupted")
                return 0
            return self._stream.wait()
        finally:
            self._end()

    def _pass_output(self) -> bool:
        """Tell whether it ended by itself."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._stream.fileno(), select.POLLIN)
        while self._left is None:
            ready = dict(poll.poll())
            if self._wake in ready:
                break
            got = self._stream.read()
            if got is None:
                return True
            for at in range(0, len(got[1]), frames.CHUNK):
                self._send(_OUTPUTS[got[0]], got[1][at : at + frames.CHUNK])
        return False

    def _listen(self) -> None:
        try:
            while True:
                kind, payload = self._next_frame()
                if kind == frames.ANSWER:  # to LEAVE
                    return
                if kind == frames.DETACH:
                    self._leave(EOFError)
                elif kind == frames.SIZE:
                    rows, columns = frames.unpack(payload)
                    self._stream.resize(int(rows), int(columns))
                elif kind == frames.INPUT and self._wanted:
                    self._wanted = False
                    self._input.put(payload)
                else:
                    raise frames.Broken("this was not asked for")
        except (Cancelled, EngineError, frames.Broken):
            self._leave(Cancelled)
            # Whatever waits for the process need not; an attached task goes on.
            self._stream.kill(signal.SIGKILL)

    def _write(self) -> None:
        try:
            self._more()
            while (data := self._input.get()) is not None:
                if not data:
                    self._stream.close_stdin()
                    return
                self._stream.write(data)
                self._more()
        except EngineError:  # it does not read any more, or the client has gone
            return

    def _more(self) -> None:
        self._wanted = True
        self._send(frames.MORE)

    def _leave(self, why: type[Exception]) -> None:
        self._left = self._left or why
        os.eventfd_write(self._wake, 1)

    def _end(self) -> None:
        self._input.put(None)
        try:
            if self._left is not Cancelled:
                self._send(frames.LEAVE)
        finally:
            self._threads[0].join()
            os.close(self._wake)
