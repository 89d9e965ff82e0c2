"""What the host has of IPv6."""

from pathlib import Path

_SETTINGS = Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6")


def local_ipv6() -> frozenset[str]:
    """Which of `::` and `::1` ports can be bound to, in the network namespace of the calling thread."""
    try:
        disabled = _SETTINGS.read_text().strip() != "0"
    except OSError:
        return frozenset()
    return frozenset({"::"} if disabled else {"::", "::1"})
