"""What was probably meant: the nearest word, the name other tools have for it, the place where it belongs."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from manifests.elsewhere import elsewhere
from manifests.node import Node
from manifests.problems import shown
from manifests.shapes import Either, Form
from resources.meta import Metadata

TOP = ("apiVersion", "kind", "metadata", "spec")
"""The keys of a document."""
MAX_LENGTH = 64
MAX_KNOWN = 1000
"""Words compared; a hostile file must not cost more than its size."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing."""
    if len(word) > MAX_LENGTH:
        return ""
    by_folded = {name.lower(): name for name in islice(known, MAX_KNOWN)}
    folded = word.lower().replace("_", "").replace("-", "") if word.lower() not in by_folded else word.lower()
    found = get_close_matches(folded, by_folded, 1, 0.7)
    return f"; did you mean {by_folded[found[0]]}?" if found else ""


def unknown_key(key: str, node: Node, form: Form, steps: tuple[str | int, ...]) -> str:
    guess = _outdented(key, steps) or elsewhere(key, node, form.model)
    guess = guess or suggestion(key, form.fields) or _placed(key, form, steps)
    return f"there is no field {shown(key)}{guess}"


def _outdented(key: str, steps: tuple[str | int, ...]) -> str:
    if key in TOP and len(steps) == 1 and steps[0] in TOP:
        return f"; it stands beside {steps[0]}, not below it: indent it less"
    return ""


def _placed(key: str, form: Form, steps: tuple[str | int, ...]) -> str:
    if steps == ("spec",) and key in Metadata.model_fields:
        return f"; it belongs in metadata: did you mean metadata.{key}?"
    for name, field in form.fields.items():
        inner = field.shape.form if isinstance(field.shape, Either) else field.shape
        if isinstance(inner, Form) and key in inner.fields:
            return f"; did you mean {name}.{key}?"
    return ""


def list_words(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
