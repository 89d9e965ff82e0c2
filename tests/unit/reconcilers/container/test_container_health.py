"""Health checks, with a clock that stands until it is moved."""

from datetime import timedelta
from typing import Any

import pytest

from drivers.images.interface import HealthCheck, ImageConfig
from drivers.runtime.interface import ProcessConfig
from reconcilers.interface import Diff
from resources.errors import FailedPrecondition
from tests.unit.reconcilers.container.worlds import World, container, held

CHECK = {"exec": ["check"], "interval": "5s", "timeout": "1s", "retries": 2}


class Checked:
    """A container with a check whose answer can be set."""

    def __init__(self, config: ImageConfig | None = None, **spec: Any) -> None:
        self.code, self.asked = 0, list[ProcessConfig]()
        self.world = World(program=self._program)
        if config:
            self.world.image("box", config)
        self.loop, self.item = self.world.life(), container(**spec)
        self.loop.converge(self.item)

    def _program(self, process: ProcessConfig) -> tuple[int, bytes, bytes]:
        self.asked.append(process)
        return self.code, b"first\nlast\x1b[31m line\n", b""

    def probe(self, code: int) -> Any:
        """Go to the next probe; what is decided after it."""
        self.code = code
        diff = self.loop.converge(self.item)
        self.world.now = max(self.world.now, diff.wake_at)
        return self.loop.converge(self.item)

    @property
    def status(self) -> Any:
        return self.loop.status(self.item)


def test_healthy_is_ready_and_soon_asked() -> None:
    checked = Checked(health=CHECK, user="7", env={"A": "1"}, workingDir="/srv")
    assert (checked.status.phase, checked.status.ready) == ("Starting", False)
    assert checked.status.condition("Healthy").status == "Unknown"
    diff = checked.probe(0)
    assert checked.world.now == checked.world.running(checked.item).started_at + timedelta(milliseconds=200)
    assert diff.wake_at == checked.world.now + timedelta(seconds=5)
    assert (checked.status.phase, checked.status.ready) == ("Running", True)
    assert checked.status.condition("Healthy").status == "True"
    assert checked.status.fields["health"]["message"] == "last?[31m line"
    [process] = checked.asked
    assert (process.args, process.uid, process.cwd) == (("check",), 7, "/srv")
    assert "A=1" in process.env
    assert checked.loop.plan(checked.item) == []


def test_failures_count_once_it_had_time_to_start() -> None:
    checked = Checked(health={**CHECK, "startPeriod": "20s"})
    started = checked.world.now
    while checked.world.now < started + timedelta(seconds=19):
        checked.probe(1)
        assert checked.status.fields["health"]["failingStreak"] == int(
            checked.world.now - started >= timedelta(seconds=20)
        )
    checked.probe(1)
    checked.probe(1)
    status = checked.status
    assert (status.phase, status.ready, status.condition("Healthy").status) == ("Unhealthy", False, "False")
    assert status.condition("Ready").message == "exit code 1: last?[31m line"
    assert checked.world.events.reasons == ["Unhealthy"]
    checked.probe(0)
    assert checked.status.ready


def test_one_failure_is_not_unhealthy_and_a_success_in_between_counts_anew() -> None:
    checked = Checked(health=CHECK)
    for code in (0, 1, 0, 1):
        checked.probe(code)
        assert checked.status.ready
    checked.probe(1)
    assert not checked.status.ready


def test_unhealthy_restarts_where_it_shall() -> None:
    checked = Checked(health={**CHECK, "onFailure": "restart"})
    for code in (0, 1):
        checked.probe(code)
    checked.probe(1)
    task = checked.world.running(checked.item)
    assert (task.attempt, task.applied["failures"]) == (2, 1)
    assert checked.status.phase == "Starting"


def test_an_unhealthy_one_that_was_restarted_by_a_killed_engine_runs_again() -> None:
    checked = Checked(health={**CHECK, "retries": 1, "onFailure": "restart"})
    checked.probe(0)
    world, item = checked.world, checked.item
    task = world.task(item)
    world.runtime.stubborn.add(task.id)
    checked.probe(1)
    world.runtime.exit(task.id, 143)
    world.life().settle(item)
    assert world.running(item).attempt == 2


def test_health_goes_on_with_the_next_engine() -> None:
    checked = Checked(health=CHECK)
    for code in (0, 1):
        checked.probe(code)
    checked.loop = checked.world.life()
    assert checked.status.ready
    assert checked.loop.converge(checked.item).wake_at == checked.world.now + timedelta(seconds=5)
    checked.probe(1)
    assert checked.status.phase == "Unhealthy"


def test_the_images_check_holds_where_the_manifest_is_silent() -> None:
    check = HealthCheck(("CMD-SHELL", "curl x || exit 1"), interval=7000, retries=1)
    config = ImageConfig(command=("x",), health=check)
    checked = Checked(config)
    checked.probe(0)
    assert checked.asked[0].args == ("/bin/sh", "-c", "curl x || exit 1")
    assert checked.loop.converge(checked.item).wake_at == checked.world.now + timedelta(seconds=7)
    dropped = Checked(config, health="none")
    assert (dropped.loop.converge(dropped.item), dropped.status.ready) == (Diff(), True)
    none = Checked(ImageConfig(command=("x",), health=HealthCheck(("NONE",))))
    assert none.loop.converge(none.item) == Diff()


@pytest.mark.parametrize(("network", "host"), [("none", False), ("host", True)])
def test_probes_of_ports_are_made_inside(network: str, host: bool) -> None:
    world = World()
    health = {"http": {"port": 80, "path": "/up"}, "interval": "1s", "retries": 1}
    loop, item = world.life(), container(health=health, networks=[{"name": network}])
    loop.converge(item)
    sandbox = None if host else world.task(item).id
    world.prober.listen(sandbox, 80, 503)
    world.later(2)
    loop.converge(item)
    assert world.prober.probes == [(sandbox, 80, "/up")]
    assert loop.status(item).phase == "Unhealthy"
    world.prober.listen(sandbox, 80)
    world.later(1)
    loop.converge(item)
    assert loop.status(item).phase == "Running"


def test_probes_go_on_while_a_change_waits() -> None:
    checked = Checked(health=CHECK)
    checked.probe(0)
    checked.loop.blockers = ("image/box is not ready",)
    checked.item = container(health=CHECK, command=["other"])
    checked.probe(1)
    checked.probe(1)
    assert (checked.status.phase, len(checked.asked)) == ("Unhealthy", 3)


def test_a_probe_that_cannot_be_made_is_a_failure() -> None:
    checked = Checked(health={**CHECK, "retries": 1})
    checked.probe(0)
    checked.probe(0)
    checked.world.runtime.fail("exec", FailedPrecondition("no such file"))
    checked.probe(0)
    assert checked.status.condition("Ready").message == "no such file"


def test_a_paused_container_is_not_probed() -> None:
    checked = Checked(health=CHECK)
    paused = held(checked.item, "paused")
    checked.loop.converge(paused)
    checked.world.later(60)
    assert checked.loop.converge(paused) == Diff()
    assert checked.asked == []
