"""Where a registry may send us for a token, and what may be sent there (REG-01)."""

from drivers.images.registry.origin import Origin, Url, address, is_loopback, may_reach, parse_url
from resources.errors import InvalidArgument, PermissionDenied


def checked_realm(text: str, home: Origin) -> Url:
    """The token server that the registry `home` names. Raises: PermissionDenied when it is not to be trusted.

    Over TLS it may be anywhere but on this machine or link. Without TLS only where the registry itself is spoken to
    without, and only on its own host, or on this machine when both are. (Where its name leads is looked at once more
    when it is connected to.)
    """
    try:
        realm = parse_url(text, "its realm")
    except InvalidArgument as error:
        raise _refused(home, error.message) from None
    there = realm.origin
    found = address(there.host)
    if found is not None and not may_reach(found, there, home):
        raise _refused(home, "it is on this machine or link, the registry is not")
    if is_loopback(there.host) and not is_loopback(home.host):
        raise _refused(home, "it is on this machine, the registry is not")
    if there.scheme != "https":
        near = there.host == home.host or (is_loopback(there.host) and is_loopback(home.host))
        if home.scheme != "http" or not near:
            raise _refused(home, "it is spoken to without TLS")
    return realm


def _refused(home: Origin, why: str) -> PermissionDenied:
    return PermissionDenied(
        f"{home.netloc} wants a login sent to a place that is not trusted with it: {why}",
        hint="the registry is set up wrongly, or somebody answers in its place",
    )
