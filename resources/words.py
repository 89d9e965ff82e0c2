"""Texts with a form of their own: references to images, users, host names, paths, addresses. Checked, kept as written."""

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, WithJsonSchema

from resources.errors import InvalidArgument
from resources.image_reference import parse
from resources.linux import check_signal

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBERS = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+)){1,3}", re.ASCII)
"""What the C library takes for an address and asks nobody for: 10.1 is 10.0.0.1."""
_DNS_NAME = re.compile(r"[a-zA-Z0-9_](?:[a-zA-Z0-9_-]{0,62})(?:\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*\.?", re.ASCII)
_ACCOUNT = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,254}\$?|[0-9]{1,10}", re.ASCII)
_CPUSET = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*", re.ASCII)
_PLATFORM = re.compile(r"linux/[a-z0-9]{1,32}(/[a-z0-9]{1,32})?", re.ASCII)
_EXPOSED = re.compile(r"([0-9]{1,5})(/(tcp|udp))?", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", re.ASCII)
_ZONE = re.compile(r"[a-zA-Z0-9_.-]{1,15}(/[0-9]{1,3})?", re.ASCII)
_DEVICE = re.compile(r"/dev/[^:]+(:/[^:]+)?(:[rwm]{1,3})?")
MAX_ID = 2**31 - 1


def check_image(value: str) -> str:
    try:
        parse(value)
    except InvalidArgument as error:
        raise ValueError(str(error)) from None
    return value


def check_tag(value: str) -> str:
    check_image(value)
    if "@" in value:
        raise ValueError("a name given to an image has no digest")
    return value


def check_account(value: str) -> str:
    if _ACCOUNT.fullmatch(value) is None or (value.isdigit() and int(value) > MAX_ID):
        raise ValueError(f"is not a name or a number from 0 to {MAX_ID}")
    return value


def check_user(value: str) -> str:
    user, colon, group = value.partition(":")
    try:
        check_account(user)
        if colon:
            check_account(group)
    except ValueError:
        raise ValueError(
            f'is not a user such as "101", "101:101", "nginx" or "nginx:nginx" (numbers from 0 to {MAX_ID})'
        ) from None
    return value


def check_hostname(value: str) -> str:
    if len(value) > 64 or _HOSTNAME.fullmatch(value) is None:
        raise ValueError("a host name is labels of letters, digits and '-' with dots between, at most 64 characters")
    if _NUMBERS.fullmatch(value):
        raise ValueError("reads as an IPv4 address: a host name that programs ask for has a label with a letter in it")
    return value


def check_dns_name(value: str) -> str:
    if len(value) > 253 or _DNS_NAME.fullmatch(value) is None:
        raise ValueError("a DNS name is labels of letters, digits, '-' and '_' with dots between")
    return value


def check_dns_option(value: str) -> str:
    if re.fullmatch(r"[a-z0-9_:-]{1,64}", value, re.ASCII) is None:
        raise ValueError("is not an option of resolv.conf such as ndots:2")
    return value


def check_host_address(value: str) -> str:
    return value if value == "host-gateway" else check_address(value)


def check_address(value: str) -> str:
    return _address(value, ipaddress.ip_address, "an IP address")


def check_ipv4(value: str) -> str:
    return _address(value, ipaddress.IPv4Address, "an IPv4 address")


def check_ipv6(value: str) -> str:
    address = _address(value, ipaddress.IPv6Address, "an IPv6 address")
    mapped = ipaddress.IPv6Address(address).ipv4_mapped
    if mapped is not None:
        raise ValueError(f"stands for an IPv4 address: write {mapped}, as IPv4")
    return address


def _address(value: str, kind: Callable[[str], object], what: str) -> str:
    _check_zone(value, "an address here has none")
    try:
        return str(kind(value))
    except ValueError:
        pass
    alone, slash, _ = value.partition("/")
    try:
        hint = f": write {kind(alone)}, without the length of a prefix" if slash else ""
    except ValueError:
        hint = ""
    raise ValueError(f"is not {what}{hint}")


def _check_zone(value: str, says: str) -> None:
    """What stands behind the sign names a link of a host ("fe80::1%eth0")."""
    _, percent, zone = value.partition("%")
    if percent:
        shown = f" (%{zone.partition('/')[0]})" if _ZONE.fullmatch(zone) else ""
        raise ValueError(f"names a link of a host{shown}: {says}")


def check_subnet(value: str) -> str:
    _check_zone(value, "a subnet has none")
    if "/" not in value:
        raise ValueError("a subnet has a prefix length, as in 10.42.0.0/24")
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError("is not a subnet such as 10.42.0.0/24 or fd00:42::/64") from None
    raise ValueError(f"has bits set beyond its prefix; the subnet is {loose}")


def check_mac(value: str) -> str:
    if _MAC.fullmatch(value) is None or int(value[:2], 16) & 1:
        raise ValueError('must be a unicast MAC address such as "02:42:0a:2a:00:0a"')
    return value.lower()


def check_cpuset(value: str) -> str:
    if _CPUSET.fullmatch(value) is None:
        raise ValueError('is not a list of cpus such as "0-1" or "0,2"')
    return value


def check_platform(value: str) -> str:
    if _PLATFORM.fullmatch(value) is None:
        raise ValueError("is not a platform such as linux/amd64 or linux/arm/v7")
    return value


def check_exposed_port(value: str) -> str:
    match = _EXPOSED.fullmatch(value)
    if match is None or not 1 <= int(match[1]) <= 65535:
        raise ValueError('is not a port such as "80" or "53/udp"')
    return value


def check_variable(value: str) -> str:
    if _VARIABLE.fullmatch(value) is None:
        raise ValueError("is not the name of an environment variable")
    return value


def check_device(value: str) -> str:
    if _DEVICE.fullmatch(value) is None or ".." in value.split("/") or not value.isprintable():
        raise ValueError('is not a device such as "/dev/fuse:rwm"')
    return value


def check_argument(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def check_absolute_path(value: str) -> str:
    parts = value.split("/")
    if not value.startswith("/") or ".." in parts or not value.isprintable() or len(value) > 4095:
        raise ValueError("must be an absolute path without '..' or control characters")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def check_inner_path(value: str) -> str:
    if not value or value.startswith("/") or ".." in value.split("/") or not value.isprintable():
        raise ValueError("must be a relative path without '..' or control characters")
    return value


def check_local_path(value: str) -> str:
    """A path on the client's side: anything a file can be called."""
    if not value or "\0" in value or len(value) > 4095:
        raise ValueError("must be the path of a file")
    return value


def check_url_path(value: str) -> str:
    if re.fullmatch(r"/[\x21-\x7e]{0,2047}", value) is None:
        raise ValueError("begins with '/' and has no spaces")
    return value


def check_env_name(value: str) -> str:
    if not value or "=" in value or not value.isprintable() or len(value) > 1024:
        raise ValueError("the name of a variable is printable and has no '='")
    return value


Argument: TypeAlias = Annotated[str, AfterValidator(check_argument)]
ImageReference: TypeAlias = Annotated[str, AfterValidator(check_image)]
Tag: TypeAlias = Annotated[str, AfterValidator(check_tag)]
User: TypeAlias = Annotated[str, AfterValidator(check_user)]
Group: TypeAlias = Annotated[str, AfterValidator(check_account)]
Hostname: TypeAlias = Annotated[str, AfterValidator(check_hostname)]
DnsName: TypeAlias = Annotated[str, AfterValidator(check_dns_name)]
DnsOption: TypeAlias = Annotated[str, AfterValidator(check_dns_option)]
Address: TypeAlias = Annotated[str, AfterValidator(check_address)]
HostAddress: TypeAlias = Annotated[str, AfterValidator(check_host_address)]
Ipv4: TypeAlias = Annotated[str, AfterValidator(check_ipv4)]
Ipv6: TypeAlias = Annotated[str, AfterValidator(check_ipv6)]
Cidr: TypeAlias = Annotated[str, AfterValidator(check_subnet)]
Mac: TypeAlias = Annotated[str, AfterValidator(check_mac)]
Cpuset: TypeAlias = Annotated[
    str, AfterValidator(check_cpuset), WithJsonSchema({"type": "string", "pattern": f"^{_CPUSET.pattern}$"})
]
Platform: TypeAlias = Annotated[
    str, AfterValidator(check_platform), WithJsonSchema({"type": "string", "pattern": f"^{_PLATFORM.pattern}$"})
]
ExposedPort: TypeAlias = Annotated[
    str, AfterValidator(check_exposed_port), WithJsonSchema({"type": "string", "pattern": f"^{_EXPOSED.pattern}$"})
]
Signal: TypeAlias = Annotated[str, AfterValidator(check_signal)]
Variable: TypeAlias = Annotated[str, AfterValidator(check_variable)]
Device: TypeAlias = Annotated[str, AfterValidator(check_device)]
UrlPath: TypeAlias = Annotated[str, AfterValidator(check_url_path), WithJsonSchema({"type": "string", "pattern": "^/"})]
EnvName: TypeAlias = Annotated[str, AfterValidator(check_env_name)]
LocalPath: TypeAlias = Annotated[str, AfterValidator(check_local_path)]
AbsolutePath: TypeAlias = Annotated[
    str, AfterValidator(check_absolute_path), WithJsonSchema({"type": "string", "pattern": "^/"})
]
InnerPath: TypeAlias = Annotated[str, AfterValidator(check_inner_path)]
PortNumber: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
Id: TypeAlias = Annotated[int, Field(ge=0, le=MAX_ID)]
