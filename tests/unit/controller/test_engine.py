"""The loop, with a world that is a dictionary: what it retries, gates, reports and forgets."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.engine import Engine, marked_for_deletion
from controller.store.memory import MemoryStore
from controller.store.objects import ObjectStore
from reconcilers.interface import ChangeKind, Context, Diff, FieldChange
from resources.config import ConfigContent, ConfigSpec
from resources.container import ContainerSpec, Dependency
from resources.container_parts import NetworkAttachment
from resources.errors import EngineError, InvalidArgument, Unavailable
from resources.kinds import Kind
from resources.meta import Condition, Key, ObjectMeta, Status
from resources.object import Object


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class SetValue:
    uid: str
    value: str | None

    def describe(self) -> str:
        return f"set {self.value}"


@dataclass(slots=True)
class World:
    """What one kind's objects are made into: uid -> value."""

    kind: Kind
    values: dict[str, str] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    acts: list[SetValue] = field(default_factory=list)
    conditions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    wake: datetime | None = None
    phase: str = "Done"
    fields: dict[str, Any] = field(default_factory=dict)
    overlapping: bool = False
    observed: list[str] = field(default_factory=list)
    refreshed: list[tuple[Key, bool]] = field(default_factory=list)
    _busy: set[str] = field(default_factory=set)

    def observe(self, key: Key, desired: Object | None, context: Context) -> str | None:
        self.overlapping |= key.uid in self._busy
        self._busy.add(key.uid)
        time.sleep(0)
        self._busy.discard(key.uid)
        self.observed.append(key.uid)
        return self.values.get(key.uid)

    def diff(self, desired: Object | None, observed: str | None, context: Context) -> Diff[SetValue]:
        wanted = None if desired is None or desired.deleting else wish(desired)
        uid = desired.metadata.uid if desired else next((u for u, v in self.values.items() if v == observed), "")
        if wanted == observed:
            return Diff(wake_at=self.wake)
        if context.blockers:
            return Diff(waiting="; ".join(context.blockers))
        drift = desired is not None and any(act.uid == uid for act in self.acts)
        change = FieldChange("value", observed, wanted, ChangeKind.HOT, drift)
        return Diff((SetValue(uid, wanted),), (change,), ChangeKind.HOT)

    def act(self, action: SetValue) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.acts.append(action)
        if action.value is None:
            self.values.pop(action.uid, None)
        else:
            self.values[action.uid] = action.value

    def status(self, desired: Object, observed: str | None, context: Context) -> Status:
        done = observed == wish(desired)
        types = ("Ready", *self.conditions.get(desired.metadata.name, ())) if done else ("Ready",)
        conditions = tuple(
            Condition(
                type=kind,
                status="True" if done else "False",
                reason="Done" if done else "Waiting",
                last_transition_time=context.now,
            )
            for kind in types
        )
        return Status(
            phase=(self.phase if done else "Pending"),
            observed_generation=desired.metadata.generation,
            conditions=conditions,
            fields={"value": observed, **self.fields},
        )

    def refresh(self, key: Key, *, ask: bool) -> None:
        self.refreshed.append((key, ask))

    def known(self) -> list[Key]:
        return [Key(kind=self.kind, uid=uid) for uid in self.values]


def wish(item: Object) -> str:
    return f"{item.metadata.name} {item.metadata.generation}"


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[Key, str, str]] = []

    def emit(self, key: Key, reason: str, message: str, **data: Any) -> None:
        self.events.append((key, reason, message))

    def reasons(self, item: Object) -> list[str]:
        return [reason for key, reason, _ in self.events if key == item.key]


class Loop:
    def __init__(self) -> None:
        self.objects = ObjectStore(MemoryStore())
        self.configs, self.containers = World(Kind.CONFIG), World(Kind.CONTAINER)
        self.told = Told()
        self.engine = self._engine()

    def _engine(self) -> Engine:
        worlds = {Kind.CONFIG: self.configs, Kind.CONTAINER: self.containers}
        engine = Engine(self.objects, worlds, self.told, now, 3)
        engine.start()
        return engine

    def restart(self) -> None:
        self.engine.stop()
        self.engine = self._engine()

    def add(self, *items: Object) -> list[Object]:
        self.objects.commit(items)
        for item in items:
            self.engine.wake(item.key)
        return [self.now(item) for item in items]

    def now(self, item: Object) -> Object:
        found = self.objects.get(item.key)
        assert found is not None
        return found

    def delete(self, item: Object) -> None:
        self.objects.edit(item.key, lambda found: marked_for_deletion(found, now()))
        self.engine.wake(item.key)

    def until(self, condition: Callable[[], Any], seconds: float = 5) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.told.events
            time.sleep(0.005)

    def ready(self, item: Object) -> bool:
        status = self.engine.status(item.key)
        return status is not None and status.ready


def config(name: str) -> Object:
    return _object(Kind.CONFIG, name, ConfigSpec(), ConfigContent())


def container(name: str, *depends: Dependency, auto_remove: bool = False) -> Object:
    spec = ContainerSpec(
        image="busybox",
        networks=(NetworkAttachment(name="none"),),
        depends_on=depends,
        auto_remove=auto_remove,
    )
    return _object(Kind.CONTAINER, name, spec, spec)


def _object(kind: Kind, name: str, spec: Any, effective: Any) -> Object:
    uid = f"{abs(hash((kind, name))):032x}"[-32:]
    return Object(
        kind=kind, metadata=ObjectMeta(name=name, uid=uid, creation_timestamp=now()), spec=spec, effective=effective
    )


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.engine.stop()


def test_what_is_desired_becomes_so_and_is_reported(loop: Loop) -> None:
    (item,) = loop.add(config("a"))
    loop.until(lambda: loop.ready(item))
    assert loop.configs.values == {item.metadata.uid: "a 1"}
    stored = loop.objects.status(item.key)
    assert stored is not None
    assert (stored.phase, stored.fields) == ("Done", {"value": "a 1"})
    assert loop.told.reasons(item) == ["SetValue"]


def test_a_second_look_at_the_same_writes_nothing(loop: Loop) -> None:
    (item,) = loop.add(config("a"))
    loop.until(lambda: loop.ready(item))
    assert loop.engine.queue.wait_idle(5)
    before = loop.objects.revision()
    loop.engine.wake_all()
    assert loop.engine.queue.wait_idle(5)
    assert loop.objects.revision() == before
    assert len(loop.configs.acts) == 1


def test_a_failure_is_retried_and_shown_meanwhile(loop: Loop) -> None:
    loop.configs.failures = [Unavailable("the registry does not answer", hint="wait")] * 3
    (item,) = loop.add(config("a"))
    loop.until(lambda: loop.ready(item))
    assert loop.told.reasons(item) == ["Failed", "SetValue"], "the same failure is told once"


def test_what_can_never_work_is_not_tried_again_by_itself(loop: Loop) -> None:
    loop.configs.failures = [InvalidArgument("cannot ever be")]
    (item,) = loop.add(config("a"))
    loop.until(lambda: "Failed" in loop.told.reasons(item))
    assert loop.engine.queue.wait_idle(5)
    time.sleep(0.3)
    status = loop.engine.status(item.key)
    assert status is not None
    ready = status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason, ready.message) == ("False", "InvalidArgument", "cannot ever be")
    assert loop.configs.acts == []
    loop.engine.wake_all()
    loop.until(lambda: loop.ready(item))


def test_an_error_nobody_thought_of_ends_no_worker(loop: Loop) -> None:
    loop.configs.failures = [ZeroDivisionError("oh")] * 4
    items = loop.add(config("a"), config("b"))
    loop.until(lambda: all(map(loop.ready, items)))


def test_several_errors_at_once_are_told_together(loop: Loop) -> None:
    errors: list[EngineError] = [InvalidArgument("one"), Unavailable("two")]
    loop.configs.failures = [ExceptionGroup("teardown", errors)]
    (item,) = loop.add(config("a"))
    loop.until(lambda: loop.ready(item))
    assert any("one; two" in message for _, _, message in loop.told.events)


def test_a_dependent_waits_for_what_it_needs(loop: Loop) -> None:
    loop.containers.conditions = {"db": ("Healthy",)}
    loop.containers.failures = []
    web = container("web", Dependency(container="db", condition="healthy"))
    (web,) = loop.add(web)
    loop.until(lambda: loop.engine.outcome(web.key))
    outcome = loop.engine.outcome(web.key)
    assert outcome is not None
    assert outcome.waiting == "container/db does not exist"
    (db,) = loop.add(container("db"))
    loop.until(lambda: loop.ready(web))
    assert [act.uid for act in loop.containers.acts] == [db.metadata.uid, web.metadata.uid]


def test_a_status_of_an_earlier_life_gates_nothing(loop: Loop) -> None:
    db, web = container("db"), container("web", Dependency(container="db"))
    loop.containers.conditions = {"db": ("Started",)}
    loop.add(db, web)
    loop.until(lambda: loop.ready(web))
    loop.restart()
    assert loop.engine.status(db.key) is None
    loop.containers.values.clear()
    loop.containers.acts.clear()
    loop.engine.queue.add(web.key)
    loop.until(lambda: loop.engine.outcome(web.key))
    assert loop.containers.acts == [], "the store says that db has started, but nobody has looked in this life"
    loop.engine.wake_all()
    loop.until(lambda: loop.ready(web))
    assert loop.containers.acts[0].uid == db.metadata.uid


def test_drift_is_put_back_and_told_once(loop: Loop) -> None:
    (item,) = loop.add(config("a"))
    loop.until(lambda: loop.ready(item))
    assert loop.engine.queue.wait_idle(5)
    loop.configs.values[item.metadata.uid] = "scribbled"
    loop.engine.queue.add(item.key)
    loop.until(lambda: loop.configs.values[item.metadata.uid] == "a 1")
    assert loop.told.reasons(item) == ["SetValue", "Drift", "SetValue"]
    message = next(message for _, reason, message in loop.told.events if reason == "Drift")
    assert "scribbled" in message


def test_a_wake_up_asked_for_by_a_diff_comes(loop: Loop) -> None:
    (item,) = loop.add(config("a"))
    loop.until(lambda: loop.ready(item))
    assert loop.engine.queue.wait_idle(5)
    loop.configs.wake = now() + timedelta(seconds=0.1)
    loop.engine.queue.add(item.key)
    assert loop.engine.queue.wait_idle(5)
    loop.configs.wake = None
    loop.configs.values[item.metadata.uid] = "x"
    loop.until(lambda: loop.configs.values[item.metadata.uid] == "a 1")


def test_times_of_conditions_stay_while_their_status_does(loop: Loop) -> None:
    (item,) = loop.add(config("a"))
    loop.until(lambda: loop.ready(item))
    status = loop.engine.status(item.key)
    assert status is not None
    loop.objects.edit(item.key, lambda found: found.model_copy(update={"restart_request": "x"}))
    loop.engine.wake(item.key)
    assert loop.engine.queue.wait_idle(5)
    again = loop.engine.status(item.key)
    assert again is not None
    assert again.conditions == status.conditions


def test_how_far_some_work_is_wakes_nobody_who_waits_for_it(loop: Loop) -> None:
    loop.containers.conditions = {"db": ("Started",)}
    db, web = loop.add(container("db"), container("web", Dependency(container="db")))
    loop.until(lambda: loop.ready(web))
    assert loop.engine.queue.wait_idle(5)

    def looks_of_web(**fields: Any) -> int:
        loop.containers.observed.clear()
        loop.containers.fields = fields
        loop.engine.queue.add(db.key)
        assert loop.engine.queue.wait_idle(5)
        return loop.containers.observed.count(web.metadata.uid)

    looks_of_web(progress={"done": 1})
    assert looks_of_web(progress={"done": 2}) == 0
    assert looks_of_web(restarts=1) == 1


def test_an_apply_refreshes_what_it_names_and_asks_no_more_of_what_that_uses(loop: Loop) -> None:
    loop.containers.conditions = {"db": ("Started",)}
    db, web = loop.add(container("db"), container("web", Dependency(container="db")))
    loop.until(lambda: loop.ready(web))
    assert loop.engine.queue.wait_idle(5)
    loop.containers.observed.clear()
    loop.engine.refresh(web)
    assert loop.containers.refreshed == [(web.key, True), (db.key, False)]
    assert loop.engine.queue.wait_idle(5)
    assert {web.metadata.uid, db.metadata.uid} <= set(loop.containers.observed)


def test_what_cannot_even_be_looked_at_says_so_of_what_is_asked_now(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item,) = loop.add(config("a"))
    loop.until(lambda: loop.ready(item))

    def observe(*_: Any) -> None:
        raise Unavailable("the disk does not answer")

    monkeypatch.setattr(World, "observe", observe)
    loop.delete(item)
    loop.until(lambda: not loop.ready(item))
    status = loop.engine.status(item.key)
    assert status is not None
    assert (status.phase, status.observed_generation) == ("Deleting", 1)
    (condition,) = (one for one in status.conditions if one.type == "Ready")
    assert (condition.message, condition.observed_generation) == (
        "the disk does not answer",
        loop.now(item).metadata.generation,
    )
    assert loop.told.reasons(item) == ["SetValue", "Failed"]
