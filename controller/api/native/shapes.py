"""PURE: events and results as the API shows them, and the words it is asked with. Objects are as `get -o json` has them."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from controller.interface import Applied, EngineEvent
from resources.errors import InvalidArgument, NotFound
from resources.kinds import API_VERSION, NAMESPACED, SUPPORTED, Kind
from resources.meta import Ref, check_name

dumps = partial(json.dumps, default=lambda value: value.isoformat() if isinstance(value, datetime) else str(value))
PLURALS: Mapping[str, Kind] = {f"{kind.lower()}s": kind for kind in SUPPORTED}


def kinds() -> list[dict[str, Any]]:
    return [
        {"kind": kind.value, "plural": plural, "apiVersion": API_VERSION, "namespaced": NAMESPACED[kind]}
        for plural, kind in PLURALS.items()
    ]


def kind_of(plural: str) -> Kind:
    if plural not in PLURALS:
        raise NotFound(f"there is no kind {plural[:60]!r}", hint=f"there are {', '.join(PLURALS)}")
    return PLURALS[plural]


def ref_of(plural: str, namespace: str, name: str) -> Ref:
    return Ref(kind=kind_of(plural), namespace=named(namespace), name=named(name))


def named(value: str) -> str:
    try:
        return check_name(value)
    except ValueError as error:
        raise InvalidArgument(f"{value[:60]!r} is no name: {error}") from None


def gone_json(kind: Kind, uid: str, ref: Ref | None) -> dict[str, Any]:
    named = {"namespace": ref.namespace, "name": ref.name} if ref else {}
    return {"apiVersion": API_VERSION, "kind": kind.value, "metadata": {"uid": uid, **named}}


def event_json(event: EngineEvent) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "time": event.time.isoformat(),
        "kind": event.key.kind.value,
        "uid": event.key.uid,
        "namespace": event.ref.namespace if event.ref else None,
        "name": event.ref.name if event.ref else None,
        "reason": event.reason,
        "message": event.message,
        "data": dict(event.data),
    }


def ref_json(ref: Ref) -> dict[str, str]:
    return {"kind": ref.kind.value, "namespace": ref.namespace, "name": ref.name}


def applied_json(applied: Applied) -> dict[str, Any]:
    lists = {
        name: [ref_json(ref) for ref in getattr(applied, name)]
        for name in ("created", "changed", "deleted", "unchanged")
    }
    return {"resourceVersion": applied.revision, **lists}


def selector(text: str) -> Callable[[Mapping[str, str]], bool]:
    """`app=shop,tier!=web,checked,!old`: all must hold."""
    if len(text) > 4096:
        raise InvalidArgument("a label selector has at most 4096 characters")
    tests = [_test(term.strip()) for term in text.split(",") if term.strip()]
    return lambda labels: all(test(labels) for test in tests)


def _test(term: str) -> Callable[[Mapping[str, str]], bool]:
    for sign, wanted in (("!=", False), ("==", True), ("=", True)):
        key, found, value = term.partition(sign)
        if found:
            return lambda labels: (labels.get(key.strip()) == value.strip()) is wanted
    if term.startswith("!"):
        return lambda labels: term[1:].strip() not in labels
    return lambda labels: term in labels
