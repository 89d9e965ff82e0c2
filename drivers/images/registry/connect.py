"""Connections to hosts with several addresses: a dead one (IPv6 that leads nowhere) costs a quarter of a second."""

import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest

from drivers.images.registry.origin import Address, address
from drivers.images.registry.stop import Stop

_STAGGER = 0.25
"""RFC 8305, "Connection Attempt Delay"."""
_MAX_ADDRESSES = 16
_Candidate = tuple[int, tuple[str, int]]


def reach(host: str, port: int, timeout: float, stop: Stop, allowed: Callable[[Address], bool]) -> socket.socket:
    """Return a connected socket. Raises: OSError (TimeoutError, PermissionError: not an allowed address), Cancelled."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    candidates = [
        (family, (str(where[0]), int(where[1])))
        for family, _, _, _, where in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]
    permitted = [one for one in candidates if (parsed := address(one[1][0])) is not None and allowed(parsed)]
    if not permitted:
        raise PermissionError("its address is not one that registries may send us to")
    return _first(_interleaved(permitted)[:_MAX_ADDRESSES], timeout, stop)


def _interleaved(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    first = candidates[0][0]
    preferred = [one for one in candidates if one[0] == first]
    other = [one for one in candidates if one[0] != first]
    return list(filter(None, chain.from_iterable(zip_longest(preferred, other))))


def _first(candidates: list[_Candidate], timeout: float, stop: Stop) -> socket.socket:
    """Try one after another, each begun when the one before failed or has been given its time; the first wins."""
    deadline = time.monotonic() + timeout
    begin = 0.0
    error: OSError = TimeoutError("timed out")
    with selectors.DefaultSelector() as selector:
        try:
            while True:
                stop.check()
                now = time.monotonic()
                if candidates and now >= begin:
                    begin = now + _STAGGER
                    try:
                        _begin(selector, *candidates.pop(0))
                    except OSError as failure:
                        error, begin = failure, 0.0
                        continue
                if not selector.get_map() and not candidates:
                    raise error
                if now >= deadline:
                    raise TimeoutError("timed out")
                until = min(deadline, begin) if candidates else deadline
                for key, _ in selector.select(min(0.2, max(0.0, until - now))):
                    attempt = key.fileobj
                    assert isinstance(attempt, socket.socket)
                    selector.unregister(attempt)
                    code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not code:
                        return attempt
                    attempt.close()
                    error, begin = OSError(code, os.strerror(code)), 0.0
        finally:
            for key in list((selector.get_map() or {}).values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()


def _begin(selector: selectors.BaseSelector, family: int, where: tuple[str, int]) -> None:
    attempt = socket.socket(family, socket.SOCK_STREAM)
    try:
        attempt.setblocking(False)
        with suppress(BlockingIOError):
            attempt.connect(where)
        selector.register(attempt, selectors.EVENT_WRITE)
    except BaseException:
        attempt.close()
        raise
