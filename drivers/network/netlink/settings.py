"""The kernel settings of the network namespace that the calling thread is in: files below /proc/sys/net."""

import os

from resources.errors import FailedPrecondition

_ROOT = "/proc/sys/net"


def ipv6_setting(link: str, name: str) -> str:
    return f"ipv6/conf/{link}/{name}"


def read_setting(name: str) -> str | None:
    """None when this kernel has no such setting."""
    try:
        fd = os.open(f"{_ROOT}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, 64).decode().strip()
    finally:
        os.close(fd)


def write_setting(name: str, value: int) -> bool:
    """Tell whether there is such a setting. Raises: FailedPrecondition when it cannot be written."""
    try:
        fd = os.open(f"{_ROOT}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d\n" % value)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FailedPrecondition(
            f"cannot set {_ROOT}/{name} to {value}: {error.strerror}", hint="is /proc/sys mounted read-only?"
        ) from error
    return True


def links_with_ipv6_settings() -> list[str]:
    try:
        return [name for name in os.listdir(f"{_ROOT}/ipv6/conf") if name not in ("all", "default", "lo")]
    except FileNotFoundError:
        return []
