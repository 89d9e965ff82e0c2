"""What of the machine is hidden from containers."""

from pathlib import Path

from reconcilers.container import hardening
from reconcilers.container.host import LocalHost
from tests.unit.reconcilers.container.worlds import ThisHost, World, container


def test_what_tells_how_hot_processors_are(tmp_path: Path) -> None:
    for name in ("cpu0/thermal_throttle", "cpu11/thermal_throttle", "cpu2", "cpuidle/thermal_throttle"):
        (tmp_path / name).mkdir(parents=True)
    assert LocalHost(tmp_path).masked() == [f"{tmp_path}/cpu0/thermal_throttle", f"{tmp_path}/cpu11/thermal_throttle"]
    assert LocalHost(tmp_path / "none").masked() == []


def test_it_is_masked_and_verified_with_all_the_rest() -> None:
    hot = "/sys/devices/system/cpu/cpu0/thermal_throttle"
    world, item = World(this_host=ThisHost(hot=(hot,))), container()
    world.life().settle(item)
    config = world.host.configs[world.task(item).id]
    assert config.spec["linux"]["maskedPaths"] == [*hardening.MASKED, hot] == list(config.masked)
