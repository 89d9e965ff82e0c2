"""Headers of tar archives: ustar where it has room, PAX for what it has not. The reader's counterpart."""

from drivers.images.tar import BLOCK, Entry, Type

END = bytes(2 * BLOCK)
_ID_MAX, _SIZE_MAX, _TIME_MAX, _NODE_MAX = 0o7777777, 0o77777777777, 0o77777777777, 0o7777777


def header(entry: Entry) -> bytes:
    """The blocks before an entry's data."""
    records = _records(entry)
    block = _ustar(entry)
    if not records:
        return block
    data = b"".join(_record(key, value) for key, value in records.items())
    extended = Entry(Type.FILE, b"PaxHeaders/" + entry.name[-60:], b"", len(data), 0o644, 0, 0, 0, 0, 0, {})
    return _ustar(extended, b"x") + data + padding(len(data)) + block


def padding(size: int) -> bytes:
    """What fills the last block of `size` bytes of data."""
    return bytes(-size % BLOCK)


def _records(entry: Entry) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    for key, text in ((b"path", entry.name), (b"linkpath", entry.link)):
        if len(text) > 100 or not text.isascii():
            records[key] = text
    for key, value, most in (
        (b"size", entry.size, _SIZE_MAX),
        (b"uid", entry.uid, _ID_MAX),
        (b"gid", entry.gid, _ID_MAX),
    ):
        if value > most:
            records[key] = b"%d" % value
    seconds, nanoseconds = divmod(abs(entry.mtime_ns), 10**9)
    if nanoseconds or entry.mtime_ns < 0 or seconds > _TIME_MAX:
        sign = b"-" if entry.mtime_ns < 0 else b""
        records[b"mtime"] = b"%s%d.%09d" % (sign, seconds, nanoseconds)
    records.update((b"SCHILY.xattr." + name, value) for name, value in entry.xattrs.items())
    return records


def _record(key: bytes, value: bytes) -> bytes:
    body = b" %s=%s\n" % (key, value)
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d%s" % (length, body)


def _ustar(entry: Entry, flag: bytes = b"") -> bytes:
    device = entry.type in (Type.CHAR, Type.BLOCK)
    block = b"".join(
        (
            entry.name[:100].ljust(100, b"\0"),
            b"%07o\0" % entry.mode,
            b"%07o\0" % min(entry.uid, _ID_MAX),
            b"%07o\0" % min(entry.gid, _ID_MAX),
            b"%011o\0" % min(entry.size, _SIZE_MAX),
            b"%011o\0" % min(max(entry.mtime_ns // 10**9, 0), _TIME_MAX),
            b" " * 8,
            flag or bytes((entry.type,)),
            entry.link[:100].ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"%07o\0" % min(entry.major, _NODE_MAX) if device else bytes(8),
            b"%07o\0" % min(entry.minor, _NODE_MAX) if device else bytes(8),
            bytes(167),
        )
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
