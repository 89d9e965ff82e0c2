"""An image's config blob, checked field by field (threats.md MAN-06, MAN-07).

Labels and annotations are data to show, never anything that steers the engine.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.images.digest import checked
from drivers.images.interface import HealthCheck, ImageConfig
from drivers.images.limits import DEFAULT, Limits
from drivers.images.manifest import Platform
from drivers.images.strictjson import load_object
from resources.errors import InvalidArgument

_MAX_TEXT = 128 << 10
"""What the kernel takes as one argument or variable."""
_MAX_ITEMS = 10_000
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp|sctp))?", re.ASCII)
_SIGNAL = re.compile(r"(?:SIG)?[A-Z0-9]{2,12}(?:[+-][0-9]{1,2})?|[0-9]{1,2}", re.ASCII)
_USER = re.compile(r"[^\0\n\r]{0,256}")
_KERNEL = ("/proc", "/sys", "/dev")
_HEALTH = ("NONE", "CMD", "CMD-SHELL")
_NANOSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class ConfigBlob:
    config: ImageConfig
    platform: Platform
    diff_ids: tuple[str, ...]
    created: str


def parse_config(data: bytes, what: str, limits: Limits = DEFAULT) -> ConfigBlob:
    """Raises: InvalidArgument naming the field."""
    document = load_object(data, what, limits.max_config)
    rootfs = _mapping(document.get("rootfs"), f"{what}: rootfs")
    diff_ids = rootfs.get("diff_ids") or []
    if rootfs.get("type") != "layers" or not isinstance(diff_ids, list) or len(diff_ids) > limits.max_descriptors:
        raise InvalidArgument(f"{what}: rootfs is not a list of layers")
    platform = Platform(*(_text(document.get(key), f"{what}: {key}", 64) for key in ("os", "architecture", "variant")))
    if not platform.os or not platform.architecture:
        raise InvalidArgument(f"{what}: os or architecture is missing")
    return ConfigBlob(
        _image_config(_mapping(document.get("config"), f"{what}: config"), f"{what}: config"),
        platform,
        tuple(checked(diff_id, f"{what}: rootfs.diff_ids") for diff_id in diff_ids),
        _text(document.get("created"), f"{what}: created", 64),
    )


def _image_config(config: dict[str, Any], what: str) -> ImageConfig:
    return ImageConfig(
        entrypoint=_texts(config.get("Entrypoint"), f"{what}.Entrypoint"),
        command=_texts(config.get("Cmd"), f"{what}.Cmd"),
        env=_environment(_texts(config.get("Env"), f"{what}.Env"), f"{what}.Env"),
        user=_matching(config.get("User"), _USER, f"{what}.User"),
        working_dir=_working_dir(config.get("WorkingDir"), f"{what}.WorkingDir"),
        stop_signal=_matching(config.get("StopSignal"), _SIGNAL, f"{what}.StopSignal"),
        exposed_ports=_ports(config.get("ExposedPorts"), f"{what}.ExposedPorts"),
        volumes=_volumes(config.get("Volumes"), f"{what}.Volumes"),
        labels=_labels(config.get("Labels"), f"{what}.Labels"),
        health=_health(config.get("Healthcheck"), f"{what}.Healthcheck"),
    )


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _MAX_ITEMS:
        raise InvalidArgument(f"{what} is not an object")
    return value


def _text(value: Any, what: str, limit: int = _MAX_TEXT) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value or len(value.encode()) >= limit:
        raise InvalidArgument(f"{what} is not a text of less than {limit} bytes without NUL")
    return value


def _matching(value: Any, pattern: re.Pattern[str], what: str) -> str:
    text = _text(value, what, 512)
    if text and not pattern.fullmatch(text):
        raise InvalidArgument(f"{what} is malformed: {text[:80]!r}")
    return text


def _texts(value: Any, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise InvalidArgument(f"{what} is not a list of texts")
    if any(item is None for item in value):
        raise InvalidArgument(f"{what} holds null")
    return tuple(_text(item, f"{what}[{i}]") for i, item in enumerate(value))


def _environment(lines: tuple[str, ...], what: str) -> Mapping[str, str]:
    result: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or not name or not name.isprintable():
            raise InvalidArgument(f"{what}: {line[:80]!r} is not NAME=value")
        result[name] = value
    return result


def _working_dir(value: Any, what: str) -> str:
    text = _text(value, what, 4096)
    if not text:
        return ""
    path = _rooted(text)
    if path == "/proc" or path.startswith("/proc/"):
        # CVE-2024-21626: /proc/self/fd/N there is a way out of the container.
        raise InvalidArgument(f"{what}: {text[:80]!r} is below /proc")
    return path


def _rooted(path: str) -> str:
    return "/" + posixpath.normpath("/" + path).lstrip("/")


def _ports(value: Any, what: str) -> tuple[str, ...]:
    ports: set[tuple[int, str]] = set()
    for key in _mapping(value, what):
        match = _PORT.fullmatch(key)
        if not match or not 0 < int(match[1]) < 65536:
            raise InvalidArgument(f"{what}: {key[:80]!r} is no port", hint="80, 80/tcp")
        ports.add((int(match[1]), match[2] or "tcp"))
    return tuple(f"{number}/{protocol}" for number, protocol in sorted(ports))


def _volumes(value: Any, what: str) -> tuple[str, ...]:
    paths: set[str] = set()
    for key in _mapping(value, what):
        path = _rooted(_text(key, what, 4096))
        kernel = any(path == k or path.startswith(k + "/") for k in _KERNEL)
        if path == "/" or kernel or not path.isprintable():
            raise InvalidArgument(f"{what}: {key[:80]!r} cannot be a volume")
        paths.add(path)
    return tuple(sorted(paths))


def _labels(value: Any, what: str) -> Mapping[str, str]:
    return {_text(k, what, 4096): _text(v, f"{what}.{k[:80]}") for k, v in _mapping(value, what).items()}


def _health(value: Any, what: str) -> HealthCheck | None:
    check = _mapping(value, what)
    test = _texts(check.get("Test"), f"{what}.Test")
    if not test:
        return None
    if test[0] not in _HEALTH or (test[0] == "CMD-SHELL" and len(test) != 2) or (test[0] == "CMD" and len(test) < 2):
        raise InvalidArgument(f"{what}.Test is malformed", hint="NONE, CMD and arguments, or CMD-SHELL and a line")
    times = [_milliseconds(check.get(key), f"{what}.{key}") for key in ("Interval", "Timeout", "StartPeriod")]
    retries = _count(check.get("Retries"), f"{what}.Retries")
    return HealthCheck(test, interval=times[0], timeout=times[1], retries=retries or None, start_period=times[2])


def _milliseconds(value: Any, what: str) -> int | None:
    nanoseconds = _count(value, what)
    return max(1, nanoseconds // _NANOSECONDS) if nanoseconds else None


def _count(value: Any, what: str) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise InvalidArgument(f"{what} is not a number of 0 or more")
    return value
