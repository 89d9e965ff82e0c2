"""Health probes from inside a sandbox: the socket is made in its network namespace, no process is.

Only the status of an HTTP answer counts, so the answer is read by hand: no header is believed, no redirect followed, no
text of the container repeated. One deadline holds for all of it.
"""

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from drivers.kernel.namespaces import Namespace, run_in
from drivers.network.interface import ProbeAnswer, SandboxDriver
from resources.errors import InvalidArgument

_MAX_ANSWER = 64 * 1024
_LINGER = 0.05
"""How long the rest of an answer is waited for: a server whose answer is cut off would log it at every probe."""
_PLACES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_BLANK = re.compile(r"[\0-\x20\x7f]")


class SandboxProber:
    def __init__(self, sandboxes: SandboxDriver) -> None:
        self._sandboxes = sandboxes

    def http(self, sandbox: str | None, port: int, path: str, timeout: float) -> ProbeAnswer:
        request = http_request(port, path)
        deadline = time.monotonic() + timeout
        try:
            with self._connected(sandbox, port, deadline) as connection:
                connection.sendall(request)
                return _verdict(connection, deadline)
        except OSError as error:
            return ProbeAnswer(False, _reason(error))

    def tcp(self, sandbox: str | None, port: int, timeout: float) -> ProbeAnswer:
        checked_port(port)
        try:
            with self._connected(sandbox, port, time.monotonic() + timeout):
                return ProbeAnswer(True, "connected")
        except OSError as error:
            return ProbeAnswer(False, _reason(error))

    @contextmanager
    def _connected(self, sandbox: str | None, port: int, deadline: float) -> Iterator[socket.socket]:
        for number, (family, address) in enumerate(_PLACES):
            connection = self._socket(sandbox, family)
            with connection:
                try:
                    _connect(connection, address, port, deadline)
                except OSError as error:
                    # What says that nobody listens there; a timeout leaves nothing for a second try.
                    if number or isinstance(error, TimeoutError):
                        raise
                    continue
                yield connection
                return

    def _socket(self, sandbox: str | None, family: socket.AddressFamily) -> socket.socket:
        def make() -> socket.socket:
            return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)

        if sandbox is None:
            return make()
        found = self._sandboxes.inspect(sandbox)
        if found is None or found.netns is None:
            raise OSError(errno.ENONET, "")
        try:
            namespace = os.open(found.netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return run_in(namespace, Namespace.NETWORK, make)
            finally:
                os.close(namespace)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):  # deleted meanwhile
                raise OSError(errno.ENONET, "") from error
            raise


def http_request(port: int, path: str) -> bytes:
    """Raises: InvalidArgument for what would not be one request line."""
    checked_port(port)
    if not path.startswith("/") or _BLANK.search(path):
        raise InvalidArgument(f"{path[:80]!r} is not the path of a URL", hint="it begins with / and has no blanks")
    target = quote(path, safe="/%?&=:;,@!$'()*+~#[]-._").partition("#")[0]
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: localhost:{port}",
        "User-Agent: lading",
        "Accept: */*",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode("ascii")


def http_verdict(status: int) -> ProbeAnswer:
    return ProbeAnswer(200 <= status < 400, f"HTTP {status}")


def checked_port(port: int) -> None:
    if not 0 < port < 65536:
        raise InvalidArgument(f"{port} is not a port: 1 to 65535 are")


def _connect(connection: socket.socket, address: str, port: int, deadline: float) -> None:
    connection.settimeout(_left(deadline))
    connection.connect((address, port))
    if connection.getsockname()[:2] == connection.getpeername()[:2]:
        # The kernel chose the very port as ours, and TCP met itself.
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def _verdict(connection: socket.socket, deadline: float) -> ProbeAnswer:
    answer = b""
    while True:
        head = _HEAD_END.search(answer)
        if head and (status := _STATUS.match(answer)) and int(status[1]) < 200:
            answer = answer[head.end() :]  # an interim answer: the real one follows
            continue
        if head and status:
            _finish(connection, len(answer), deadline)
            return http_verdict(int(status[1]))
        if head or (len(answer) > 12 and not answer.startswith((b"HTTP/1.0 ", b"HTTP/1.1 "))):
            return ProbeAnswer(False, "not an HTTP answer")
        if len(answer) > _MAX_ANSWER:
            return ProbeAnswer(False, f"the head of the HTTP answer has more than {_MAX_ANSWER >> 10} KiB")
        connection.settimeout(_left(deadline))
        data = connection.recv(8192)
        if not data:
            return ProbeAnswer(False, "the connection was closed without a complete answer")
        answer += data


def _finish(connection: socket.socket, count: int, deadline: float) -> None:
    deadline = min(deadline, time.monotonic() + _LINGER)
    try:
        while count < _MAX_ANSWER:
            connection.settimeout(_left(deadline))
            data = connection.recv(8192)
            if not data:
                return
            count += len(data)
    except OSError:
        return  # the verdict stands


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    return left


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if error.errno == errno.ENONET:
        return "the sandbox has no network namespace"
    return os.strerror(error.errno or errno.EIO).lower()
