"""Text of others on its way to a terminal (PURE): nothing in it may move the cursor, change a title or hide a word."""

import re

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_BREAK = re.compile(r"[ \t]*[\r\n\t]+[ \t]*")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """Tabs and line ends stay, colors go, every other control character is spelt out."""
    return _CONTROL.sub(_spelt, _COLOR.sub("", text.replace("\r\n", "\n")))


def one_line(text: str) -> str:
    return clean(_BREAK.sub(" ", text.strip()))


def clean_bytes(data: bytes) -> str:
    return clean(data.decode("utf-8", "replace"))


def _spelt(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
