"""PURE: in which order objects come to be, and which wait for each other for ever."""

from collections.abc import Callable, Iterable, Sequence

import networkx as nx

from controller.graph.dependencies import Edge
from resources.errors import InvalidArgument
from resources.meta import Ref


def layers(refs: Iterable[Ref], edges: Iterable[Edge]) -> tuple[tuple[Ref, ...], ...]:
    """The objects in the order in which they come to be: each layer depends on earlier ones only.

    Raises: InvalidArgument naming a cycle.
    """
    graph = _digraph(refs, edges)
    try:
        return tuple(tuple(sorted(layer, key=sort_key)) for layer in nx.topological_generations(graph))
    except nx.NetworkXUnfeasible as error:
        raise InvalidArgument(f"a cycle of dependencies: {cycle_words(cycles(edges)[0])}") from error


def cycles(edges: Iterable[Edge]) -> tuple[tuple[Edge, ...], ...]:
    """One cycle out of every knot of objects that wait for each other, as the edges along it."""
    by_ends = {(edge.dependent, edge.dependency): edge for edge in edges}
    refs = {ref for ends in by_ends for ref in ends}
    graph = _digraph(refs, by_ends.values())
    found: list[tuple[Edge, ...]] = []
    for component in nx.strongly_connected_components(graph):
        start = min(component, key=sort_key)
        if len(component) == 1 and not graph.has_edge(start, start):
            continue
        path = nx.find_cycle(graph.subgraph(component), source=start)
        # The digraph points from what is needed to what needs it; a cycle is told the other way round.
        found.append(tuple(by_ends[after, before] for before, after, *_ in reversed(list(path))))
    return tuple(sorted(found, key=lambda cycle: sort_key(cycle[0].dependent)))


def cycle_words(cycle: Sequence[Edge], where: Callable[[Edge], str] = lambda edge: edge.path) -> str:
    """`container/a needs container/b (a.yaml:3:5), container/b needs container/a (b.yaml:7:5)`."""
    return ", ".join(f"{edge.dependent} needs {edge.dependency} ({where(edge)})" for edge in cycle)


def sort_key(ref: Ref) -> tuple[str, str, str]:
    return ref.kind, ref.namespace, ref.name


def _digraph(refs: Iterable[Ref], edges: Iterable[Edge]) -> "nx.DiGraph[Ref]":
    graph: nx.DiGraph[Ref] = nx.DiGraph()
    graph.add_nodes_from(refs)
    for edge in edges:
        if edge.dependent in graph and edge.dependency in graph:
            graph.add_edge(edge.dependency, edge.dependent)
    return graph
