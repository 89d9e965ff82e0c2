"""Which proxy a request goes through, from HTTPS_PROXY, HTTP_PROXY and NO_PROXY as other tools read them."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from urllib.parse import unquote

from drivers.images.registry.origin import Origin, address, is_loopback, origin
from resources.errors import InvalidArgument, Unsupported

_PROXY = re.compile(r"(?:(?P<scheme>[a-z0-9]+)://)?(?:(?P<user>[^@/]*)@)?(?P<netloc>[^@/]+)/?", re.I)


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    origin: Origin
    headers: Mapping[str, str]
    """Proxy-Authorization, where the URL has a user."""

    def __repr__(self) -> str:
        return f"Proxy({self.origin})"


class Proxies:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._urls = {scheme: _value(environment, f"{scheme}_proxy").strip() for scheme in ("http", "https")}
        self._direct = [entry for entry in _value(environment, "no_proxy").replace(" ", ",").split(",") if entry]

    def of(self, target: Origin) -> Proxy | None:
        """Raises: InvalidArgument, Unsupported (SOCKS); what is said of a proxy never holds its password."""
        url = self._urls[target.scheme]
        if not url or is_loopback(target.host) or any(_covers(entry, target) for entry in self._direct):
            return None
        return _proxy(url, f"{target.scheme.upper()}_PROXY")


def _value(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _proxy(text: str, name: str) -> Proxy:
    match = _PROXY.fullmatch(text)
    scheme = (match["scheme"] or "http").lower() if match else ""
    if scheme.startswith("socks"):
        raise Unsupported(f"{name} names a SOCKS proxy", hint="an HTTP proxy can be used: http://host:port")
    try:
        if match is None or scheme not in ("http", "https"):
            raise InvalidArgument("")
        where = origin(scheme, match["netloc"])
    except InvalidArgument:
        raise InvalidArgument(f"{name} is not the URL of a proxy", hint="http://host:port") from None
    if match["user"] is None:
        return Proxy(where, {})
    user = unquote(match["user"]) if ":" in match["user"] else unquote(match["user"]) + ":"
    return Proxy(where, {"Proxy-Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"})


def _covers(entry: str, target: Origin) -> bool:
    """`*`, `host`, `.domain`, `domain` (its hosts too), `address`, `network/bits`; each but the last with `:port`."""
    if entry == "*":
        return True
    found = address(target.host)
    if "/" in entry:
        try:
            return found is not None and found in ip_network(entry, strict=False)
        except ValueError:
            return False
    name, _, port = entry.rpartition(":") if re.fullmatch(r"(?:\[.*\]|[^:]*):[0-9]+", entry) else (entry, "", "")
    if port and int(port) != target.port:
        return False
    name = name.strip("[]").lower().removeprefix("*")
    if found is not None:
        return address(name) == found
    return target.host == name.removeprefix(".") or target.host.endswith("." + name.removeprefix("."))
