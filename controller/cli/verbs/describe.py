"""describe: one object for people: how it stands and why, what it is made of, what it uses, what happened to it."""

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime

from controller import views
from controller.cli.commandline.call import Call, kind_of
from controller.cli.commandline.declarations import MANY, Flag, Verb, named_kinds
from controller.cli.text.clean import one_line
from controller.cli.text.table import table
from controller.cli.verbs import describe_networks
from controller.cli.verbs.events import kept_events
from controller.cli.verbs.host_links import HostLinks
from controller.cli.verbs.network import members
from resources.container_parts import Mount
from resources.image_reference import normalize
from resources.kinds import Kind
from resources.meta import Ref, Status
from resources.object import Object

_EVENTS = 12
_DIGEST = len("sha256:") + 12
_ANEW = "`lading delete` of the container and of its image, if that is declared, and `lading apply` take that"
_STEPS = frozenset(
    [
        "PrepareSnapshot",
        "MountRootfs",
        "CreateSandbox",
        "WriteSandboxFiles",
        "ProjectContent",
        "StageBind",
        "CreateAnonymous",
        "DeleteAnonymous",
        "CopyUpVolume",
        "CreateTask",
        "RecordExit",
        "RecordApplied",
        "StartProbe",
        "RotateLog",
        "DeleteTask",
        "Unstage",
        "DeleteProjection",
        "UnmountRootfs",
        "RemoveSnapshot",
        "DropSandbox",
        "ForgetJob",
        "NoteUnpacked",
        "DropJob",
        "StartPrune",
        "DropPopulate",
        "UseLocal",
        "AbandonPull",
        "DropRecord",
        "AllocateSubnets",
        "AllocateAddresses",
        "ReleaseAddresses",
        "AllocatePorts",
        "ReleasePorts",
        "ForgetFlows",
        "SetNames",
        "RemoveNames",
    ]
)
"""How the engine goes about it; `--all-events` shows them too."""
_ELSEWHERE = ("STATE", "AGE", "WHY", "NETWORKS", "ADDRESSES", "PORTS", "SUBNETS", "INTERNAL")
_USUAL = ("Ready", "Started", "Completed")
"""Conditions the first lines speak of."""


def describe(call: Call) -> int:
    words = call.arguments.words
    if len(words) > 1 and kind_of(words[0]) and not any("/" in word for word in words):
        words = tuple(f"{words[0]}/{word}" for word in words[1:])
    refs = [call.ref(word) for word in dict.fromkeys(words)]
    items = [call.found(ref) for ref in refs]
    for number, item in enumerate(items):
        if number:
            call.line()
        _one(call, item)
    return 0


def _one(call: Call, item: Object) -> None:
    status = call.backend.objects.status(item.key) or Status()
    rows = [
        *_standing(item, status),
        *_parts(item, status),
        *_content(call, item, status),
        *_networking(call, item, status),
    ]
    rows += [*_conditions(status), *_related(call, item)]
    call.line(str(item.ref))
    size = max(len(name) for name, _ in rows)
    for name, value in rows:
        call.line(f"  {name:<{size}}  {one_line(value)}")
    _events(call, item)


def _standing(item: Object, status: Status) -> Iterator[tuple[str, str]]:
    yield "namespace", item.metadata.namespace
    if item.metadata.owner:
        yield "owner", item.metadata.owner
    if item.metadata.labels:
        yield "labels", ", ".join(f"{key}={value}" for key, value in item.metadata.labels.items())
    ready = status.condition("Ready")
    why = "" if ready is None or ready.status == "True" else ready.message or ready.reason
    state = "Deleting" if item.deleting else status.phase
    yield "state", f"{state}: {why}" if why and why != state else state
    since = ready.last_transition_time if ready else None
    for field in ("startedAt", "finishedAt"):
        value = status.fields.get(field)
        since = datetime.fromisoformat(value) if isinstance(value, str) else since
    if since is not None:
        yield "since", f"{_moment(since)} ({views.age(since, datetime.now(UTC))})"


def _parts(item: Object, status: Status) -> Iterator[tuple[str, str]]:
    now = datetime.now(UTC)
    for heading, cell in views.columns(item.kind, wide=True):
        value = "" if heading in _ELSEWHERE else cell(item, status, now)
        if value:
            yield heading.lower(), value
    yield "created", _moment(item.metadata.creation_timestamp)
    if item.kind is not Kind.CONTAINER:
        return
    spec = item.effective
    if spec.entrypoint is not None or spec.command is not None:
        yield "command", shlex.join([*(spec.entrypoint or ()), *(spec.command or ())])
    for mount in spec.mounts:
        yield "mount", _mount(mount)
    health = status.fields.get("health")
    if health:
        streak = f", {health['failingStreak']} failures in a row" if health.get("failingStreak") else ""
        message = f": {health['message']}" if health.get("message") else ""
        yield "health", f"{health['state']}{streak}{message}"


def _content(call: Call, item: Object, status: Status) -> Iterator[tuple[str, str]]:
    """What a container is made of, and whether the name of its image stands for that still."""
    runs = status.fields.get("imageDigest")
    if item.kind is not Kind.CONTAINER or not isinstance(runs, str):
        return
    yield "content", runs[:_DIGEST]
    asked, declared = item.effective.image, None
    if not isinstance(asked, str):
        declared = call.backend.objects.find(Ref(kind=Kind.IMAGE, namespace=item.metadata.namespace, name=asked.name))
        asked = declared.effective.source.registry if declared else None
    name = normalize(asked) if asked else ""
    now = next((image.digest for image in call.backend.images.stored(unnamed=False) if name in image.names), runs)
    if now != runs:
        mover = declared.ref if declared and declared.effective.pull == "always" else None
        how = f"`lading apply` of {mover} takes what the registry has" if mover else _ANEW
        yield "its name", f"{asked} is {now[:_DIGEST]} by now: {how}"


def _networking(call: Call, item: Object, status: Status) -> Iterator[tuple[str, str]]:
    links = HostLinks(call.backend)
    if item.kind is Kind.CONTAINER:
        yield from describe_networks.of_container(item, status, links)
    elif item.kind is Kind.NETWORK:
        yield from describe_networks.of_network(item, status, links, members(call, item, links))


def _mount(mount: Mount) -> str:
    value = getattr(mount, mount.source)
    named = {"bind": value, "tmpfs": "tmpfs", "image": f"image/{value.name}" if mount.image else ""}
    source = named.get(mount.source) or f"{mount.source}/{value}"
    key = f" ({mount.key})" if mount.key else ""
    return f"{source}{key} at {mount.target}{' (read-only)' if mount.read_only else ''}"


def _conditions(status: Status) -> Iterator[tuple[str, str]]:
    for condition in status.conditions:
        if condition.status != "True" and condition.type not in _USUAL:
            word = "no" if condition.status == "False" else "not known"
            said = condition.message or condition.reason
            yield condition.type, f"{word}: {said}" if said else word


def _related(call: Call, item: Object) -> Iterator[tuple[str, str]]:
    edges = call.backend.graph((), item.metadata.namespace)
    for title, refs in (
        ("uses", [_dependency(call, edge[1], edge[2]) for edge in edges if edge[0] == item.ref]),
        ("used by", [str(edge[0]) for edge in edges if edge[1] == item.ref]),
    ):
        if refs:
            yield title, ", ".join(dict.fromkeys(refs))


def _dependency(call: Call, ref: Ref, condition: str) -> str:
    """How it stands itself, and where that is not plain what it has to be for the other."""
    found = call.backend.objects.find(ref)
    status = call.backend.objects.status(found.key) if found else None
    state = "not there" if found is None else "Deleting" if found.deleting else (status or Status()).phase
    return f"{ref} ({state})" if condition == "ready" else f"{ref} ({state}, has to be {condition})"


def _events(call: Call, item: Object) -> None:
    every = call.arguments.on("all-events")
    found = [event for event in kept_events(call.backend.events) if event.key == item.key]
    kept = found if every else [event for event in found if event.reason not in _STEPS][-_EVENTS:]
    if kept:
        rows = [(_moment(event.time), event.reason, event.message) for event in kept]
        width = call.session.columns if call.session.stdout_tty else 0
        call.line("events:")
        call.session.out(table(("TIME", "REASON", "MESSAGE"), rows, columns=width))
    if len(kept) < len(found):
        call.line(f"… and {len(found) - len(kept)} more (--all-events)")


def _moment(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


VERBS = (
    Verb(
        "describe",
        "KIND/NAME …",
        "one object or several: how it stands and why, what it uses, what happened to it",
        describe,
        (Flag("all-events", "all that is kept, and the engine's single steps too"),),
        (1, MANY),
        text="For people; `lading get KIND NAME -o yaml` (or json) says everything.",
        kinds=named_kinds,
    ),
)
