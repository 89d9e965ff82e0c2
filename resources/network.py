"""Network: what containers are attached to."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import Field, StrictBool

from resources.meta import Checked, Conflict, Model
from resources.scalars import Text
from resources.words import Address, Cidr


class Subnet(Checked):
    subnet: Cidr
    gateway: Address | None = None
    ip_range: Cidr | None = None
    reserved: tuple[Address, ...] = ()

    def conflicts(self) -> Iterator[Conflict]:
        subnet = ip_network(self.subnet)
        if self.gateway is not None and ip_address(self.gateway) not in subnet:
            yield ("gateway",), f"is not in {subnet}"
        if self.ip_range is not None:
            low, high = ip_network(self.ip_range)[0], ip_network(self.ip_range)[-1]
            if low not in subnet or high not in subnet:
                yield ("ipRange",), f"is not in {subnet}"
        for number, address in enumerate(self.reserved):
            if ip_address(address) not in subnet:
                yield ("reserved", number), f"is not in {subnet}"


class Ipam(Model):
    driver: Literal["default", "none", "remote"] = "default"
    options: dict[str, Text] = Field(default_factory=dict)


class NetworkSpec(Checked):
    driver: Literal["bridge", "host", "none", "macvlan", "ipvlan", "overlay", "cni", "remote"] = "bridge"
    subnets: tuple[Subnet, ...] = ()
    ipam: Ipam = Ipam()
    internal: StrictBool = False
    isolated: StrictBool = False
    masquerade: StrictBool = True
    mtu: Annotated[int, Field(ge=68, le=65535)] | None = None
    dns: StrictBool = True
    options: dict[str, Text] = Field(default_factory=dict)

    def conflicts(self) -> Iterator[Conflict]:
        if self.driver in ("host", "none"):
            for name in sorted(self.changed_fields() - {"driver"}):
                yield (name,), f"has no meaning for the driver {self.driver}"
