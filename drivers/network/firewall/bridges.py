"""The bridges of this host, whoever made them. They are listed again only when the kernel told of a link."""

import errno
import socket

from drivers.network.netlink.links import list_links
from drivers.network.netlink.messages import Netlink
from resources.errors import Unavailable

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_LINKS = 1
"""The group of those who are told of links (RTNLGRP_LINK)."""


class Bridges:
    """In the network namespace of the thread that makes it. Not for several threads at once."""

    def __init__(self) -> None:
        self._kernel = Netlink()
        self._names: frozenset[bytes] | None = None
        try:
            self._news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
            self._news.bind((0, 0))  # one without a number is not told of what the kernel does by itself
        except OSError as error:
            self._kernel.close()
            raise _failure(error) from error

    def close(self) -> None:
        self._news.close()
        self._kernel.close()

    def names(self) -> frozenset[bytes]:
        # What changes after this look is told at the next one.
        if self._changed() or self._names is None:
            self._names = None
            self._names = frozenset(link.name.encode() for link in list_links(self._kernel, kind="bridge"))
        return self._names

    def _changed(self) -> bool:
        told = False
        try:
            if self._names is None:
                self._news.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _LINKS)
            while True:
                told = self._is_told() or told
        except BlockingIOError:
            return told
        except OSError as error:
            raise _failure(error) from error

    def _is_told(self) -> bool:
        try:
            return bool(self._news.recv(1, socket.MSG_DONTWAIT))
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return True  # more than there was room for


def _failure(error: OSError) -> Unavailable:
    return Unavailable(f"cannot watch the links of this host: {error.strerror}")
