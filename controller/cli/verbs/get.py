"""get: what there is, and how it stands."""

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from controller import views
from controller.cli.commandline.arguments import Arguments
from controller.cli.commandline.call import Call, selected
from controller.cli.commandline.declarations import Flag, Verb
from controller.cli.text.clean import clean, one_line
from controller.cli.text.table import table
from resources.errors import InvalidArgument
from resources.kinds import API_VERSION, SUPPORTED, Kind
from resources.meta import Key, Ref, Status
from resources.object import Object

_FORMS = ("table", "wide", "json", "yaml", "manifest", "name")
_GATHER = 0.1
_SELDOM = ("PORTS", "WHY")
"""Left out where none has any."""


def get(call: Call) -> int:
    kinds, ref = _asked(call)
    revision = call.backend.objects.revision()
    items = _items(call, kinds, ref)
    if call.arguments.on("watch"):
        return _watch(call, kinds, ref, items, revision)
    _print(call, items, single=ref is not None)
    return 0


def _asked(call: Call) -> tuple[Sequence[Kind], Ref | None]:
    """`KIND`, `KIND NAME`, `KIND/NAME`, `KIND,KIND` or `all`."""
    words = call.arguments.words
    first, slash, name = words[0].partition("/")
    if len(words) == 2:
        if slash:
            raise InvalidArgument("give KIND NAME, or KIND/NAME")
        name = words[1]
    if first == "all" and not name:
        return SUPPORTED, None
    if name:
        if call.arguments.on("all-namespaces"):
            raise InvalidArgument("a name stands for one object: -A has no place beside it")
        ref = call.ref(f"{first}/{name}")
        return (ref.kind,), ref
    return tuple(call.kind(word) for word in first.split(",")), None


def _kinds(given: Arguments) -> Sequence[str]:
    first, slash, _ = given.words[0].partition("/")
    listed = [first] if slash or len(given.words) == 2 else first.split(",")
    return [] if listed == ["all"] else listed


def _items(call: Call, kinds: Sequence[Kind], ref: Ref | None) -> list[Object]:
    if ref is not None:
        return [call.found(ref)]
    namespace = None if call.arguments.on("all-namespaces") else call.namespace
    selectors = call.arguments.many("selector")
    found = (item for kind in kinds for item in call.backend.objects.list(kind, namespace))
    return [item for item in found if selected(item, selectors)]


def _print(call: Call, items: Sequence[Object], *, single: bool) -> None:
    form = call.arguments.text("output", "table")
    objects = call.backend.objects
    if form == "name":
        for item in items:
            call.line(str(item.ref))
    elif form == "manifest":
        documents = "---\n".join(views.to_yaml(views.as_manifest(item)) for item in items)
        call.session.out(_for_people(call, documents))
    elif form in ("json", "yaml"):
        shown = [views.as_json(item, objects.status(item.key)) for item in items]
        value = shown[0] if single else {"apiVersion": API_VERSION, "kind": "List", "items": shown}
        if form == "json":
            call.session.out(json.dumps(value, indent=2) + "\n")
        else:
            call.session.out(_for_people(call, views.to_yaml(value)))
    elif not items:
        call.note(f"nothing in namespace {call.namespace}" if not call.arguments.on("all-namespaces") else "nothing")
    else:
        call.session.out(_tables(call, items))


def _tables(call: Call, items: Sequence[Object]) -> str:
    kinds = list(dict.fromkeys(item.kind for item in items))
    return "\n".join(_table(call, [item for item in items if item.kind is kind], len(kinds) > 1) for kind in kinds)


def _table(call: Call, items: Sequence[Object], with_kind: bool) -> str:
    wide, everywhere = call.arguments.text("output") == "wide", call.arguments.on("all-namespaces")
    columns = list(views.columns(items[0].kind, wide=wide))
    now = datetime.now(UTC)
    rows = []
    for item in items:
        status = call.backend.objects.status(item.key) or Status()
        name = str(item.ref) if with_kind else item.metadata.name
        cells = [cell(item, status, now) for _, cell in columns]
        rows.append([*([item.metadata.namespace] if everywhere else []), name, *cells])
    headings = [*(["NAMESPACE"] if everywhere else []), "NAME", *(heading for heading, _ in columns)]
    shown = [at for at, heading in enumerate(headings) if heading not in _SELDOM or any(row[at] for row in rows)]
    rows = [[row[at] for at in shown] for row in rows]
    return table([headings[at] for at in shown], rows, columns=0 if wide else _width(call))


def _watch(call: Call, kinds: Sequence[Kind], ref: Ref | None, items: Sequence[Object], revision: int) -> int:
    """On a terminal the table is drawn anew; elsewhere each change is a line, or a JSON object."""
    if call.arguments.text("output", "table") in ("table", "wide") and call.session.stdout_tty:
        return _redraw(call, kinds, ref)
    objects = call.backend.objects
    known = {item.key: item.ref for item in items}
    told: dict[Key, str] = {}

    def tell(key: Key, item: Object | None, ref: Ref) -> None:
        text = _said(call, item, ref)
        if told.get(key) != text:
            told[key] = text
            call.session.out(text)

    for item in items:
        tell(item.key, item, item.ref)
    for key in call.backend.changes(revision, call.session.cancelled):
        found = objects.get(key)
        if found is None:
            gone = known.pop(key, None)
            if gone is not None:
                tell(key, None, gone)
            if ref is not None and not known:
                return 0
        elif key in known or any(item.key == key for item in _matching(call, kinds, ref)):
            known[key] = found.ref
            tell(key, found, found.ref)
    return 0


def _matching(call: Call, kinds: Sequence[Kind], ref: Ref | None) -> Iterator[Object]:
    if ref is None:
        yield from _items(call, kinds, None)
    else:
        item = call.backend.objects.find(ref)
        if item is not None:
            yield item


def _said(call: Call, item: Object | None, ref: Ref) -> str:
    """How it stands now; None is gone."""
    form = call.arguments.text("output", "table")
    status = (call.backend.objects.status(item.key) or Status()) if item else Status(phase="Deleted")
    if form in ("table", "wide"):
        ready = status.condition("Ready")
        why = "" if ready is None or ready.status == "True" else ready.message or ready.reason
        return f"{one_line(f'{ref}  {status.phase}  {why}')}\n"
    if item is None:
        deleted = {"apiVersion": API_VERSION, "kind": ref.kind.value, "deleted": True}
        return json.dumps({**deleted, "metadata": {"name": ref.name, "namespace": ref.namespace}}) + "\n"
    if form == "json":
        return json.dumps(views.as_json(item, call.backend.objects.status(item.key))) + "\n"
    if form == "name":
        return f"{ref}\n"
    shown = views.as_manifest(item) if form == "manifest" else views.as_json(item, status)
    return f"---\n{_for_people(call, views.to_yaml(shown))}"


def _redraw(call: Call, kinds: Sequence[Kind], ref: Ref | None) -> int:
    height = 0
    while not call.session.cancelled():
        revision = call.backend.objects.revision()
        items = list(_matching(call, kinds, ref))
        text = _tables(call, items) if items else "nothing\n"
        lines = text.splitlines()[: max((call.session.rows or 24) - 1, 1)]
        up = f"\x1b[{height}A" if height else ""
        call.session.out("\r" + up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")
        height = len(lines)
        _await_change(call, revision)
    return 0


def _await_change(call: Call, revision: int) -> None:
    """Until something changed, and a moment more; or a second, since ages are shown."""
    latest = time.monotonic() + 1.0
    until = [latest]
    for _ in call.backend.changes(revision, lambda: call.session.cancelled() or time.monotonic() >= until[0]):
        until[0] = min(until[0], latest if until[0] < latest else time.monotonic() + _GATHER)
        if time.monotonic() >= until[0]:
            return


def _width(call: Call) -> int:
    return call.session.columns if call.session.stdout_tty else 0


def _for_people(call: Call, text: str) -> str:
    return clean(text) if call.session.stdout_tty else text


VERBS = (
    Verb(
        "get",
        "KIND [NAME]",
        "list objects, or show one",
        get,
        (
            Flag("output", "how to print", short="o", value="FORM", choices=_FORMS),
            Flag("watch", "go on showing what changes", short="w"),
            Flag("selector", "only with this label", short="l", value="K=V", repeat=True),
            Flag("all-namespaces", "of every namespace", short="A"),
        ),
        (1, 2),
        text="""KIND is container, image, network, volume, secret, config, several with commas, or all.
`-o manifest` is what to apply for the same; what a Secret holds is never shown.

  lading get container          lading get volume orders -o yaml          lading get all -A -o name""",
        kinds=_kinds,
    ),
)
