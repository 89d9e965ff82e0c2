"""Netlink sockets where others may send to them: whoever has CAP_NET_ADMIN in a namespace can, in that namespace."""

import errno
import socket
import struct

import pytest

from drivers.network.netlink.links import get_link, read_link
from drivers.network.netlink.messages import Netlink

pytestmark = pytest.mark.host

_ERROR = 2


def test_a_message_of_another_process_is_not_taken_for_the_kernels() -> None:
    with Netlink() as link, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as liar:
        link.ask(get_link("lo"))
        port, _ = link._socket.getsockname()
        for sequence in range(1, 10):
            refusal = struct.pack("=IHHIIi", 36, _ERROR, 0, sequence, 0, -errno.EPERM) + bytes(16)
            liar.sendto(refusal, (port, 0))
        (answer,) = link.ask(get_link("lo"))
        assert answer.error == 0
        assert read_link(answer.replies[0]).name == "lo"
