"""The death of the resolver process is told at once, and it is started again at a pace."""

import threading
import time
from collections.abc import Iterator

import pytest

from drivers.network.names.client import ResolverClient
from drivers.network.names.interface import MemberNames
from resources.errors import Unavailable
from tests.integration.drivers.network.resolving import (
    World,
    until,
)

pytestmark = pytest.mark.host
FRONT = "n-front"


def test_each_death_is_told_whoever_started_it(net: World) -> None:
    told: list[float] = []
    watching = threading.Thread(target=lambda: _each(net.client.endings(), told))
    watching.start()
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted = net.names.get(web)
    assert wanted is not None
    for number in range(1, 4):
        begun = time.monotonic()
        net.kill()
        until(lambda number=number: len(told) == number)  # type: ignore[misc]
        assert time.monotonic() - begun < 0.5
        net.start(wanted)
    time.sleep(0.1)
    assert told == [0.0] * 3
    net.client.close()
    watching.join(2)
    assert not watching.is_alive()
    adopting = ResolverClient(net.run_root, net.instance)
    watching = threading.Thread(target=lambda: _each(adopting.endings(), told))
    watching.start()
    time.sleep(0.1)
    net.kill()
    until(lambda: len(told) == 4)
    time.sleep(0.1)
    assert len(told) == 4
    adopting.close()
    watching.join(2)
    assert not watching.is_alive()


def _each(endings: Iterator[float], told: list[float]) -> None:
    for one in endings:
        told.append(one)


def test_one_that_ends_again_and_again_is_started_less_and_less(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted = net.names.get(web)
    assert wanted is not None
    for _ in range(3):
        net.kill()
        net.start(wanted)
    net.kill()
    with pytest.raises(Unavailable, match="has ended 4 times in a row, and is started again in 0"):
        net.start(wanted)
    time.sleep(0.6)
    net.start(wanted)
    assert net.ask(web, "web").addresses == ["10.0.1.2"]
