"""Network: what containers are attached to."""

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool

from resources.meta import Model
from resources.scalars import Text


def _subnet(value: str) -> str:
    return str(ipaddress.ip_network(value))


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


Cidr = Annotated[str, AfterValidator(_subnet)]


class Subnet(Model):
    subnet: Cidr
    gateway: Annotated[str, AfterValidator(_address)] | None = None
    ip_range: Cidr | None = None
    reserved: tuple[str, ...] = ()


class Ipam(Model):
    driver: Literal["default", "none", "remote"] = "default"
    options: dict[str, Text] = Field(default_factory=dict)


class NetworkSpec(Model):
    driver: Literal["bridge", "host", "none", "macvlan", "ipvlan", "overlay", "cni", "remote"] = "bridge"
    subnets: tuple[Subnet, ...] = ()
    ipam: Ipam = Ipam()
    internal: StrictBool = False
    isolated: StrictBool = False
    masquerade: StrictBool = True
    mtu: Annotated[int, Field(ge=68, le=65535)] | None = None
    dns: StrictBool = True
    options: dict[str, Text] = Field(default_factory=dict)
