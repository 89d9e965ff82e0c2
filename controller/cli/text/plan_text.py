"""PURE: a plan as text for a terminal.

~ container/web   recreate   shop.yaml:12:1
    spec.image: nginx:1.26 → nginx:1.27   (recreate)
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from controller.plan import Change, Plan, Verb, kind_word
from reconcilers.interface import ChangeKind, FieldChange

_ELLIPSIS = "…"
_RESET = "\033[0m"
_COLOURS = {"+": "\033[32m", "~": "\033[33m", "±": "\033[35m", "-": "\033[31m", "!": "\033[36m", " ": "\033[2m"}
_NOTHING = "nothing to change"


def plan_text(plan: Plan, *, width: int = 0, color: bool = False, actions: bool = False) -> str:
    """Lines with their ends. `width` 0 cuts nothing; `actions` tells each step too."""
    blocks = [_block(change, width, color, actions) for change in plan.changes if not change.empty]
    asked = [
        _cut(f"{change.ref}: apply asks the registry what {visible(change.asks)} is now", width) + "\n"
        for change in plan.changes
        if change.asks
    ]
    return "".join([*blocks, *asked, "\n" if blocks or asked else "", summary(plan), "\n"])


def summary(plan: Plan) -> str:
    """`2 to create, 1 to change (hot), 1 to delete`, or that there is nothing to do."""
    verbs = Counter(change.verb for change in plan.changes)
    kinds = Counter(change.kind for change in plan.changes if change.verb is Verb.UPDATE)
    followers = Counter(change.kind for change in plan.changes if _follows(change))
    drifted = sum(change.verb is Verb.NONE and bool(change.drift) for change in plan.changes)
    parts = [f"{verbs[Verb.CREATE]} to create"] if verbs[Verb.CREATE] else []
    for kind, count in sorted(kinds.items()):
        parts.append(f"{count} to change" + (f" ({kind_word(kind)})" if kind else ""))
    for kind, count in sorted(followers.items()):
        parts.append(f"{count} to follow" + (f" ({kind_word(kind)})" if kind else ""))
    if verbs[Verb.DELETE]:
        parts.append(f"{verbs[Verb.DELETE]} to delete")
    if drifted:
        parts.append(f"{drifted} drifted")
    return ", ".join(parts) or _NOTHING


def visible(text: str) -> str:
    """With nothing in it that a terminal would obey, or that would look like something else."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _follows(change: Change) -> bool:
    """It is not itself changed; what it depends on is, or the loop has not done yet what was asked before."""
    return change.verb is Verb.NONE and not change.empty and not change.drift


def _block(change: Change, width: int, color: bool, actions: bool) -> str:
    lines = [_head(change), *_details(change, actions)]
    sign = _sign(change)
    shown = [_cut(line, width) for line in lines]
    if color:
        shown[0] = f"{_COLOURS[sign]}{shown[0]}{_RESET}"
    return "".join(f"{line}\n" for line in shown)


def _sign(change: Change) -> str:
    if change.verb is Verb.CREATE:
        return "+"
    if change.verb is Verb.DELETE:
        return "-"
    if change.kind >= ChangeKind.RECREATE:
        return "±"
    return "!" if change.drift and change.verb is Verb.NONE else "~"


def _head(change: Change) -> str:
    words = [_sign(change), visible(str(change.ref))]
    if change.ref.namespace != "default":
        words.append(f"in {visible(change.ref.namespace)}")
    if change.kind and change.verb is not Verb.CREATE:
        words.append(f"  {kind_word(change.kind)}")
    if change.position:
        words.append(f"  {visible(change.position)}")
    return " ".join(words)


def _details(change: Change, actions: bool) -> Iterator[str]:
    for field in change.fields:
        yield f"    {_field(field, change)}"
    if change.note:
        yield f"    {visible(change.note)}"
    if change.waiting:
        yield f"    waits: {visible(change.waiting)}"
    for action in change.actions if actions or (change.actions and not change.fields) else ():
        yield f"    · {visible(action)}"


def _field(field: FieldChange, change: Change) -> str:
    tags = ["drift"] if field.drift else []
    if field.kind and field.kind != change.kind:
        tags.append(kind_word(field.kind))
    tail = f"  ({', '.join(tags)})" if tags else ""
    # Of what is not shown both sides say the same.
    values = _value(field.new) if field.old == field.new else f"{_value(field.old)} → {_value(field.new)}"
    return f"{visible(field.path)}: {values}{tail}"


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return visible(text) if text else '""'


def _cut(line: str, width: int) -> str:
    return line if not width or len(line) <= width else line[: width - 1] + _ELLIPSIS
