"""Read what is there of a Network."""

from collections.abc import Mapping

from drivers.network.interface import NetworkDriver
from drivers.network.ipam.interface import Ipam
from reconcilers.network.model import ObservedNetwork, subnet_requests
from resources.kinds import Kind
from resources.meta import Key
from resources.object import Object


class NetworkEyes:
    def __init__(self, drivers: Mapping[str, NetworkDriver], ipam: Ipam) -> None:
        self._drivers = drivers
        self._ipam = ipam

    def observe(self, key: Key, desired: Object | None) -> ObservedNetwork:
        names = tuple(sorted(self._drivers))
        goes = desired is None or desired.deleting
        wanted = "" if desired is None or goes else desired.effective.driver
        others = tuple(name for name in names if name != wanted and key.uid in self._drivers[name].list())
        if desired is None or wanted not in self._drivers:
            return ObservedNetwork(key.uid, names, others)
        return ObservedNetwork(
            uid=key.uid,
            drivers=names,
            held=others,
            claim=self._ipam.subnet_claim(key.uid, subnet_requests(desired.effective)),
            state=self._drivers[wanted].inspect(key.uid),
        )

    def known(self) -> list[Key]:
        found = {uid for driver in self._drivers.values() for uid in driver.list()}
        return [Key(kind=Kind.NETWORK, uid=uid) for uid in sorted(found)]
