"""The link of the host that leads to the rest of the world."""

from drivers.network.netlink.links import get_link, read_link
from drivers.network.netlink.messages import Netlink
from drivers.network.netlink.routes import link_of_route, way_to

_FAR_AWAY = ("198.41.0.4", "2001:503:ba3e::2:30")
"""Of a root name server: nothing is sent there, but the way to it is the default route, if there is one."""


def uplink_mtu(kernel: Netlink) -> int | None:
    for destination in _FAR_AWAY:
        (way,) = kernel.ask(way_to(destination))
        if way.replies and (index := link_of_route(way.replies[0].body)):
            (answer,) = kernel.ask(get_link(index=index))
            if answer.replies:
                return read_link(answer.replies[0]).mtu
    return None
