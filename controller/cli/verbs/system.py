"""version, shutdown, serve, schema: the engine itself, and what it takes."""

import json
from collections.abc import Mapping

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Flag, Verb
from resources.errors import InvalidArgument
from resources.version import VERSION

_OUTPUT = Flag("output", "how to print", short="o", value="FORM", choices=("text", "json"))


def version(call: Call) -> int:
    host = dict(call.engine.describe_host()) if call.engine is not None else None
    if call.arguments.text("output") == "json":
        call.session.out(json.dumps({"client": VERSION, "engine": host}) + "\n")
        return 0
    call.line(f"lading {VERSION}")
    if host is None and not call.arguments.on("client"):
        call.line("no engine runs")
    for name, value in (host or {}).items():
        call.line(f"  {name}: {_words(value)}")
    return 0


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part}" for key, part in value.items()) or "-"
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value)) or "-"
    return str(value)


def shutdown(call: Call) -> int:
    host = call.backend.describe_host()
    call.backend.shutdown()
    call.line(f"the engine (pid {host.get('pid')}) ends; containers go on")
    return 0


def serve(_: Call) -> int:
    """The client that is asked for this becomes the engine itself, and asks nobody."""
    raise InvalidArgument("an engine cannot be started through another one")


def schema(call: Call) -> int:
    from manifests.schema import schema as json_schema

    words = call.arguments.words
    kind = call.kind(words[0]) if words else None
    call.session.out(json.dumps(json_schema(kind), indent=2) + "\n")
    return 0


VERBS = (
    Verb(
        "version",
        "",
        "of the command and of the engine",
        version,
        (Flag("client", "of the command alone"), _OUTPUT),
    ),
    Verb("shutdown", "", "end the engine; containers go on", shutdown),
    Verb(
        "serve",
        "",
        "be the engine",
        serve,
        (
            Flag("background", "write to the log instead of a terminal"),
            Flag("runtime", "the OCI runtime", value="NAME", choices=("crun", "runc")),
            Flag("workers", "how many objects are worked on at once", value="N"),
            Flag("resync-seconds", "how often everything is looked at unasked", value="N"),
            Flag("log-format", "of the engine's log", value="FORM", choices=("console", "json")),
            Flag("log-level", "of the engine's log", value="LEVEL", choices=("debug", "info", "warning", "error")),
        ),
        text="Flags win over LADING_… in the environment, which wins over settings.yaml in the root.",
    ),
    Verb("schema", "[KIND]", "the JSON Schema of manifests, for editors", schema, (), (0, 1)),
)
