"""What each network was last made to be: `<run root>/networks/<id>.json`. A reboot takes it with the links."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from drivers.kernel import files
from drivers.kernel.durable import write_atomic
from drivers.network.arguments import check_network, is_network_id
from drivers.network.interface import NetworkConfig, Pool
from resources.errors import OUT_OF_DESCRIPTORS, FailedPrecondition, InvalidArgument, ResourceExhausted

_SUFFIX = ".json"
_MAX_RECORD = 1 << 20


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    config: NetworkConfig
    uplink_mtu: int | None
    """What the host's default route gave where the config says none; kept while there is no such route, so that links do not
    change with one that comes and goes."""


class NetworkRecords:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, record: NetworkRecord) -> None:
        try:
            files.make_folder(str(self._folder))
            write_atomic(self._path(record.config.id), json.dumps(asdict(record)).encode())
        except OSError as error:
            raise ResourceExhausted(f"cannot write to {self._folder}: {error.strerror}") from error

    def read(self, network_id: str) -> NetworkRecord | None:
        """None too of what is no record: applying makes it anew."""
        try:
            found = _decoded(json.loads(files.read(str(self._path(network_id)), _MAX_RECORD)))
        except OSError as error:
            if error.errno in OUT_OF_DESCRIPTORS:
                raise
            return None
        except (ValueError, TypeError, KeyError, InvalidArgument, RecursionError):
            return None
        return found if found.config.id == network_id else None

    def delete(self, network_id: str) -> None:
        try:
            files.clear(str(self._path(network_id)))
        except OSError as error:
            raise FailedPrecondition(f"cannot remove {self._path(network_id)}: {error.strerror}") from error

    def list(self) -> Sequence[str]:
        with suppress(FileNotFoundError, NotADirectoryError):
            names = [name.removesuffix(_SUFFIX) for name in os.listdir(self._folder) if name.endswith(_SUFFIX)]
            return [name for name in names if is_network_id(name)]
        return []

    def _path(self, network_id: str) -> Path:
        return self._folder / f"{network_id}{_SUFFIX}"


def _decoded(value: dict[str, Any]) -> NetworkRecord:
    config = NetworkConfig(**value["config"])
    pools = (Pool(**{**pool, "reserved": tuple(pool["reserved"])}) for pool in value["config"]["pools"])
    config = replace(config, pools=tuple(pools))
    check_network(config)
    mtu = value["uplink_mtu"]
    if not isinstance(mtu, int | None):
        raise TypeError(mtu)
    return NetworkRecord(config, mtu)
