"""How this engine is set up: `<root>/settings.yaml`, then the environment (LADING_…), then flags. Nothing else is read.

registries:
  docker.io: {mirrors: [mirror.local:5000]}
  mirror.local:5000: {ca: /etc/lading/mirror.pem}
addressPools: [{pool: 10.192.0.0/12, size: 22}, {pool: 172.16.0.0/12, size: 22}]
credentials: /var/lib/lading/credentials.json
"""

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import AfterValidator, Field, StrictBool, ValidationError
from pydantic.alias_generators import to_camel

from manifests.decode import in_words
from manifests.suggest import suggestion
from resources import paths
from resources.errors import InvalidArgument
from resources.image_reference import parse
from resources.meta import Checked, Conflict
from resources.words import Cidr

DEFAULT_ROOT = Path("/var/lib/lading")
DEFAULT_RUN_ROOT = Path("/run/lading")
DOCKER_CREDENTIALS = Path("/root/.docker/config.json")
"""What `docker login` saved; read where our own file knows nothing of a registry, and never written."""
_MAX_FILE = 65536
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}


def _host(value: str) -> str:
    """As references to images write it. Its own messages would speak of such a reference."""
    try:
        found = parse(f"{value}/x").domain
    except InvalidArgument:
        found = ""
    if not found or found != value:
        raise ValueError("is no host of a registry such as docker.io, registry.local:5000 or localhost")
    return value


def _absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("is not an absolute path")
    return value


RegistryHost = Annotated[str, AfterValidator(_host)]
AbsoluteFile = Annotated[Path, AfterValidator(_absolute)]
_Count = Annotated[int, Field(ge=1, le=86_400)]


class Registry(Checked):
    """How one registry is talked to. What is not said: https, verified by the certificates of the host."""

    mirrors: Annotated[tuple[RegistryHost, ...], Field(max_length=16)] = ()
    """Asked first, in this order; each is talked to as its own entry says."""
    plain_http: StrictBool = False
    insecure: StrictBool = False
    """https, with whatever certificate."""
    ca: AbsoluteFile | None = None
    """Certificates to trust besides the host's own."""
    certificate: AbsoluteFile | None = None
    key: AbsoluteFile | None = None
    """What the engine shows of itself; both or none."""

    def conflicts(self) -> Iterator[Conflict]:
        if (self.certificate is None) != (self.key is None):
            yield (), "say both certificate and key, or neither"
        for name in sorted(self.changed_fields() - {"plain_http", "mirrors"}) if self.plain_http else ():
            yield (to_camel(name),), "has no meaning with plainHttp"
        if self.insecure and self.ca is not None:
            yield ("ca",), "has no meaning with insecure, which trusts anybody"


class AddressPool(Checked):
    """Where networks that name no subnet get theirs from: subnets of one size, the next free one first."""

    pool: Cidr
    size: int
    """Prefix length of each."""

    def conflicts(self) -> Iterator[Conflict]:
        pool = ip_network(self.pool)
        if not pool.prefixlen <= self.size <= pool.max_prefixlen - 2:
            yield ("size",), f"is a prefix length from {pool.prefixlen} to {pool.max_prefixlen - 2}"


class Settings(Checked):
    root: Path = DEFAULT_ROOT
    run_root: Path = DEFAULT_RUN_ROOT
    runtime: Literal["", "crun", "runc"] = ""
    """Empty: crun where it can run, otherwise runc."""
    workers: _Count = Field(default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)))
    resync_seconds: _Count = 60
    """How often everything is looked at without being asked. It alone can converge everything."""
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    registries: Annotated[dict[RegistryHost, Registry], Field(max_length=256)] = Field(default_factory=dict)
    address_pools: Annotated[tuple[AddressPool, ...], Field(min_length=1, max_length=64)] = (
        AddressPool(pool="10.192.0.0/12", size=22),
        AddressPool(pool="172.16.0.0/12", size=22),
    )
    """In this order: the second serves where a route, a VPN's perhaps, has taken the first."""
    credentials: AbsoluteFile | None = None
    """Where `lading login` saves; absent: credentials.json in the root."""

    def conflicts(self) -> Iterator[Conflict]:
        pools = [ip_network(pool.pool) for pool in self.address_pools]
        for (_, one), (number, other) in combinations(enumerate(pools), 2):
            if one.version == other.version and one.overlaps(other):
                yield ("addressPools", number, "pool"), f"overlaps with {one}"

    @property
    def instance(self) -> str:
        """What every name we make in the kernel carries, so that several engines can live on one machine."""
        if self.root == DEFAULT_ROOT:
            return "lading"
        return f"lading-{hashlib.sha256(str(self.root).encode()).hexdigest()[:8]}"

    @property
    def platform(self) -> str:
        return f"linux/{_MACHINES.get(platform.machine(), platform.machine())}"

    @property
    def credentials_file(self) -> Path:
        return self.credentials or self.root / "credentials.json"


_ROOTS = ("root", "run_root")
_NAMES = {to_camel(name): name for name in Settings.model_fields if name not in _ROOTS}
_SCALARS = [name for name in _NAMES.values() if name not in ("registries", "address_pools")]


def load(root: Path, run_root: Path, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Raises: InvalidArgument naming the setting and where it came from."""
    file = root / "settings.yaml"
    found = {"root": root.absolute(), "run_root": run_root.absolute()}
    for source, values in (
        (f"the settings {file}", _file(file)),
        ("the environment", _words(_environment(environment))),
        ("the command line", _words({name: value for name, value in flags.items() if value is not None})),
    ):
        checked = _checked(values, source)
        found |= {name: getattr(checked, name) for name in checked.model_fields_set}
    return Settings(**cast(Any, found))


def _file(path: Path) -> dict[str, Any]:
    try:
        with path.open() as file:
            text = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the settings {path} cannot be read: {error}") from error
    if len(text) > _MAX_FILE:
        raise InvalidArgument(f"the settings {path} are longer than {_MAX_FILE} characters")
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidArgument(f"the settings {path} cannot be read as YAML: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidArgument(f"the settings {path} are not a map of names and values")
    return {str(name): value for name, value in found.items()}


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Only what is a setting: other programs' variables may begin alike."""
    prefixed = {
        name.removeprefix("LADING_").lower(): value for name, value in environment.items() if name.startswith("LADING_")
    }
    return {name: value for name, value in prefixed.items() if name in _SCALARS}


def _words(values: Mapping[str, str]) -> dict[str, Any]:
    """Texts as values, by their names in the file."""
    return {to_camel(name): int(text) if text.isdecimal() else text for name, text in values.items()}


def _checked(values: Mapping[str, Any], source: str) -> Settings:
    """Only what is given in it is to be taken."""
    for name in values:
        if name not in _NAMES:
            hint = f"there are {', '.join(sorted(_NAMES))}"
            raise InvalidArgument(f"{source}: there is no setting {name[:60]!r}{suggestion(name, _NAMES)}", hint=hint)
    try:
        return Settings.parse(dict(values))
    except (TypeError, ValueError, RecursionError) as error:
        if not isinstance(error, ValidationError):  # a date, or a list that holds itself
            raise InvalidArgument(f"{source}: only texts, numbers, lists and maps can be settings") from error
        first = error.errors(include_url=False, include_input=False)[0]
        steps = [step for step in first["loc"] if step != "[key]"]
        where = f"{paths.joined(steps)}: " if steps else ""
        raise InvalidArgument(f"{source}: {where}{_flaw(first)}") from error


_KINDS = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "tuple_type": "a list",
}


def _flaw(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return f"must be one of {context['expected']}"
    if kind in ("too_long", "too_short"):
        least, most = context.get("min_length"), context.get("max_length")
        return f"there are {f'{least} of them at least' if most is None else f'{most} of them at most'}"
    return f"must be {_KINDS[kind]}" if kind in _KINDS else in_words(error)
