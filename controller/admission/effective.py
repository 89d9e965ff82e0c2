"""PURE: a manifest and what was read for it -> the spec to store, its effective spec, and its inputs."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.admission.envfile import parse_env_file
from controller.interface import Submission
from manifests.problems import Position, Problem
from resources.config import ConfigContent, ConfigSpec
from resources.container import ContainerSpec
from resources.meta import Model
from resources.object import Input, Object
from resources.paths import join
from resources.secret import Sealed, SecretContent, SecretSpec

CONTENT_LIMIT = 1024 * 1024
"""Bytes of all keys of one Secret or Config."""


@dataclass(frozen=True, slots=True)
class Means:
    """What admission needs of the world."""

    now: datetime
    new_uid: Callable[[], str]
    seal: Callable[[bytes], Sealed]
    digest: Callable[[bytes], str]
    """The keyed one of Sealed."""
    generate: Callable[[int], str]
    """A secret of that many characters."""


@dataclass(frozen=True, slots=True)
class Effective:
    spec: Model
    effective: Model
    inputs: Mapping[str, Input]


class Reading:
    """What was read for one manifest, and what is wrong with it."""

    def __init__(self, submission: Submission) -> None:
        self.manifest = submission.located.manifest
        self.problems: list[Problem] = []
        self._where = submission.located.where
        self._contents = submission.contents
        self._needs = {need.path: need.value for need in submission.located.needs}

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(self._where(path), path, message))

    def content(self, path: str, name: str) -> bytes:
        content = self._contents.get(path)
        if content is None or content.data is None:
            self.problem(path, f"the content of {name!r} was not sent")
            return b""
        if content.digest != f"sha256:{hashlib.sha256(content.data).hexdigest()}":
            self.problem(path, f"the content of {name!r} is not what its digest says")
        return content.data

    def env_file(self, path: str, written: str) -> dict[str, str]:
        name = self._needs.get(path, written)
        found, problems = parse_env_file(self.content(path, name))
        self.problems += [Problem(Position(name, line), path, message) for line, message in problems]
        return found

    def inputs(self) -> dict[str, Input]:
        return {path: Input(digest=found.digest, size=found.size) for path, found in self._contents.items()}


def effective(reading: Reading, existing: Object | None, means: Means) -> Effective:
    """Content kept in the object itself is no input; a Secret's has no digest that anybody else could compute."""
    spec = reading.manifest.spec
    if isinstance(spec, SecretSpec):
        return _secret(spec, reading, existing, means)
    if isinstance(spec, ConfigSpec):
        return _config(spec, reading)
    inputs = reading.inputs()
    if isinstance(spec, ContainerSpec) and spec.env_file:
        env: dict[str, Any] = {}
        for number, written in enumerate(spec.env_file):
            path = f"spec.envFile[{number}]"
            env |= reading.env_file(path, written)
            inputs.pop(path, None)
        return Effective(spec, spec.model_copy(update={"env": {**env, **spec.env}, "env_file": ()}), inputs)
    return Effective(spec, spec, inputs)


def _config(spec: ConfigSpec, reading: Reading) -> Effective:
    values = _values(reading, spec.data, {"files": spec.files})
    digests = {key: f"sha256:{hashlib.sha256(value).hexdigest()}" for key, value in values.items()}
    entries = {key: base64.b64encode(value).decode() for key, value in values.items()}
    return Effective(spec, ConfigContent(entries=entries, digests=digests), {})


def _secret(spec: SecretSpec, reading: Reading, existing: Object | None, means: Means) -> Effective:
    values = _values(reading, spec.data, {"files": spec.files, "env": spec.env})
    known: Mapping[str, Sealed] = existing.effective.entries if existing else {}
    made = existing.spec.generate if existing else {}
    entries: dict[str, Sealed] = {}
    for key, value in values.items():
        old = known.get(key)
        entries[key] = old if old is not None and old.digest == means.digest(value) else means.seal(value)
    for key, rule in spec.generate.items():
        kept = known.get(key) if key in made else None
        entries[key] = kept or means.seal(means.generate(rule.length).encode())
    # What was written stays known by its keys alone; which values it had is sealed.
    stored = spec.model_copy(update={"data": dict.fromkeys(spec.data, "")}) if spec.data else spec
    return Effective(stored, SecretContent(entries=entries), {})


def _values(reading: Reading, data: Mapping[str, str], read: Mapping[str, Mapping[str, str]]) -> dict[str, bytes]:
    values = {key: text.encode() for key, text in data.items()}
    for section, names in read.items():
        for key, name in names.items():
            values[key] = reading.content(join(f"spec.{section}", key), name)
    size = sum(map(len, values.values()))
    if size > CONTENT_LIMIT:
        reading.problem("spec", f"holds {size} bytes, and {CONTENT_LIMIT} are the most it may")
    return values
