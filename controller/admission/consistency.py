"""PURE: whether objects that are to be stored fit those that are: references, keys, cycles, and what others still use."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from controller.graph import dependencies, order
from controller.store.snapshot import Snapshot
from manifests.interface import Located
from manifests.problems import Position, Problem
from resources.meta import Ref
from resources.object import Object
from resources.references import Reference

PRUNED = Position("--prune")
"""Where a problem stands with an object that no manifest names any more."""


def inconsistencies(located: Mapping[Ref, Located], after: Snapshot, pruned: Iterable[Ref]) -> Iterator[Problem]:
    """`located`: the manifests of this apply; `after`: all objects as they would be."""
    gone = set(pruned)
    for ref, manifest in located.items():
        item = after.find(ref)
        if item is not None:
            yield from _dangling(item, manifest, after)
    for item in after.objects.values():
        if item.ref not in located and not item.deleting:
            yield from _left_behind(item, located, after, gone)
    yield from cycles(located, after)


def _dangling(item: Object, manifest: Located, after: Snapshot) -> Iterator[Problem]:
    for need in dependencies.needs(item, after):
        message = _flaw(need, after.find(need.target), after)
        if message:
            yield Problem(manifest.where(need.path), need.path, message)


def _flaw(need: Reference, target: Object | None, after: Snapshot) -> str:
    if target is None:
        names = [item.metadata.name for item in after.list(need.target.kind, need.target.namespace)]
        close = get_close_matches(need.target.name, names, 1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        return f"{need.target} is neither in these manifests nor in namespace {need.target.namespace}{meant}"
    if target.deleting:
        return f"{need.target} is being deleted"
    return _missing_key(need, target)


def _missing_key(need: Reference, target: Object) -> str:
    if need.key is None or need.key in target.effective.entries:
        return ""
    keys = ", ".join(sorted(target.effective.entries)) or "none at all"
    return f"{need.target} has no key {need.key!r}; it has {keys}"


def _left_behind(item: Object, located: Mapping[Ref, Located], after: Snapshot, pruned: set[Ref]) -> Iterator[Problem]:
    """What this apply would take away from an object that is none of its own."""
    for need in dependencies.needs(item, after):
        target = after.find(need.target)
        if need.target in pruned:
            yield Problem(PRUNED, need.path, f"{need.target} would be deleted, but {item.ref} uses it")
        elif need.target in located and target is not None and _missing_key(need, target):
            position = located[need.target].where("spec")
            yield Problem(
                position, "spec", f"the key {need.key!r} would be gone, but {item.ref} uses it in {need.path}"
            )


def cycles(located: Mapping[Ref, Located], after: Snapshot) -> Iterator[Problem]:
    namespaces = {ref.namespace for ref in located}
    items = [one for one in after.objects.values() if one.metadata.namespace in namespaces and not one.deleting]

    def where(edge: dependencies.Edge) -> str:
        manifest = located.get(edge.dependent)
        return edge.path if manifest is None else str(manifest.where(edge.path))

    for cycle in order.cycles(dependencies.edges(items)):
        own = next((edge for edge in cycle if edge.dependent in located), None)
        if own is not None:
            position = located[own.dependent].where(own.path)
            yield Problem(position, own.path, f"a cycle of dependencies: {order.cycle_words(cycle, where)}")
