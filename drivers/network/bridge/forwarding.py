"""Whether the host hands on packets at all: one setting a family for the whole host, which nobody of us ever takes back,
since others may have come to rely on it.
"""

from drivers.network.interface import NetworkConfig
from drivers.network.netlink.settings import ipv6_setting, links_with_ipv6_settings, read_setting, write_setting
from resources.errors import Unsupported

_SETTINGS = {"ipv4": "ipv4/ip_forward", "ipv6": "ipv6/conf/all/forwarding"}


def forwarded_families(config: NetworkConfig) -> list[str]:
    """Those the network needs; one without a way out needs none."""
    if config.internal:
        return []
    versions = {"ipv6" if ":" in pool.subnet else "ipv4" for pool in config.pools}
    return sorted(versions)


def enabled_families() -> list[str]:
    return [family for family, name in _SETTINGS.items() if read_setting(name) == "1"]


def enable_forwarding(family: str) -> None:
    """Only once there are rules that say what may be forwarded."""
    if family == "ipv6":
        _go_on_with_advertised_routes()
    if not write_setting(_SETTINGS[family], 1):
        raise Unsupported(f"this kernel has no {family}", hint="give the network subnets of the other family alone")


def _go_on_with_advertised_routes() -> None:
    """A host that forwards takes no more default routes from routers, and would lose its own; 2 is "nevertheless"."""
    for link in links_with_ipv6_settings():
        name = ipv6_setting(link, "accept_ra")
        if read_setting(name) == "1":
            write_setting(name, 2)
