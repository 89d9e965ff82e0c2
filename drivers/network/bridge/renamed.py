"""Links of ours that somebody gave another name: they are known by their alias, and get their name again."""

import errno
from collections.abc import Sequence
from dataclasses import replace

from drivers.network.arguments import shown
from drivers.network.netlink.links import (
    Link,
    Port,
    change_link,
    change_port,
    delete_link,
    find_links,
    get_link,
    list_links,
)
from drivers.network.netlink.messages import Netlink
from drivers.network.netlink.routes import LIMIT
from resources.errors import Conflict


def strays(kernel: Netlink, kind: str, name: str, alias: str) -> list[Link]:
    """All that are the link of this name, but for one that has it."""
    return [link for link in list_links(kernel, kind=kind) if link.alias == alias and link.name != name]


def stray_port(host: Netlink, sandbox: Netlink, alias: str) -> Link | None:
    """The host's end of a pair whose other end is in this sandbox, whatever it is called. There are few links in a sandbox,
    and many on the host. What a sandbox says of its links is not believed; the alias of the other end is."""
    inside = list_links(sandbox, kind="veth", limit=LIMIT)
    ends = find_links(host, *(get_link(index=link.peer) for link in inside))
    for link, end in zip(inside, ends, strict=True):
        if end and end.kind == "veth" and end.peer == link.index and end.alias == alias:
            return end
    return None


def call_again(host: Netlink, link: Link, name: str) -> Link:
    """Before 6.1 a kernel gives no other name to a link that is up: whoever mends it brings it up again."""
    rename = change_link(index=link.index, name=name)
    (answer,) = host.ask(rename)
    if answer.error == errno.EBUSY:
        down, answer = host.ask(change_link(index=link.index, down=True), rename)
        link = replace(link, up=bool(down.error))
    if answer.error == errno.EEXIST:
        raise Conflict(f"the host has another link {name}, the name that {shown(link.name)} needs")
    if answer.error:
        raise answer.failure(f"cannot call the link {shown(link.name)} {name} again")
    return replace(link, name=name)


def merge(host: Netlink, bridge: Link, others: Sequence[Link], port: Port) -> None:
    """The others' ports become ports of the bridge, and they go."""
    for other in others:
        ports = list_links(host, master=other.index)
        moves = [change_link(index=one.index, master=bridge.index) for one in ports]
        shapes = [change_port(port, index=one.index) for one in ports]
        gone = (errno.ENODEV,)
        host.do(f"cannot move the ports of {shown(other.name)} to {bridge.name}", *moves, *shapes, fine=gone)
        host.do(f"cannot delete the link {shown(other.name)}", delete_link(other.index), fine=gone)
