"""apply, plan: from manifests to desired state, and what would come of it."""

import json
from collections.abc import Collection, Container, Mapping, Sequence

from controller.cli.commandline.arguments import Arguments, UsageError
from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Flag, Verb
from controller.cli.progress import showing, waiting
from controller.cli.submission import reading, saved_plan
from controller.cli.text.plan_text import plan_text
from controller.interface import Applied, ApplyOptions, Backend, Submission
from controller.plan import Plan, asked_by_apply, to_json
from resources.errors import Conflict, EngineError, NotFound
from resources.kinds import Kind
from resources.meta import Key, Ref

CHANGES, STALE = 2, 3
OUTPUT = Flag("output", "how to print", short="o", value="FORM", choices=("text", "json"))
WAIT = (
    Flag("wait", "until all is ready, or failed for good (the default)"),
    Flag("no-wait", "return at once"),
    Flag("timeout", "give up after this long without progress (default: 2m)", value="DURATION"),
)
_OWNING = (
    Flag("owner", "whose objects these are", value="NAME"),
    Flag("prune", "delete what this owner has and the manifests do not name"),
    Flag("adopt", "take over objects of another owner"),
)


def apply(call: Call) -> int:
    if call.arguments.words:
        return _apply_saved(call)
    options = _options(call)
    submitted = reading.submissions(call)
    if call.arguments.on("dry-run"):
        _show(call, call.backend.plan(submitted, options))
        return 0
    reading.send(call, submitted)
    return _told(call, submitted, call.backend.apply(submitted, options))


def _apply_saved(call: Call) -> int:
    path = call.arguments.words[0]
    try:
        saved = saved_plan.read(call, path)
    except EngineError as error:
        if error.message.endswith("is a directory"):
            raise UsageError(
                f"{path} is a folder, and no saved plan", hint=f"manifests: `lading apply -f {path}`"
            ) from error
        if error.hint.startswith("manifests"):
            raise UsageError(f"{path} is no saved plan", hint=f"a manifest: `lading apply -f {path}`") from error
        raise
    try:
        reading.send(call, saved.submissions)
        applied = call.backend.apply(saved.submissions, saved.options, expect=saved.revision)
    except (Conflict, NotFound) as error:
        call.note(f"lading: the plan is stale: {error.message}; nothing was changed, plan again")
        return STALE
    return _told(call, saved.submissions, applied)


def plan(call: Call) -> int:
    options = _options(call)
    submitted = reading.submissions(call)
    found = call.backend.plan(submitted, options)
    path = call.arguments.text("out")
    if path:
        saved_plan.write(call, path, saved_plan.SavedPlan(submitted, options, found.revision))
    _show(call, found)
    if call.arguments.on("exit-code") and (
        found.changes_desired or (call.arguments.text("exit-code") == "drift" and found.has_drift)
    ):
        return CHANGES
    return 0


def _options(call: Call) -> ApplyOptions:
    owner, prune = call.arguments.text("owner"), call.arguments.on("prune")
    return ApplyOptions(owner=owner, prune=prune, adopt=call.arguments.on("adopt"))


def _check(given: Arguments) -> None:
    if given.words and given.many("file"):
        raise UsageError("a saved plan holds its manifests: -f has no place beside it")
    if not (given.words or given.many("file")):
        raise UsageError("which manifests?", hint="-f FILE, a folder, or - for standard input")
    if given.on("prune") and not given.text("owner"):
        raise UsageError("--prune needs --owner", hint="it deletes what that owner has and the manifests lack")


def _told(call: Call, submitted: Sequence[Submission], applied: Applied) -> int:
    groups = {"created": applied.created, "changed": applied.changed, "deleted": applied.deleted}
    as_json = call.arguments.text("output") == "json"
    if as_json:
        named = {name: [showing.naming(ref) for ref in refs] for name, refs in groups.items()}
        unchanged = [showing.naming(ref) for ref in applied.unchanged]
        line = {"event": "applied", "revision": applied.revision, **named, "unchanged": unchanged}
        call.session.out(json.dumps(line) + "\n")
    else:
        for name, refs in groups.items():
            for ref in refs:
                call.line(f"{ref} {name}")
        asked = [
            found for found in map(call.backend.objects.find, applied.unchanged) if found and asked_by_apply(found)
        ]
        for image in asked:
            call.line(f"{image.ref}: its registry is asked what {asked_by_apply(image)} is now")
        if not (asked or any(groups.values())):
            call.line("nothing to change")
        _held(call, applied.unchanged)
    if call.arguments.on("no-wait"):
        return 0
    objects: dict[Key, Ref] = {}
    passing = set()
    for manifest in (submission.located.manifest for submission in submitted):
        item, ref = call.backend.objects.find(manifest.ref), manifest.ref
        goes = manifest.kind is Kind.CONTAINER and manifest.spec.auto_remove
        if item is None and not goes:
            raise NotFound(f"{ref} is gone: somebody else deleted it")
        if item is not None:
            objects[item.key] = ref
            passing.update([item.key] if goes else [])
    objects |= _implied(call, objects.values())
    found = ((call.backend.objects.find(ref), ref) for ref in applied.deleted)
    going = [(item.key, ref) for item, ref in found if item is not None]
    return _wait(call, objects, dict(going), applied, passing)


def _implied(call: Call, refs: Collection[Ref]) -> dict[Key, Ref]:
    """What came with them though nobody declares it: an image that is pulled for them is waited for, and seen."""
    namespaces = {ref.namespace for ref in refs}
    items = (item for namespace in namespaces for item in call.backend.objects.list(namespace=namespace))
    there = {item.ref: item for item in items if item.metadata.implied and not item.deleting}
    edges = call.backend.graph((), None) if there else ()
    used = {dependency for dependent, dependency, _ in edges if dependent in refs}
    return {there[ref].key: ref for ref in used & there.keys()}


def _wait(call: Call, objects: dict[Key, Ref], going: dict[Key, Ref], applied: Applied, passing: Container[Key]) -> int:
    """A second apply has nothing to show: those that are as they should be are not spoken of, but for those that use what
    is not. What goes is waited for beside what comes: the one may need what the other has."""

    def judge(backend: Backend, key: Key, ref: Ref) -> showing.Look:
        if key in going:
            return waiting.until_gone(backend, key, ref)
        return waiting.until_ready(backend, key, ref, passing)

    fresh = {*applied.created, *applied.changed}
    waiting.let_look(call.backend, [key for key, ref in objects.items() if ref not in fresh])
    uses = _uses(call, objects)
    looks = waiting.judged(call.backend, objects, objects, judge, uses, objects)
    open_ = waiting.with_users((key for key, ref in objects.items() if ref in fresh or not looks[key].done), uses)
    if not open_ and not going and call.arguments.text("output") != "json":
        return 0
    waited = [(key, ref) for key, ref in objects.items() if key in open_]
    return waiting.wait(call, [*waited, *going.items()], judge, uses)


def _uses(call: Call, objects: Mapping[Key, Ref]) -> waiting.Uses:
    keys = {ref: key for key, ref in objects.items()}
    found: dict[Key, list[Key]] = {}
    for namespace in {ref.namespace for ref in keys}:
        for dependent, dependency, _ in call.backend.graph((), namespace):
            if dependent in keys and dependency in keys:
                found.setdefault(keys[dependent], []).append(keys[dependency])
    return found


def _held(call: Call, unchanged: Sequence[Ref]) -> None:
    """What stays as somebody left it by hand, and how it goes on."""
    for ref in unchanged:
        item = call.backend.objects.find(ref)
        held = item.suspension if item else None
        if held is not None:
            verb = "start" if held.state == "stopped" else "resume"
            call.line(f"{ref} is {held.state} by {held.by} (lading {verb} {ref.name} runs it)")


def _show(call: Call, found: Plan) -> None:
    if call.arguments.text("output") == "json":
        call.session.out(json.dumps(to_json(found)) + "\n")
    else:
        width = call.session.columns if call.session.stdout_tty else 0
        call.session.out(plan_text(found, width=width, color=call.session.color, actions=call.arguments.on("verbose")))


VERBS = (
    Verb(
        "apply",
        "-f FILE … | PLANFILE",
        "make the host match the manifests",
        apply,
        (
            reading.FILES,
            *reading.VARIABLES,
            *_OWNING,
            *WAIT,
            Flag("dry-run", "only say what would change"),
            Flag("once", "be the engine for this one command, and leave none behind"),
            Flag("atomic", "undo all when something fails", later=True),
            OUTPUT,
        ),
        (0, 1),
        text="""Reads the manifests and all they name, writes what they ask for, and waits until it is so.
Applying the same again changes nothing.

  lading apply -f shop/                      a folder of manifests
  lading apply -f web.yaml --var TAG=1.2     with a variable
  lading plan -f shop/ --out shop.plan && lading apply shop.plan

Exit codes: 0 done, 1 error, 3 the saved plan is stale (nothing was touched), 4 no progress within --timeout.""",
        check=_check,
    ),
    Verb(
        "plan",
        "-f FILE …",
        "show what apply would change, field by field",
        plan,
        (
            reading.FILES,
            *reading.VARIABLES,
            *_OWNING,
            Flag(
                "exit-code", "exit with 2 when something would change", value="drift", optional=True, choices=("drift",)
            ),
            Flag("out", "save the plan, sealed, for `lading apply PLANFILE`", value="FILE"),
            Flag("against", "compare with a dump", value="DUMP", later=True),
            OUTPUT,
        ),
        text="""Changes nothing. Says of each change whether it is hot, a restart, a recreate, or loses data.
--exit-code counts desired state; with =drift also what others changed on the host.""",
        check=_check,
    ),
)
