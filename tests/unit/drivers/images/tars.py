"""Tar archives written byte by byte, so that hostile ones can be."""

import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

END = bytes(1024)


def number(value: int, width: int) -> bytes:
    return f"{value:0{width - 1}o}".encode() + b"\0"


def header(
    name: bytes | str,
    type: bytes = b"0",
    size: int = 0,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 1_600_000_000,
    link: bytes | str = b"",
    device: tuple[int, int] = (0, 0),
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    raw_size: bytes | None = None,
) -> bytes:
    raw = name.encode() if isinstance(name, str) else name
    target = link.encode() if isinstance(link, str) else link
    block = b"".join(
        (
            raw.ljust(100, b"\0")[:100],
            number(mode, 8),
            number(uid, 8),
            number(gid, 8),
            raw_size or number(size, 12),
            number(mtime, 12),
            b" " * 8,
            type,
            target.ljust(100, b"\0")[:100],
            magic,
            b"root".ljust(32, b"\0") * 2,
            number(device[0], 8),
            number(device[1], 8),
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    return block[:148] + f"{sum(block):06o}\0 ".encode() + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def entry(name: bytes | str, data: bytes = b"", type: bytes = b"0", **fields: Any) -> bytes:
    return header(name, type, len(data), **fields) + padded(data)


def folder(name: bytes | str, mode: int = 0o755, **fields: Any) -> bytes:
    return entry(name, type=b"5", mode=mode, **fields)


def symlink(name: bytes | str, target: bytes | str) -> bytes:
    return entry(name, type=b"2", link=target)


def hardlink(name: bytes | str, target: bytes | str) -> bytes:
    return entry(name, type=b"1", link=target)


def pax(type: bytes = b"x", **records: bytes | str) -> bytes:
    return pax_records(((k.encode(), v.encode() if isinstance(v, str) else v) for k, v in records.items()), type)


def pax_records(records: Iterable[tuple[bytes, bytes]], type: bytes = b"x") -> bytes:
    data = b""
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        data += str(length).encode() + body
    return entry("./PaxHeaders/x", data, type)


def gnu_long(name: bytes, type: bytes = b"L") -> bytes:
    return entry("././@LongLink", name + b"\0", type, magic=b"ustar  \0")


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def oci_archive(
    layers: Iterable[bytes],
    *,
    config: dict[str, Any] | None = None,
    architecture: str = "amd64",
    media_type: str = "application/vnd.oci.image.layer.v1.tar",
    diff_ids: list[str] | None = None,
    name: str = "docker.io/library/x:1",
) -> bytes:
    blobs = list(layers)
    document = {
        "architecture": architecture,
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids or [digest(b) for b in blobs]},
    }
    raw_config = json.dumps(document).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(raw_config, "application/vnd.oci.image.config.v1+json"),
        "layers": [described(blob, media_type) for blob in blobs],
    }
    raw_manifest = json.dumps(manifest).encode()
    annotated = described(raw_manifest, "application/vnd.oci.image.manifest.v1+json")
    annotated["annotations"] = {"org.opencontainers.image.ref.name": name}
    index = json.dumps({"schemaVersion": 2, "manifests": [annotated]}).encode()
    return layout([*blobs, raw_config, raw_manifest], index)


def layout(blobs: Iterable[bytes], index: bytes, more: bytes = b"") -> bytes:
    parts = [entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), entry("index.json", index)]
    parts += [entry(f"blobs/sha256/{digest(b)[7:]}", b) for b in dict.fromkeys(blobs)]
    return b"".join(parts) + more + END


def described(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


class Stream(io.BytesIO):
    """A tar.Source that gives odd pieces."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 700))
