"""PURE: a request to submissions: manifests in JSON, and beside them what they would read if they lay in a file."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.admission.admit import Refused
from controller.interface import ApplyOptions, Content, Submission
from manifests.interface import Located, NeedKind, Options, Text
from manifests.load import load
from resources.errors import InvalidArgument
from resources.meta import check_name

MANAGER = "api"
"""The field manager of what comes over HTTP."""
_FIELDS = frozenset({"manifests", "namespace", "variables", "contents", "owner", "prune", "adopt", "dryRun"})

_NOT_AS_IT_IS = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Request:
    submissions: tuple[Submission, ...]
    options: ApplyOptions
    dry_run: bool


def read(body: Mapping[str, Any]) -> Request:
    """Raises: Refused, InvalidArgument."""
    unknown = sorted(set(body) - _FIELDS)
    if unknown:
        raise InvalidArgument(f"there is no field {unknown[0][:60]!r}", hint=f"there are {', '.join(sorted(_FIELDS))}")
    manifests = _typed(body, "manifests", list, [])
    if not manifests:
        raise InvalidArgument("`manifests` is empty: nothing to do")
    options = Options(_namespace(body), _strings(body, "variables"))
    contents, dry_run = _typed(body, "contents", dict, {}), _typed(body, "dryRun", bool, False)
    apply = ApplyOptions(
        manager=MANAGER,
        owner=_typed(body, "owner", str, ""),
        prune=_typed(body, "prune", bool, False),
        adopt=_typed(body, "adopt", bool, False),
        only_namespace=options.namespace if "namespace" in body else "",
    )
    texts = [Text(f"manifests[{number}]", _as_text(manifest)) for number, manifest in enumerate(manifests)]
    loaded = load(texts, options)
    if loaded.failed:
        raise Refused([problem for problem in loaded.problems if not problem.warning])
    submissions = tuple(Submission(located, _contents(located, contents)) for located in loaded.manifests)
    return Request(submissions, apply, dry_run)


def _as_text(manifest: Any) -> bytes:
    """JSON is YAML but for characters that JSON lets stand as they are, and for its escapes in pairs."""
    text = json.dumps(manifest, ensure_ascii=False)
    return _NOT_AS_IT_IS.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _namespace(body: Mapping[str, Any]) -> str:
    try:
        return check_name(_typed(body, "namespace", str, "default"))
    except ValueError as error:
        raise InvalidArgument(f"namespace: {error}") from None


def _contents(located: Located, given: Mapping[str, Any]) -> dict[str, Content]:
    found = {}
    for need in located.needs:
        if need.value not in given:
            raise InvalidArgument(
                f"{located.manifest.ref}: {need.path} reads {need.value!r}, and the engine opens no path of a client",
                hint=f"send it: contents: {{{json.dumps(need.value)}: {_FORMS[need.kind]}}}",
            )
        found[need.path] = _content(need.value, given[need.value], upload=need.kind is NeedKind.UPLOAD)
    return found


_FORMS = {
    NeedKind.FILE: '{"base64": …} or {"text": …}',
    NeedKind.VARIABLE: '{"text": …}',
    NeedKind.UPLOAD: '{"digest": "sha256:…", "size": …}, and the content before with PUT /uploads/sha256:…',
}


def _content(name: str, given: Any, *, upload: bool) -> Content:
    match given:
        case {"digest": str(digest), "size": int(size)} if upload and len(given) == 2:
            return Content(digest, size)
        case {"text": str(value)} if not upload and len(given) == 1:
            data = value.encode("utf-8", "surrogatepass")
        case {"base64": str(value)} if not upload and len(given) == 1:
            try:
                data = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise InvalidArgument(f"contents[{name!r}] is not base64") from None
        case _:
            wanted = _FORMS[NeedKind.UPLOAD if upload else NeedKind.FILE]
            raise InvalidArgument(f"contents[{name!r}] is none of: {wanted}")
    return Content(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), data)


def _typed(body: Mapping[str, Any], name: str, kind: type, otherwise: Any) -> Any:
    value = body.get(name, otherwise)
    if not isinstance(value, kind):
        word = {list: "a list", dict: "an object", str: "a string", bool: "true or false"}[kind]
        raise InvalidArgument(f"`{name}` is {word}")
    return value


def _strings(body: Mapping[str, Any], name: str) -> dict[str, str]:
    values: dict[str, Any] = _typed(body, name, dict, {})
    if not all(isinstance(value, str) for value in values.values()):
        raise InvalidArgument(f"`{name}` has strings as values")
    return values
