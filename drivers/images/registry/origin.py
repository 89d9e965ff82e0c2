"""Where a request goes: scheme, host and port, taken out of URLs that others wrote, and which of them are local."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urljoin

from resources.errors import InvalidArgument

Address = IPv4Address | IPv6Address

_PORTS = {"http": 80, "https": 443}
_MAX_URL = 16_384
_LABEL = r"[a-zA-Z0-9_](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-fA-F:.]{{2,45}}\])"
_NETLOC = re.compile(rf"(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII)
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<netloc>{_HOST}(?::[0-9]{{1,5}})?)(?P<target>[/?][!-~]*)?", re.ASCII | re.I
)
_NUMERIC = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?", re.ASCII | re.I)


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str
    """Lower case, without brackets."""
    port: int

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


@dataclass(frozen=True, slots=True)
class Url:
    origin: Origin
    target: str
    """Path and query."""

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"


def origin(scheme: str, netloc: str) -> Origin:
    """Of `host` or `host:port`. Raises: InvalidArgument."""
    match = _NETLOC.fullmatch(netloc) if len(netloc) <= 320 else None
    if match is None:
        raise InvalidArgument(f"{netloc[:80]!r} is not a host", hint="host, host:port or [address]:port")
    port = int(match["port"] or _PORTS[scheme])
    host = match["host"].lower()
    bare = host.strip("[]")
    if not 1 <= port <= 65535 or ((host.startswith("[") or _NUMERIC.fullmatch(host)) and address(bare) is None):
        # What looks like a number but is no address would be taken for one by the system's resolver.
        raise InvalidArgument(f"{netloc[:80]!r} is not a host and port")
    return Origin(scheme, bare, port)


def parse_url(text: str, what: str) -> Url:
    """Parse an absolute http or https URL. Raises: InvalidArgument; what may be secret in it is not repeated."""
    match = _URL.fullmatch(text.partition("#")[0]) if len(text) <= _MAX_URL else None
    if match is None:
        raise InvalidArgument(f"{what} is not an http or https URL without a user and odd characters")
    target = match["target"] or "/"
    return Url(origin(match["scheme"].lower(), match["netloc"]), target if target.startswith("/") else f"/{target}")


def joined(base: Url, location: str) -> Url:
    """Where a redirect leads. Raises: InvalidArgument."""
    what = f"the redirect of {base.origin}"
    if len(location) > _MAX_URL or not re.fullmatch(r"[!-~]+", location):
        raise InvalidArgument(f"{what} is not a URL")
    try:
        whole = urljoin(str(base), location)
    except ValueError:
        raise InvalidArgument(f"{what} is not a URL") from None
    return parse_url(whole, what)


def address(host: str) -> Address | None:
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def is_loopback(host: str) -> bool:
    """Only what can be nothing else: `localhost` exactly, 127.0.0.0/8, ::1."""
    found = address(host)
    return host == "localhost" if found is None else found.is_loopback


def may_reach(found: Address, target: Origin, home: Origin) -> bool:
    """Whether an address may be spoken to on behalf of the registry `home`.

    A registry is where its user says. It must not send us on to this machine itself, to what is only on this link (a
    cloud's metadata, 169.254.169.254), or to no host at all; but one on this machine may have its parts here too.
    """
    if target.host == home.host:
        return True
    if found.is_link_local or found.is_unspecified or found.is_multicast:
        return False
    return not found.is_loopback or is_loopback(home.host)
