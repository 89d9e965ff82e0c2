"""Who gives back what others wait for wakes them, at whatever moment that is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from controller.engine import Engine, marked_for_deletion
from controller.store.memory import MemoryStore
from controller.store.objects import ObjectStore
from reconcilers.interface import Context, Diff
from resources.errors import Conflict
from resources.kinds import Kind
from resources.meta import Condition, Key, Status
from resources.object import Object
from tests.unit.controller.making import made


@dataclass(frozen=True, slots=True)
class Sit:
    name: str

    def describe(self) -> str:
        return f"{self.name} sits down"


@dataclass(frozen=True, slots=True)
class Rise:
    name: str
    wakes: ClassVar[bool] = True

    def describe(self) -> str:
        return f"{self.name} gets up"


@dataclass
class Seat:
    """There is one."""

    kind: Kind = Kind.CONTAINER
    taken: str = ""
    wanted: set[str] = field(default_factory=set)
    refuses: bool = False
    """Who cannot have it is told by the act."""
    seen: Callable[[str], None] = lambda name: None
    """Called when one has looked at it, and not decided yet."""

    def observe(self, key: Key, desired: Object | None, context: Context) -> str:
        taken = self.taken
        if desired is not None:
            self.seen(desired.metadata.name)
        return taken

    def diff(self, desired: Object | None, observed: str, context: Context) -> Diff[Any]:
        if desired is None:
            return Diff()
        name = desired.metadata.name
        wants = name in self.wanted and not desired.deleting
        if observed == name:
            return Diff() if wants or desired.deleting else Diff((Rise(name),))
        if wants and observed and not self.refuses:
            return Diff(waiting=f"{observed} has the seat")
        return Diff((Sit(name),)) if wants else Diff()

    def act(self, action: Sit | Rise) -> None:
        if isinstance(action, Sit) and self.taken:
            raise Conflict(f"{self.taken} has the seat")
        self.taken = action.name if isinstance(action, Sit) else ""

    def status(self, desired: Object, observed: str, context: Context) -> Status:
        ready = Condition(type="Ready", status="True", reason="Seen", last_transition_time=context.now)
        return Status(phase="Seen", observed_generation=desired.metadata.generation, conditions=(ready,))

    def known(self) -> list[Key]:
        return []


class Silent:
    def emit(self, key: Key, reason: str, message: str, **data: Any) -> None:
        """Nobody listens."""


@dataclass
class Room:
    seat: Seat
    engine: Engine
    keys: dict[str, Key]

    def look(self, *names: str) -> None:
        for name in names:
            self.engine.queue.add(self.keys[name])
        self.settle()

    def settle(self) -> None:
        while self.engine.step():
            pass


@pytest.fixture
def room() -> Room:
    seat, objects = Seat(), ObjectStore(MemoryStore())
    items = {name: made(f"container/{name}", {"image": "a", "networks": [{"name": "none"}]}) for name in "ab"}
    objects.commit(list(items.values()))
    engine = Engine(objects, {Kind.CONTAINER: seat}, Silent(), lambda: datetime.now(UTC), 0)
    room = Room(seat, engine, {name: item.key for name, item in items.items()})
    seat.wanted = {"a", "b"}
    room.look("a")
    assert seat.taken == "a"
    return room


@pytest.mark.parametrize("refuses", [False, True], ids=["waits", "fails"])
def test_who_waits_is_looked_at_when_it_is_given_back(room: Room, refuses: bool) -> None:
    room.seat.refuses = refuses
    room.look("b")
    assert room.seat.taken == "a"
    room.seat.wanted = {"b"}
    room.look("a")
    assert room.seat.taken == "b"


def test_what_is_given_back_while_another_looks_is_not_missed(room: Room) -> None:
    def meanwhile(name: str) -> None:
        if name == "b":
            room.seat.seen = lambda _: None
            room.seat.wanted = {"b"}
            room.engine.queue.add(room.keys["a"])
            assert room.engine.step()

    room.seat.seen = meanwhile
    room.look("b")
    assert room.seat.taken == "b"


def test_what_goes_gives_back_all_it_had(room: Room) -> None:
    room.look("b")
    room.engine.objects.edit(room.keys["a"], lambda item: marked_for_deletion(item, datetime.now(UTC)))
    room.seat.wanted = {"b"}
    room.seat.taken = ""  # as the store frees it
    room.look("a")
    assert room.engine.objects.get(room.keys["a"]) is None
    assert room.seat.taken == "b"
