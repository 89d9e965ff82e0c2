"""How this engine is set up: `<root>/settings.yaml`, then the environment (LADING_…), then flags. Nothing else is read."""

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from resources.errors import InvalidArgument

DEFAULT_ROOT = Path("/var/lib/lading")
DEFAULT_RUN_ROOT = Path("/run/lading")
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}


@dataclass(frozen=True, slots=True)
class Settings:
    root: Path = DEFAULT_ROOT
    run_root: Path = DEFAULT_RUN_ROOT
    runtime: str = ""
    """crun or runc; empty: crun where it can run, otherwise runc."""
    workers: int = field(default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)))
    resync_seconds: int = 60
    """How often everything is looked at without being asked. It alone can converge everything."""
    log_format: str = "console"
    """console or json."""
    log_level: str = "info"

    @property
    def instance(self) -> str:
        """What every name we make in the kernel carries, so that several engines can live on one machine."""
        if self.root == DEFAULT_ROOT:
            return "lading"
        return f"lading-{hashlib.sha256(str(self.root).encode()).hexdigest()[:8]}"

    @property
    def platform(self) -> str:
        return f"linux/{_MACHINES.get(platform.machine(), platform.machine())}"


_FIELDS = {item.name: item.type for item in fields(Settings)}
_CHOICES = {
    "runtime": ("", "crun", "runc"),
    "log_format": ("console", "json"),
    "log_level": ("debug", "info", "warning", "error"),
}


def load(root: Path, run_root: Path, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Raises: InvalidArgument naming the setting and where it came from."""
    settings = Settings(root=root.absolute(), run_root=run_root.absolute())
    for source, values in (
        (str(root / "settings.yaml"), _file(root / "settings.yaml")),
        ("the environment", _environment(environment)),
        ("the command line", {name: value for name, value in flags.items() if value is not None}),
    ):
        settings = replace(settings, **{name: _checked(name, value, source) for name, value in values.items()})
    return settings


def _file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the settings {path} cannot be read: {error}") from error
    try:
        found = yaml.safe_load(text) if len(text) < 65536 else None
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidArgument(f"the settings {path} cannot be read as YAML: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidArgument(f"the settings {path} are not a map of names and values")
    return {_snake(str(name)): value for name, value in found.items()}


def _environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Only what is a setting: other programs' variables may begin alike."""
    prefixed = {
        name.removeprefix("LADING_").lower(): value for name, value in environment.items() if name.startswith("LADING_")
    }
    return {name: value for name, value in prefixed.items() if name in _FIELDS and name not in ("root", "run_root")}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _checked(name: str, value: Any, source: str) -> Any:
    if name not in _FIELDS or name in ("root", "run_root"):
        raise InvalidArgument(
            f"{source}: there is no setting {name[:60]!r}", hint=f"there are {', '.join(sorted(_FIELDS))}"
        )
    if _FIELDS[name] is int or _FIELDS[name] == "int":
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = 0
        if not 1 <= number <= 86_400:
            raise InvalidArgument(f"{source}: {name} is a whole number from 1 to 86400")
        return number
    if value not in _CHOICES[name]:
        raise InvalidArgument(f"{source}: {name} is one of {', '.join(word or '(empty)' for word in _CHOICES[name])}")
    return value
