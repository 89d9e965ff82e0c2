"""When a wait is over, and when it has failed."""

from types import SimpleNamespace
from typing import Any

import pytest

from controller.cli.waiting import until_ready
from resources.container import ContainerSpec
from resources.kinds import Kind
from resources.meta import Condition, Status
from tests.unit.controller.api.backend import NOW, made


@pytest.mark.parametrize(
    ("ready", "settled", "done", "failed"),
    [("True", True, True, False), ("True", False, False, False), ("False", True, False, True)],
)
def test_a_job_that_has_ended_well_has_not_failed(ready: Any, settled: bool, done: bool, failed: bool) -> None:
    """The loop may be about to look once more: that is to be waited for, and is no failure."""
    job = made(Kind.CONTAINER, "job", ContainerSpec.parse({"image": "busybox"}))
    condition = Condition(type="Ready", status=ready, reason="Completed", last_transition_time=NOW)
    status = Status(phase="Completed", observed_generation=1, conditions=(condition,))
    objects = SimpleNamespace(get=lambda key: job, status=lambda key: status)
    backend: Any = SimpleNamespace(objects=objects, settled=lambda key: settled)
    look = until_ready(backend, job.key, job.ref)
    assert (look.done, look.failed) == (done, failed)
