"""delete: objects, and with --data what they and those before them have kept."""

import json
from collections.abc import Sequence

from controller.cli.commandline.arguments import Arguments, UsageError
from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import MANY, Flag, Verb, named_kinds
from controller.cli.progress import waiting
from controller.cli.submission import reading
from controller.cli.verbs import apply
from resources.errors import NotFound
from resources.kinds import Kind
from resources.meta import Ref
from resources.object import Object


def delete(call: Call) -> int:
    named = _named(call)
    retained = _retained(call, named)
    if call.arguments.words:  # of files and of everything, what is not there is gone already
        for ref in named:
            if ref not in retained:
                call.found(ref)
    refs, going = _there(call, named), _going(call)
    if not (refs or retained or going):
        as_json = call.arguments.text("output") == "json"
        call.line(json.dumps({"event": "end", "ok": True, "timeout": False}) if as_json else "nothing to delete")
        return 0
    code = _deleted(call, refs, going) if refs or going else 0
    for ref in retained if code == 0 else ():
        call.backend.retained.discard(ref)
        call.note(f"the retained data of {ref} is deleted")
    return code


def _deleted(call: Call, refs: Sequence[Ref], going: Sequence[Object]) -> int:
    find = call.backend.objects.find
    keys = {item.ref: item.key for item in map(find, refs) if item is not None}
    marked = _marked(call, refs)
    for ref in marked:
        item = find(ref) if ref not in keys else None
        keys |= {} if item is None else {ref: item.key}
    if call.arguments.on("no-wait"):
        for ref in marked:
            call.line(f"{ref} is being deleted")
        return 0
    waited = {keys[ref]: ref for ref in marked if ref in keys} | {item.key: item.ref for item in going}
    return waiting.wait(call, list(waited.items()), waiting.until_gone)


def _marked(call: Call, refs: Sequence[Ref]) -> Sequence[Ref]:
    flags = {name: call.arguments.on(name) for name in ("data", "cascade", "force")}
    while refs:
        try:
            return call.backend.delete(refs, **flags)
        except NotFound:
            left = _there(call, refs)
            if call.arguments.words or len(left) == len(refs):
                raise
            refs = left  # the others went by themselves since they were listed
    return ()


def _there(call: Call, refs: Sequence[Ref]) -> list[Ref]:
    return [ref for ref in refs if call.backend.objects.find(ref) is not None]


def _going(call: Call) -> Sequence[Object]:
    """With everything also goes what nobody declared: by itself, once its last user is gone. Only waited for, then."""
    if not call.arguments.on("all"):
        return ()
    return [item for item in call.backend.objects.list(namespace=call.namespace) if item.metadata.implied]


def _named(call: Call) -> list[Ref]:
    if call.arguments.on("all"):
        every = call.backend.objects.list(namespace=call.namespace)
        return [item.ref for item in every if not item.metadata.implied]
    if call.arguments.many("file"):
        return [located.manifest.ref for located in reading.manifests(call).manifests]
    return [call.ref(word) for word in call.arguments.words]


def _check(given: Arguments) -> None:
    if bool(given.words) + bool(given.many("file")) + given.on("all") != 1:
        raise UsageError("say what to delete: KIND/NAME …, -f FILE, or --all")


def _retained(call: Call, named: Sequence[Ref]) -> list[Ref]:
    """Volumes whose object is gone and whose data was kept: they go only when data is named."""
    if not call.arguments.on("data"):
        return []
    kept = call.backend.retained.list(call.namespace if call.arguments.on("all") else None)
    if call.arguments.on("all"):
        return list(kept)
    there = call.backend.objects.find
    return [ref for ref in named if ref.kind is Kind.VOLUME and ref in kept and there(ref) is None]


VERBS = (
    Verb(
        "delete",
        "KIND/NAME … | -f FILE … | --all",
        "delete objects",
        delete,
        (
            reading.FILES,
            *reading.VARIABLES,
            Flag("all", "everything in the namespace"),
            Flag("data", "volumes' data as well"),
            Flag("cascade", "what uses them as well"),
            Flag("force", "kill instead of stopping"),
            *apply.WAIT,
            apply.OUTPUT,
        ),
        (0, MANY),
        text="""What is in use is not deleted: its users are named. Data of volumes stays (reclaim: retain), unless --data is
given: then what was retained of volumes that are gone already is deleted too.""",
        check=_check,
        kinds=named_kinds,
    ),
)
