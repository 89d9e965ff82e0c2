"""`Image.spec.config` over an image's own config (PURE), for whoever takes the config over."""

from dataclasses import replace
from typing import TypeVar

from drivers.images.interface import ImageConfig
from resources.image import ConfigOverrides

T = TypeVar("T")


def overridden(config: ImageConfig, overrides: ConfigOverrides) -> ImageConfig:
    """What is absent stays the image's own; env is merged."""
    ports = overrides.exposed_ports
    return replace(
        config,
        entrypoint=_first(overrides.entrypoint, config.entrypoint),
        command=_first(overrides.command, config.command),
        env={**config.env, **overrides.env},
        user=_first(overrides.user, config.user),
        working_dir=_first(overrides.working_dir, config.working_dir),
        exposed_ports=config.exposed_ports if ports is None else _ports(ports),
        stop_signal=_first(overrides.stop_signal, config.stop_signal),
    )


def _first(given: T | None, own: T) -> T:
    return own if given is None else given


def _ports(written: tuple[str, ...]) -> tuple[str, ...]:
    """`80` is 80/tcp; sorted, as the image's own are."""
    found = {(int(number), protocol or "tcp") for number, _, protocol in (port.partition("/") for port in written)}
    return tuple(f"{number}/{protocol}" for number, protocol in sorted(found))
