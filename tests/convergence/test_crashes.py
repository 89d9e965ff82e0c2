"""The engine is killed at every call that changes anything, before it takes effect and after it: the next one brings about the
same as if nothing had been, and deleting everything leaves nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.store.seal import HostKey
from resources.meta import Ref
from tests.convergence.mortal import Death, MortalStore
from tests.convergence.world import Files, World
from tests.unit.reconcilers.engines import Killed

FILES = {"app.tar": b"image one", "assets.tar": b"image three", "seed.tar": b"seed one", "web.env": b"A=1\n"}
BASE = """
kind: Image
apiVersion: lading/v1
metadata: {name: app}
spec: {from: {archive: ./app.tar}, tags: ["shop/app:1"]}
---
kind: Image
apiVersion: lading/v1
metadata: {name: assets}
spec: {from: {rootfs: ./assets.tar}}
---
kind: Volume
apiVersion: lading/v1
metadata: {name: seeded}
spec: {populate: {archive: ./seed.tar}, owner: {uid: 5}}
---
kind: Volume
apiVersion: lading/v1
metadata: {name: copied}
spec: {populate: {image: {name: assets}}, driver: tmpfs}
---
kind: Volume
apiVersion: lading/v1
metadata: {name: fresh}
spec: {}
---
kind: Secret
apiVersion: lading/v1
metadata: {name: tls}
spec: {data: {key: hidden, other: x}}
---
kind: Config
apiVersion: lading/v1
metadata: {name: conf}
spec: {data: {a: "1", b: "2"}}
---
kind: Network
apiVersion: lading/v1
metadata: {name: front}
spec: {subnets: [10.1.0.0/24]}
---
kind: Network
apiVersion: lading/v1
metadata: {name: inner}
spec: {internal: true, subnets: [10.3.0.0/24]}
---
kind: Container
apiVersion: lading/v1
metadata: {name: job}
spec: {image: {name: app}, networks: [none], command: [exit, "0"]}
---
kind: Container
apiVersion: lading/v1
metadata: {name: db}
spec:
  image: shop/app:1
  networks: [inner, bridge]
  dependsOn: [{container: job, condition: completed}]
  health: {exec: ["true"], interval: 1s}
  resources: {memory: 64Mi}
  mounts: [{volume: fresh, target: /data}, {volume: seeded, target: /seed}, {volume: copied, target: /copied}]
---
kind: Container
apiVersion: lading/v1
metadata: {name: web}
spec:
  image: {name: app}
  networks: [{name: front, aliases: [www]}, inner]
  ports: ["8080:80", "81"]
  envFile: [./web.env]
  restart: always
  env: {PASSWORD: {secret: tls, key: key}}
  dependsOn: [{container: db, condition: healthy, restart: true}]
  mounts:
    - {secret: tls, target: /tls, onChange: restart}
    - {config: conf, key: a, target: /a, onChange: {signal: SIGHUP}}
    - {image: {name: assets}, target: /assets}
    - {tmpfs: {size: 1Mi}, target: /tmp}
"""
Act = Callable[[World], object]


def applied(*changes: tuple[str, str], files: Files | None = None) -> Act:
    text = BASE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return lambda world: world.apply(text, {**FILES, **(files or {})})


BEFORE = applied()


@dataclass(frozen=True, slots=True)
class Scenario:
    act: Act
    """What is asked for."""
    before: Act | None = BEFORE
    """What has converged until then."""


SCENARIOS = {
    "create": Scenario(applied(), None),
    "hot": Scenario(
        applied(("memory: 64Mi", "memory: 1Gi"), ("restart: always", "restart: unless-stopped"), ('a: "1"', 'a: "9"'))
    ),
    "restart": Scenario(applied(("other: x", "other: changed"))),
    "recreate": Scenario(applied(("interval: 1s}", "interval: 1s}\n  user: '7'"), ("key: hidden", "key: new"))),
    "image": Scenario(applied(files={"app.tar": b"image two", "assets.tar": b"image one"})),
    "mounts": Scenario(applied(("{volume: seeded, target: /seed}, ", ""), ("target: /assets", "target: /other"))),
    "networks": Scenario(
        applied(("front, aliases: [www]}, inner", "front, ipv4: 10.1.0.77}, bridge"), ('"8080:80"', '"9090:80"'))
    ),
    "subnets": Scenario(applied(("[10.1.0.0/24]", "[10.9.0.0/24], mtu: 1400"), ("[inner, bridge]", "[inner]"))),
    "states": Scenario(applied(("restart: always", "state: paused"), ("memory: 64Mi}", "memory: 64Mi}\n  state: stopped"))),
    "delete": Scenario(lambda world: world.backend.delete(refs(world), data=True, cascade=False, force=False)),
    "release": Scenario(lambda world: world.backend.delete(refs(world), data=False, cascade=False, force=False)),
}  # fmt: skip


def refs(world: World) -> list[Ref]:
    return [item.ref for item in world.objects]


def prepared(folder: Path, key: HostKey, scenario: Scenario) -> World:
    world = World(folder, key)
    if scenario.before is not None:
        scenario.before(world)
        world.converge()
    world.end()
    return world


def asked(world: World, scenario: Scenario, death: Death) -> bool:
    """Ask for it in a life that may end; whether it was, as far as the client knows."""
    world.begin(death.drivers, MortalStore(world.store, death))
    answered = False
    try:
        scenario.act(world)
        answered = True
        world.converge()
    except Killed:
        world.end()
    return answered


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_call(tmp_path: Path, name: str, after: bool) -> None:
    scenario, key = SCENARIOS[name], HostKey(tmp_path)
    calm = prepared(tmp_path / "calm", key, scenario)
    scenario.act(calm)
    calm.converge()
    for number in range(400):
        world = prepared(tmp_path / str(number), key, scenario)
        death = Death(number, after)
        answered = asked(world, scenario, death)
        if not death.over:
            assert number > 5, "nothing was done"
            return
        world.begin()
        if not answered:
            scenario.act(world)  # the client tries again
        world.converge()
        assert world.state() == calm.state(), f"killed at call {number}, {death.last}"
        world.delete_all()
        assert not world.left(), f"killed at call {number}, {death.last}"
    pytest.fail("400 calls are not enough")
