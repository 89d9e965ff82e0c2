"""Many clients at once, on an engine with its threads: each gets an answer, and what comes of it is one after the other."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from controller.admission.admit import Refused
from controller.interface import Applied, ApplyOptions
from controller.jobs import ThreadJobs
from controller.store.seal import HostKey
from resources.errors import Conflict
from resources.meta import Key
from tests.convergence.generated import EDITS, Edit, edited, manifests
from tests.convergence.world import Files, World

CLIENTS = 8
SETS = st.lists(
    st.lists(EDITS.filter(lambda edit: edit[1] != "dependsOn"), min_size=3, max_size=8), min_size=2, max_size=3
)
"""What one client asks for, one after the other. Nobody waits for what somebody else may take away."""


class LiveJobs(ThreadJobs):
    @property
    def states(self) -> Sequence[str]:
        return list(self._jobs)


class LiveWorld(World):
    """With the clock, the workers and the pools of a real engine."""

    def clock(self) -> datetime:
        return datetime.now(UTC)

    def _jobs(self, on_end: Callable[[Key], None]) -> Any:
        return LiveJobs({"images": 2, "pulls": 2, "io": 2, "probes": 4}, on_end)

    def converge(self) -> None:
        deadline = time.monotonic() + 30
        while self.processes() or not self.queue.wait_idle(1) or self.jobs.running() or self.unrest():
            assert time.monotonic() < deadline, self.unrest()
            time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Asked:
    text: str
    files: Files
    options: ApplyOptions
    answer: Applied | Refused | Conflict


def client(world: World, number: int, sets: Sequence[Sequence[Edit]], answers: list[Asked]) -> None:
    # Two of them own what they apply, and take away what they applied before.
    options = ApplyOptions(owner=f"owner-{number}", prune=True) if number < 2 else ApplyOptions()
    for edits in sets:
        text, files = manifests(edited({}, edits), grown=True)
        try:
            answer: Applied | Refused | Conflict = world.apply(text, files, options)
        except (Refused, Conflict) as error:
            answer = error
        answers.append(Asked(text, files, options, answer))


def desired(world: World) -> dict[str, Any]:
    """What is stored of each object, but for when and under which uid it came."""
    return {
        str(item.ref): (item.metadata.labels, item.metadata.annotations, item.metadata.owner, item.spec.written())
        for item in world.objects
    }


@settings(
    deadline=None, derandomize=True, max_examples=12, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(clients=st.lists(SETS, min_size=CLIENTS, max_size=CLIENTS))
def test_clients_at_once(tmp_path_factory: pytest.TempPathFactory, clients: list[list[list[Edit]]]) -> None:
    folder = tmp_path_factory.mktemp("world")
    key = HostKey(folder)
    world = LiveWorld(folder / "live", key, threads=4)
    answers: list[list[Asked]] = [[] for _ in clients]
    threads = [
        threading.Thread(target=client, args=(world, number, sets, answers[number]))
        for number, sets in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    told = [asked for one in answers for asked in one]
    assert len(told) == sum(map(len, clients)), "somebody got no answer"
    for asked in told:
        assert isinstance(asked.answer, Applied) or "/" in str(asked.answer), "no object is named"
    world.converge()

    done = [asked for asked in told if isinstance(asked.answer, Applied)]
    written = sorted(
        (asked for asked in done if asked.answer.created or asked.answer.changed or asked.answer.deleted),
        key=lambda asked: asked.answer.revision,
    )
    assert len({asked.answer.revision for asked in written}) == len(written)
    serial = World(folder / "serial", key)
    for asked in written:
        serial.apply(asked.text, asked.files, asked.options)
        serial.converge()
    assert desired(world) == desired(serial)
    last = written[-1]
    assert world.plan(last.text, last.files, last.options).empty

    world.delete_all()
    world.uploads.keep_only([], fresh=False)  # what was sent for a refused apply is kept for a while
    assert not world.left()
    world.engine.stop()
    world.jobs.close()
