"""The host's own resolvers, as /etc/resolv.conf has them now."""

import os
from socket import AF_INET, AF_INET6, inet_pton

RESOLV_CONF = "/etc/resolv.conf"
_MAX_SIZE = 64 * 1024
_MAX_SERVERS = 3
_LOOK_AGAIN = 0.5
"""Seconds: one stat in that time is enough."""


class HostServers:
    def __init__(self, path: str = RESOLV_CONF) -> None:
        self._path = path
        self._looked = float("-inf")
        self._stamp: tuple[int, int, int] | None = None
        self._servers: tuple[str, ...] = ()

    def current(self, now: float) -> tuple[str, ...]:
        if now - self._looked >= _LOOK_AGAIN:
            self._looked = now
            self._look()
        return self._servers

    def _look(self) -> None:
        try:
            status = os.stat(self._path)
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return
            with open(self._path, "rb") as file:
                self._servers = nameservers(file.read(_MAX_SIZE))
            self._stamp = stamp
        except OSError:
            return  # half way of being replaced: what it said last holds


def nameservers(text: bytes) -> tuple[str, ...]:
    """At most three, as the C library takes them; this machine itself when there are none."""
    found: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == b"nameserver":
            address = words[1].decode("ascii", "replace")
            if _is_address(address):
                found.append(address)
    return tuple(found[:_MAX_SERVERS]) or ("127.0.0.1",)


def _is_address(text: str) -> bool:
    family, host = (AF_INET6, text.partition("%")[0]) if ":" in text else (AF_INET, text)
    try:
        inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True
