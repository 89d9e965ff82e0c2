"""events: what happened, oldest first."""

import json
from collections.abc import Iterator

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Flag, Verb
from controller.cli.text.clean import one_line
from controller.interface import EngineEvent, EventLog
from resources.errors import Cancelled


def events(call: Call) -> int:
    log = call.backend.events
    since = call.moment("since")
    last = 0
    for event in kept_events(log):
        last = event.sequence
        if since is None or event.time >= since:
            _print(call, event)
    if call.arguments.on("follow"):
        for event in log.follow(last, call.session.cancelled):
            _print(call, event)
        raise Cancelled("interrupted")
    return 0


def kept_events(log: EventLog) -> Iterator[EngineEvent]:
    """All there are, page by page."""
    since = 0
    while page := log.read(since):
        yield from page
        since = page[-1].sequence


def _print(call: Call, event: EngineEvent) -> None:
    ref = event.ref
    wanted = call.arguments.words[0] if call.arguments.words else ""
    if wanted and ref != call.ref(wanted):
        return
    if ref is not None and not call.arguments.on("all-namespaces") and ref.namespace != call.namespace:
        return
    if call.arguments.text("output") == "json":
        line = {
            "sequence": event.sequence,
            "time": event.time.isoformat(),
            "kind": event.key.kind.value,
            "uid": event.key.uid,
            "namespace": ref.namespace if ref else None,
            "name": ref.name if ref else None,
            "reason": event.reason,
            "message": event.message,
            "data": dict(event.data),
        }
        call.session.out(json.dumps(line) + "\n")
        return
    time = event.time.astimezone().isoformat(sep=" ", timespec="milliseconds")
    call.line(one_line(f"{time[:23]}  {ref or event.key}  {event.reason}  {event.message}"))


VERBS = (
    Verb(
        "events",
        "[KIND/NAME]",
        "what happened",
        events,
        (
            Flag("follow", "go on with what happens", short="f"),
            Flag("since", "only from then on: 10m, or a time", value="T"),
            Flag("all-namespaces", "of every namespace", short="A"),
            Flag("output", "how to print", short="o", value="FORM", choices=("text", "json")),
        ),
        (0, 1),
    ),
)
