"""Telling the neighbours of a link which MAC its addresses are at. Not told, they go on with what they know for half a minute."""

from drivers.network.netlink.links import change_link
from drivers.network.netlink.messages import Netlink
from drivers.network.netlink.settings import ipv6_setting, write_setting


def announce(kernel: Netlink, index: int, name: str, mac: str, *, ipv6: bool) -> None:
    """Give a link that is up its MAC, and be it the same again: the kernel then announces all its addresses, by gratuitous ARP
    and by unsolicited neighbour advertisements. For the namespace that the calling thread is in."""
    # Only for now: left on, it would have a link-local address announced when its check is done, and a port of a bridge that
    # sends back what came from it makes the kernel warn of somebody who has the same one.
    notify = ipv6_setting(name, "ndisc_notify")
    if ipv6:
        write_setting(notify, 1)
    try:
        kernel.do(
            f"cannot give the link {name} its MAC",
            change_link(index=index, settings={"arp_notify": 1}),
            change_link(index=index, mac=mac),
            change_link(index=index, settings={"arp_notify": 0}),
        )
    finally:
        if ipv6:
            write_setting(notify, 0)
