"""This machine, as far as containers see it."""

from collections.abc import Sequence
from pathlib import Path

INIT_PROGRAMS = (Path("/usr/bin/tini-static"), Path("/usr/libexec/podman/catatonit"))


class LocalHost:
    def __init__(self, processors: Path = Path("/sys/devices/system/cpu")) -> None:
        self._processors = processors

    def gateway(self, *, host_network: bool) -> str:
        """Without a bridge the host is reached, if at all, on loopback."""
        del host_network
        return "127.0.0.1"

    def init_program(self) -> Path | None:
        return next((path for path in INIT_PROGRAMS if path.is_file()), None)

    def masked(self) -> Sequence[str]:
        """How hot processors are tells what others compute on them."""
        return sorted(str(path) for path in self._processors.glob("cpu[0-9]*/thermal_throttle"))
