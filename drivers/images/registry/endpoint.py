"""The places where a registry's content can be had: its mirrors, then itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.images.registry.interface import RegistryConfig
from drivers.images.registry.origin import Origin, is_loopback, origin
from resources.errors import InvalidArgument
from resources.image_reference import DEFAULT_DOMAIN

_HUB = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    """As references name it; credentials and settings go by that."""
    config: RegistryConfig

    @property
    def netloc(self) -> str:
        return _HUB if self.host == DEFAULT_DOMAIN else self.host

    @property
    def may_lack_tls(self) -> bool:
        return not self.config.plain_http and is_loopback(self.origin("https").host)

    def origin(self, scheme: str) -> Origin:
        return origin(scheme, self.netloc)


class Endpoints:
    def __init__(self, registries: Mapping[str, RegistryConfig]) -> None:
        """Raises: InvalidArgument for what is no host."""
        self._registries = {host.lower(): config for host, config in registries.items()}
        for host, config in registries.items():
            for named in (host, *config.mirrors):
                origin("https", named)
            if config.key and not config.certificate:
                raise InvalidArgument(f"registry {host}: a key without its certificate")

    def of(self, host: str) -> list[Endpoint]:
        """In the order they are to be asked in; the registry itself is the last."""
        own = self.one(host)
        return [*(self.one(mirror) for mirror in own.config.mirrors if mirror != host), own]

    def one(self, host: str) -> Endpoint:
        return Endpoint(host, self._registries.get(host.lower(), RegistryConfig()))

    def config(self, there: Origin, home: Origin) -> RegistryConfig:
        """How a place that the registry `home` sends us to is reached: as itself where it is configured, as the
        registry where it is on the same host, else with nothing but the system's authorities."""
        found = self._configured(there)
        if found is None and there.host == home.host:
            found = self._configured(home)
        return found or RegistryConfig()

    def _configured(self, there: Origin) -> RegistryConfig | None:
        host = f"[{there.host}]" if ":" in there.host else there.host
        names = [there.netloc, f"{host}:{there.port}", *([DEFAULT_DOMAIN] if there.netloc == _HUB else [])]
        return next((self._registries[name] for name in names if name in self._registries), None)
