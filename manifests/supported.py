"""What the language has and this version cannot do yet: refused by name, where it stands, never ignored.

A version that learns one of these deletes its line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from manifests.node import ListNode, MapNode, Node, Scalar, Value
from manifests.normalize import Steps
from manifests.problems import Position, shown
from manifests.suggest import list_words
from resources.kinds import Kind


@dataclass(frozen=True, slots=True)
class Refused:
    path: str
    """Below the document; `[]` is every item of a list."""
    but: tuple[Value, ...] = ()
    """The values that are taken; without any, only an empty list or map is."""
    say: str = ""
    """What to do instead."""
    steps: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.path.replace("[]", ".[]").split(".")))


REFUSED: Mapping[Kind, tuple[Refused, ...]] = {
    Kind.IMAGE: (
        Refused("spec.from.build", say="use registry, archive, layout or rootfs"),
        Refused("spec.verify"),
        Refused("spec.track"),
        Refused("spec.push"),
    ),
    Kind.CONTAINER: (
        Refused("spec.update.strategy", ("recreate",)),
        Refused("spec.resources.rootfs"),
        Refused("spec.security.privileged", (False,)),
        Refused("spec.security.seccomp", ("default", "unconfined")),
        Refused("spec.security.apparmor", ("default",)),
        Refused("spec.security.userNamespace", ("host",)),
        Refused("spec.security.devices"),
        Refused("spec.security.dangerous"),
        Refused("spec.logging.driver", ("file", "none")),
        Refused("spec.logging.options"),
        Refused("spec.pid", ("private",)),
        Refused("spec.ipc", ("private",)),
        Refused("spec.uts", ("private",)),
        Refused("spec.cgroupns", ("private",)),
        Refused("spec.snapshotter", ("overlay",)),
    ),
    Kind.NETWORK: (
        Refused("spec.driver", ("bridge", "host", "none")),
        Refused("spec.ipam.driver", ("default",)),
        Refused("spec.ipam.options"),
        Refused("spec.options", say="mtu, internal, isolated and masquerade are fields of their own"),
    ),
    Kind.VOLUME: (
        Refused("spec.driver", ("local", "tmpfs")),
        Refused("spec.options"),
        Refused("spec.snapshotOnApply", (False,)),
    ),
}


OF_OTHERS_THAN_CONTAINERS = (Refused("metadata.annotations.lading/drift", ("heal",)),)


def refused(kind: Kind, document: MapNode) -> Iterator[tuple[Position, Steps, str]]:
    """Where the document asks for what this version cannot do."""
    others = () if kind is Kind.CONTAINER else OF_OTHERS_THAN_CONTAINERS
    for entry in (*REFUSED.get(kind, ()), *others):
        for position, steps, node in _matches(document, entry.steps, ()):
            if _asks(node, entry.but):
                yield position, steps, _message(node, entry)


def taken(kind: Kind | None, steps: Steps, words: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a field's words that this version does not refuse."""
    way = tuple("[]" if isinstance(step, int) else step for step in steps)
    refused_there = (entry for entry in REFUSED.get(kind, ()) if entry.steps == way and entry.but) if kind else ()
    but = next((entry.but for entry in refused_there), words)
    return tuple(word for word in words if word in but)


def _message(node: Node, entry: Refused) -> str:
    what = f"{shown(node.text)} is" if isinstance(node, Scalar) and entry.but else "is"
    say = entry.say
    if entry.but and not say:
        say = f"write {list_words(tuple(str(value).lower() for value in entry.but))}"
    return f"{what} not supported by this version{': ' if say else ''}{say}"


def _asks(node: Node, but: tuple[Value, ...]) -> bool:
    if isinstance(node, Scalar):
        return node.value is not None and node.value not in but
    return bool(node.items if isinstance(node, ListNode) else node.entries)


def _matches(node: Node, steps: tuple[str, ...], above: Steps) -> Iterator[tuple[Position, Steps, Node]]:
    if not steps:
        yield node.position, above, node
    elif steps[0] == "[]" and isinstance(node, ListNode):
        for number, item in enumerate(node.items):
            yield from _matches(item, steps[1:], (*above, number))
    elif isinstance(node, MapNode) and steps[0] in node.entries:
        entry = node.entries[steps[0]]
        if len(steps) == 1:
            # A list or map is shown by its key.
            at = entry.node.position if isinstance(entry.node, Scalar) else entry.position
            yield at, (*above, steps[0]), entry.node
        else:
            yield from _matches(entry.node, steps[1:], (*above, steps[0]))
