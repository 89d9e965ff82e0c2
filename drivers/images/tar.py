"""A tar reader for hostile input: ustar, GNU and PAX, a stream read once, everything bounded, nothing guessed.

Names stay bytes. What it does not know exactly (sparse files, multi-volume archives, contradictory headers) it refuses.
"""

import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple, Protocol

from drivers.images.limits import DEFAULT, Limits
from resources.errors import InvalidArgument

BLOCK = 512
_ZEROS = bytes(BLOCK)
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_DECIMAL = re.compile(rb"[0-9]{1,20}")
_TIME = re.compile(rb"(-?)([0-9]{1,11})(?:\.([0-9]{0,30}))?")
_MAX_ID = (1 << 32) - 2
_MAX_SIZE = 1 << 62
_MAX_META = 8
_USTAR_MAX = 8 << 30
_GNU, _POSIX = b"ustar  \0", b"ustar\0"


class Type(IntEnum):
    FILE = ord("0")
    HARDLINK = ord("1")
    SYMLINK = ord("2")
    CHAR = ord("3")
    BLOCK = ord("4")
    DIRECTORY = ord("5")
    FIFO = ord("6")


class Entry(NamedTuple):
    type: Type
    name: bytes
    link: bytes
    size: int
    """Bytes of data that follow: 0 for all but files."""
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    major: int
    minor: int
    xattrs: Mapping[bytes, bytes]


class Source(Protocol):
    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end, b"" after it."""


def printable(name: bytes) -> str:
    """A name fit for a message or a log, whatever bytes it has."""
    return name[:200].decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii")


class TarReader:
    """Iterate over the entries; between two of them `read` the data of the current one, or not."""

    def __init__(self, source: Source, *, limits: Limits = DEFAULT, require_end: bool = True) -> None:
        self._source = source
        self._limits = limits
        self._require_end = require_end
        self._left = 0
        self._padding = 0
        self._global: dict[bytes, bytes] = {}
        self._entries = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            self._entries += 1
            if self._entries > self._limits.max_entries:
                raise InvalidArgument(f"the archive has more than {self._limits.max_entries} entries")
            yield entry

    @property
    def left(self) -> int:
        """Bytes of the current entry's data not read yet."""
        return self._left

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the current entry's data, b"" after its end. Raises: InvalidArgument, cut off."""
        wanted = min(size, self._left)
        if not wanted:
            return b""
        data = self._source.read(wanted)
        if not data:
            raise InvalidArgument("the archive is cut off within an entry")
        self._left -= len(data)
        return data

    def _next(self) -> Entry | None:
        pax: dict[bytes, bytes] = {}
        long: dict[bytes, bytes] = {}
        for _ in range(_MAX_META):
            self._skip()
            header = self._block()
            if header is None or header == _ZEROS:
                if pax or long:
                    raise InvalidArgument("the archive ends after an extended header")
                self._finish(header)
                return None
            _verify_checksum(header)
            kind = header[156:157]
            if kind == b"x":
                pax.update(_pax_records(self._meta(header)))
            elif kind == b"g":
                self._take_global(_pax_records(self._meta(header)))
            elif kind in b"LK":
                long[b"path" if kind == b"L" else b"linkpath"] = self._meta(header).rstrip(b"\0")
            elif kind == b"V":
                self._begin(_number(header[124:136], "size"))
            else:
                return self._entry(header, pax, long)
        raise InvalidArgument("too many extended headers in a row")

    def _take_global(self, records: dict[bytes, bytes]) -> None:
        for key in (b"path", b"linkpath", b"size"):
            if records.get(key):
                raise InvalidArgument(f"a global header sets {key.decode()} for every entry")
        self._global.update(records)

    def _entry(self, header: bytes, pax: dict[bytes, bytes], long: dict[bytes, bytes]) -> Entry:
        for key in (b"path", b"linkpath"):
            if key in long and key in pax:
                raise InvalidArgument(f"an entry has two different {key.decode()} headers")
        merged = {**self._global, **pax, **long}
        name = merged.get(b"path") or _ustar_name(header)
        if any(key.startswith(b"GNU.sparse") for key in merged):
            raise InvalidArgument(f"{printable(name)}: sparse files are not taken")
        kind = _type(header[156:157], name)
        size = _size(header, merged, name)
        data = size if kind is Type.FILE else 0
        self._begin(data)
        link = merged.get(b"linkpath") or _string(header[157:257])
        if b"\0" in name or b"\0" in link or len(link) > self._limits.max_path:
            raise InvalidArgument(f"{printable(name)}: a name with a NUL byte or a link longer than a path")
        return Entry(
            kind,
            name,
            link if kind in (Type.HARDLINK, Type.SYMLINK) else b"",
            data,
            _number(header[100:108], "mode") & 0o7777,
            _identity(merged.get(b"uid"), header[108:116], "uid", name),
            _identity(merged.get(b"gid"), header[116:124], "gid", name),
            _mtime(merged.get(b"mtime"), header, name),
            _number(header[329:337], "device") if kind in (Type.CHAR, Type.BLOCK) else 0,
            _number(header[337:345], "device") if kind in (Type.CHAR, Type.BLOCK) else 0,
            {k[13:]: v for k, v in merged.items() if k.startswith(b"SCHILY.xattr.")} if merged else {},
        )

    def _block(self) -> bytes | None:
        data = self._source.read(BLOCK)
        while data and len(data) < BLOCK:
            more = self._source.read(BLOCK - len(data))
            if not more:
                raise InvalidArgument("the archive is cut off within a header")
            data += more
        return data or None

    def _begin(self, size: int) -> None:
        self._left, self._padding = size, -size % BLOCK

    def _skip(self) -> None:
        while self.read(1 << 20):
            pass
        while self._padding:
            data = self._source.read(self._padding)
            if not data:
                raise InvalidArgument("the archive is cut off within an entry")
            self._padding -= len(data)

    def _meta(self, header: bytes) -> bytes:
        size = _number(header[124:136], "size")
        if size > self._limits.max_header:
            raise InvalidArgument(f"an extended header of {size} bytes", hint=f"at most {self._limits.max_header}")
        self._begin(size)
        parts: list[bytes] = []
        while part := self.read(size):
            parts.append(part)
        return b"".join(parts)

    def _finish(self, header: bytes | None) -> None:
        if header is None:
            if self._require_end:
                raise InvalidArgument("the archive is cut off: its end marker is missing")
            return
        while data := self._source.read(1 << 20):
            if data.count(0) != len(data):
                raise InvalidArgument("there is data after the end of the archive")


def _verify_checksum(header: bytes) -> None:
    wanted = _number(header[148:156], "checksum")
    unsigned = sum(header) - sum(header[148:156]) + 8 * 32
    if wanted != unsigned:
        signed = unsigned - 256 * sum(b >= 128 for b in header[:148] + header[156:])
        if wanted != signed:  # some old tools summed signed bytes
            raise InvalidArgument("not a tar archive, or damaged: the checksum of a header is wrong")


def _string(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, what: str) -> int:
    if field[0] & 0x80:
        if field[0] & 0x40:
            raise InvalidArgument(f"a header with a negative {what}")
        value = int.from_bytes(field, "big") & ((1 << (len(field) * 8 - 1)) - 1)
        if value > _MAX_SIZE:
            raise InvalidArgument(f"a header with a {what} out of range")
        return value
    match = _OCTAL.fullmatch(field)
    if not match:
        raise InvalidArgument(f"a header with a malformed {what}")
    return int(match[1] or b"0", 8)


def _ustar_name(header: bytes) -> bytes:
    name = _string(header[:100])
    # GNU keeps times where POSIX has the prefix.
    prefix = _string(header[345:500]) if header[257:263] == _POSIX and header[257:265] != _GNU else b""
    return prefix + b"/" + name if prefix else name


def _type(flag: bytes, name: bytes) -> Type:
    if flag == b"\0":
        return Type.DIRECTORY if name.endswith(b"/") else Type.FILE
    if flag == b"7":  # contiguous: a plain file everywhere
        return Type.FILE
    try:
        return Type(flag[0])
    except ValueError:
        what = "sparse files are" if flag == b"S" else f"entries of type {printable(flag)!r} are"
        raise InvalidArgument(f"{printable(name)}: {what} not taken") from None


def _size(header: bytes, records: Mapping[bytes, bytes], name: bytes) -> int:
    size = _number(header[124:136], "size")
    stated = records.get(b"size")
    if stated:
        if not _DECIMAL.fullmatch(stated) or int(stated) > _MAX_SIZE:
            raise InvalidArgument(f"{printable(name)}: a size header out of range")
        # Writers put 0 into the old field, or the largest number, when the real one does not fit.
        if size not in (0, int(stated)) and int(stated) < _USTAR_MAX:
            raise InvalidArgument(f"{printable(name)}: two headers disagree on its size")
        size = int(stated)
    return size


def _identity(stated: bytes | None, field: bytes, what: str, name: bytes) -> int:
    if stated and not _DECIMAL.fullmatch(stated):
        raise InvalidArgument(f"{printable(name)}: {what} {printable(stated)!r} is no number")
    value = int(stated) if stated else _number(field, what)
    if value > _MAX_ID:
        raise InvalidArgument(f"{printable(name)}: {what} {value} is out of range")
    return value


def _mtime(stated: bytes | None, header: bytes, name: bytes) -> int:
    if not stated:
        field = header[136:148]
        if field[0] == 0xFF:  # base 256, before 1970
            value = int.from_bytes(field, "big", signed=True)
        else:
            value = _number(field, "time")
        if not -(1 << 35) < value < (1 << 35):
            raise InvalidArgument(f"{printable(name)}: its time is out of range")
        return value * 10**9
    match = _TIME.fullmatch(stated)
    if not match or int(match[2]) >= 1 << 35:
        raise InvalidArgument(f"{printable(name)}: its time {printable(stated)!r} is out of range")
    nanoseconds = int(match[2]) * 10**9 + int((match[3] or b"0")[:9].ljust(9, b"0"))
    return -nanoseconds if match[1] else nanoseconds


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 21)
        length = data[position:space] if space > 0 else b""
        if not _DECIMAL.fullmatch(length):
            raise InvalidArgument("a malformed PAX header")
        end = position + int(length)
        record = data[space + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if end > len(data) or end <= space or not record.endswith(b"\n") or not equals or not key:
            raise InvalidArgument("a malformed PAX header")
        if b"\0" in key or (b"\0" in value and not key.startswith(b"SCHILY.xattr.")):
            raise InvalidArgument("a PAX header with a NUL byte")
        records[key] = value
        position = end
    return records
