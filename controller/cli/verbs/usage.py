"""top and stats: what runs in a container, and what it uses."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.alias_generators import to_camel

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import MANY, Flag, Verb
from controller.cli.text.table import table
from controller.views import human_size
from resources.errors import EngineError
from resources.kinds import Kind
from resources.meta import Ref

_PAUSE = 1.0


def top(call: Call) -> int:
    ref = call.container(call.arguments.words[0])
    call.found(ref)
    found = call.backend.operations.top(ref)
    if call.arguments.text("output") == "json":
        call.session.out(json.dumps([dict(process) for process in found]) + "\n")
        return 0
    rows = [[str(process.get(name, "")) for name in ("pid", "user", "cpuTime", "command")] for process in found]
    width = call.session.columns if call.session.stdout_tty else 0
    call.session.out(table(("PID", "USER", "CPU TIME", "COMMAND"), rows, columns=width))
    return 0


def stats(call: Call) -> int:
    refs = [call.container(word) for word in call.arguments.words]
    for ref in refs:
        call.found(ref)
    refs = refs or [item.ref for item in call.backend.objects.list(Kind.CONTAINER, call.namespace)]
    before, begun = _sample(call, refs), time.monotonic()
    while True:
        while time.monotonic() - begun < _PAUSE and not call.session.cancelled():
            time.sleep(0.05)
        now, passed = _sample(call, refs), time.monotonic() - begun
        _print(call, refs, before, now, passed)
        if call.session.cancelled() or not call.arguments.on("follow"):
            return 0
        before, begun = now, time.monotonic()


def _sample(call: Call, refs: Sequence[Ref]) -> dict[Ref, Mapping[str, int]]:
    found = {}
    for ref in refs:
        try:
            found[ref] = call.backend.operations.stats(ref)
        except EngineError:  # it does not run, or not any more
            continue
    return found


def _print(call: Call, refs: Sequence[Ref], before: Mapping[Ref, Any], now: Mapping[Ref, Any], passed: float) -> None:
    rows = []
    for ref in refs:
        counters = now.get(ref)
        if not counters:
            continue
        used = counters.get("cpu_nanos", 0) - before.get(ref, counters).get("cpu_nanos", 0)
        cpus = max(used, 0) / 1e9 / max(passed, 0.001)
        if call.arguments.text("output") == "json":
            named = {to_camel(name): count for name, count in counters.items()}
            call.session.out(json.dumps({"name": ref.name, "cpus": round(cpus, 4), **named}) + "\n")
        memory, pids = human_size(counters.get("memory", 0)), str(counters.get("pids", ""))
        rows.append((ref.name, f"{cpus * 100:.1f} %", memory, pids))
    if call.arguments.text("output") != "json":
        call.session.out(table(("NAME", "CPU", "MEMORY", "PROCESSES"), rows))


_OUTPUT = Flag("output", "how to print", short="o", value="FORM", choices=("text", "json"))
VERBS = (
    Verb("top", "NAME", "the processes of a container", top, (_OUTPUT,), (1, 1)),
    Verb(
        "stats",
        "[NAME …]",
        "what containers use of cpu and memory, over one second",
        stats,
        (Flag("follow", "again every second", short="f"), _OUTPUT),
        (0, MANY),
    ),
)
