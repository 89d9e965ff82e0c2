"""What has to be read beside a manifest: files, archives, folders, variables of whoever applies it (PURE)."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from manifests.interface import Need, NeedKind
from resources.config import ConfigSpec
from resources.container import ContainerSpec
from resources.image import ImageSpec
from resources.paths import join
from resources.secret import SecretSpec
from resources.volume import VolumeSpec


def needs(file: str, spec: Any) -> Iterator[Need]:
    """In the order of the fields. Relative paths are relative to the manifest's own file; those of standard input (`-`)
    to the current folder."""
    folder = PurePosixPath(file).parent

    def read(path: str, kind: NeedKind, value: str) -> Need:
        return Need(path, kind, str(folder / value))

    if isinstance(spec, ConfigSpec | SecretSpec):
        for key, value in spec.files.items():
            yield read(join("spec.files", key), NeedKind.FILE, value)
    if isinstance(spec, SecretSpec):
        for key, value in spec.env.items():
            yield Need(join("spec.env", key), NeedKind.VARIABLE, value)
    if isinstance(spec, ContainerSpec):
        for number, value in enumerate(spec.env_file):
            yield read(join("spec.envFile", number), NeedKind.FILE, value)
    if isinstance(spec, ImageSpec):
        for field in ("archive", "layout", "rootfs"):
            value = getattr(spec.source, field)
            if value is not None:
                yield read(f"spec.from.{field}", NeedKind.UPLOAD, value)
    if isinstance(spec, VolumeSpec) and spec.populate is not None and spec.populate.archive is not None:
        yield read("spec.populate.archive", NeedKind.UPLOAD, spec.populate.archive)
