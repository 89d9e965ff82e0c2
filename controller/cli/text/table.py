"""Tables (PURE): columns as wide as what is in them, nothing cut unless the terminal is narrower."""

import unicodedata
from collections.abc import Sequence

from controller.cli.text.clean import one_line

_GAP = 2
_LEAST = 8


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, columns: int = 0) -> str:
    """`columns` 0: as wide as it takes. The cells are cleaned: they hold names and messages of others."""
    cells = [list(headings), *([one_line(cell) or "-" for cell in row] for row in rows)]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    if columns:
        _narrow(widths, columns)
    lines = ("".join(_padded(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "".join(f"{line}\n" for line in lines)


def width(text: str) -> int:
    """Columns a terminal needs for it."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _narrow(widths: list[int], columns: int) -> None:
    """Take from the widest until the row fits."""
    while sum(widths) + _GAP * (len(widths) - 1) > columns and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1


def _padded(text: str, size: int) -> str:
    if width(text) > size:
        while width(text) > size - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (size - width(text) + _GAP)
