"""Writing OCI images the plain way: layers from folders, a configuration, a layout, one tar around it."""

import gzip
import hashlib
import json
import os
import stat
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

# What was made while building gets this date, files of packages keep theirs (compiled Python knows its source by
# its date): so an image built again from the same packages is the same image, as far as they allow.
EPOCH = 1_600_000_000
NEW = time.time() - 3600
CREATED = "2020-09-13T12:26:40Z"
REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    size: int
    media_type: str

    def descriptor(self) -> dict[str, object]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Layer:
    blob: Blob
    diff_id: str


class _Digesting:
    """A sink that digests what passes through it."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._sink.write(data)

    def flush(self) -> None:
        self._sink.flush()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


def write_layer(tree: Path, blobs: Path, *, skip: frozenset[str] = frozenset()) -> Layer:
    """Pack a folder, or the upper folder of an overlay, as a gzip layer, without what is in the `skip` folders."""
    blobs.mkdir(parents=True, exist_ok=True)
    part = blobs / "part"
    with part.open("wb") as file:
        packed = _Digesting(file)
        with gzip.GzipFile("", "wb", 5, cast(BinaryIO, packed), mtime=0) as stream:
            plain = _Digesting(cast(BinaryIO, stream))
            write_tar(tree, cast(BinaryIO, plain), skip=skip)
    part.rename(blobs / packed.digest.removeprefix("sha256:"))
    blob = Blob(packed.digest, packed.size, "application/vnd.oci.image.layer.v1.tar+gzip")
    return Layer(blob, plain.digest)


def write_tar(tree: Path, sink: BinaryIO, *, skip: frozenset[str] = frozenset()) -> None:
    links: dict[int, str] = {}
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in _walk(tree, tree, skip):
            name = str(path.relative_to(tree))
            status = path.lstat()
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                tar.addfile(_plain(tarfile.TarInfo(str(Path(name).parent / f".wh.{path.name}"))))
                continue
            if stat.S_ISSOCK(status.st_mode):
                continue
            info = _plain(tar.gettarinfo(path, name))
            if info.isreg() and status.st_nlink > 1:
                if first := links.get(status.st_ino):
                    info.type, info.linkname, info.size = tarfile.LNKTYPE, first, 0
                else:
                    info.type, info.size = tarfile.REGTYPE, status.st_size
                    links[status.st_ino] = name
            _add(tar, info, path)


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> None:
    names = os.listxattr(path, follow_symlinks=False)
    if "security.capability" in names:
        value = os.getxattr(path, "security.capability", follow_symlinks=False)
        info.pax_headers = {"SCHILY.xattr.security.capability": value.decode("utf-8", "surrogateescape")}
    if info.isreg():
        with path.open("rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)
    if info.isdir() and "trusted.overlay.opaque" in names:
        tar.addfile(_plain(tarfile.TarInfo(f"{info.name}/.wh..wh..opq")))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime = int(info.mtime) if 0 < info.mtime < NEW else EPOCH
    info.uname = info.gname = ""
    return info


def _walk(tree: Path, folder: Path, skip: frozenset[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink() and str(path.relative_to(tree)) not in skip:
            yield from _walk(tree, path, skip)


def write_json(document: Any, media_type: str, blobs: Path) -> Blob:
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return Blob(f"sha256:{digest}", len(data), media_type)


def write_image(name: str, layers: list[Layer], config: dict[str, object], architecture: str, blobs: Path) -> Blob:
    """The configuration and the manifest of one image whose layers are written already."""
    document = {
        "architecture": architecture,
        "os": "linux",
        "created": CREATED,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": CREATED, "created_by": f"script/images {name}"} for _ in layers],
    }
    config_blob = write_json(document, "application/vnd.oci.image.config.v1+json", blobs)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config_blob.descriptor(),
        "layers": [layer.blob.descriptor() for layer in layers],
    }
    return write_json(manifest, "application/vnd.oci.image.manifest.v1+json", blobs)


def write_archive(target: Path, manifest: Blob, blobs: Path) -> None:
    """An OCI archive: the layout of one image, as a tar. It appears whole or not at all."""
    index = {"schemaVersion": 2, "manifests": [manifest.descriptor() | {"annotations": {REF_NAME: "latest"}}]}
    read = json.loads((blobs / manifest.digest.removeprefix("sha256:")).read_text())
    digests = [manifest.digest, read["config"]["digest"], *(layer["digest"] for layer in read["layers"])]
    part = target.with_suffix(".part")
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
        _add_text(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}))
        _add_text(tar, "index.json", json.dumps(index))
        for digest in dict.fromkeys(digests):
            name = digest.removeprefix("sha256:")
            info = _plain(tarfile.TarInfo(f"blobs/sha256/{name}"))
            info.size = (blobs / name).stat().st_size
            with (blobs / name).open("rb") as file:
                tar.addfile(info, file)
    part.rename(target)


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    info = _plain(tarfile.TarInfo(name))
    info.size = len(data)
    tar.addfile(info, BytesIO(data))
