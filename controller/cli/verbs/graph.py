"""graph: what depends on what, as a tree, or for Graphviz, Mermaid and browsers."""

from collections.abc import Sequence

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Flag, Verb
from controller.cli.submission import reading
from controller.graph.dependencies import Edge
from controller.graph.formats import FORMATS
from controller.graph.order import sort_key
from controller.interface import Submission
from resources.meta import Ref


def graph(call: Call) -> int:
    submitted: tuple[Submission, ...] = reading.submissions(call) if call.arguments.many("file") else ()
    edges = [Edge(*edge, path="") for edge in call.backend.graph(submitted, call.namespace)]
    named = [submission.located.manifest.ref for submission in submitted]
    nodes = named or [item.ref for item in call.backend.objects.list(namespace=call.namespace)]
    every = sorted({*nodes, *(ref for edge in edges for ref in (edge.dependent, edge.dependency))}, key=sort_key)
    call.session.out(FORMATS.get(call.arguments.text("output"), tree)(every, edges))
    return 0


def tree(nodes: Sequence[Ref], edges: Sequence[Edge]) -> str:
    """What nothing depends on stands at the left; what was shown before is not taken apart again."""
    below: dict[Ref, list[Edge]] = {}
    for edge in sorted(edges, key=lambda edge: sort_key(edge.dependency)):
        below.setdefault(edge.dependent, []).append(edge)
    needed = {edge.dependency for edge in edges}
    shown: set[Ref] = set()
    lines: list[str] = []

    def add(ref: Ref, before: str, note: str, under: str) -> None:
        again = ref in shown and ref in below
        lines.append(f"{before}{ref}{note}{' …' if again else ''}")
        if again:
            return
        shown.add(ref)
        children = below.get(ref, [])
        for number, edge in enumerate(children, 1):
            branch, rail = ("└─ ", "   ") if number == len(children) else ("├─ ", "│  ")
            condition = "" if edge.condition == "ready" else f" ({edge.condition})"
            add(edge.dependency, under + branch, condition, under + rail)

    for ref in nodes:
        if ref not in needed:
            add(ref, "", "", "")
    return "".join(f"{line}\n" for line in lines) or "nothing\n"


VERBS = (
    Verb(
        "graph",
        "[-f FILE …]",
        "what depends on what",
        graph,
        (
            reading.FILES,
            *reading.VARIABLES,
            Flag("output", "how to print", short="o", value="FORM", choices=("text", *FORMATS)),
        ),
    ),
)
