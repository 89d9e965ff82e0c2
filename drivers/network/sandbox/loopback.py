"""The loopback link of the namespace a thread is in. Its addresses come with it when it is brought up, and may be taken off."""

import errno

from drivers.network.netlink.links import Link, change_link, find_links, get_link
from drivers.network.netlink.messages import Netlink
from drivers.network.netlink.routes import LIMIT, add_address, addresses_of

_INDEX = 1
"""Of `lo` in every network namespace."""
_IPV4, _IPV6 = "127.0.0.1/8", "::1/128"


def raise_loopback() -> None:
    """Raises: EngineError."""
    with Netlink() as kernel:
        kernel.do("cannot bring up the loopback link", change_link(index=_INDEX, up=True))
        link, missing = _look(kernel)
        if link is not None and missing:
            added = (add_address(_INDEX, address, host=True) for address in missing)
            kernel.do("cannot give the loopback link its addresses", *added, fine=(errno.EEXIST,))


def loopback_is_up() -> bool:
    """With its addresses, of the families this namespace has."""
    with Netlink() as kernel:
        link, missing = _look(kernel)
        return link is not None and link.up and not missing


def _look(kernel: Netlink) -> tuple[Link | None, list[str]]:
    (link,) = find_links(kernel, get_link(index=_INDEX))
    if link is None:
        return None, []
    there = addresses_of(kernel, _INDEX)
    # One that is not found among so many may be there: adding it again does no harm.
    wanted = [_IPV4, *([_IPV6] if link.settings.get("disable_ipv6") == 0 else [])]
    missing = {*wanted} - {one.value for one in there}
    return link, [] if len(there) >= LIMIT else [address for address in wanted if address in missing]
