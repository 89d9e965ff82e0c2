"""From any Container to any other, over whatever happens to the host in between: afterwards there is nothing to do, and
what runs is what a fresh container of the last manifest would be."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from drivers.network.interface import Fault, SandboxFiles
from drivers.runtime.interface import Limits, TaskStatus
from resources.errors import FailedPrecondition
from resources.kinds import Kind
from resources.meta import Ref
from resources.object import Object
from tests.unit.reconcilers.container.worlds import CONFIG, ContainerLoop, World, container, held, noted
from tests.unit.reconcilers.engines import Fuse, Killed, deleted


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


ON_CHANGE = st.sampled_from(["none", "restart", {"signal": "SIGHUP"}])
MOUNTS = st.lists(
    st.one_of(
        st.builds(lambda o: {"volume": "data", **o}, some(readOnly=st.booleans(), copyUp=st.booleans())),
        st.just({"volume": "fresh"}),
        st.builds(lambda o: {"bind": "/srv", **o}, some(create=st.booleans())),
        st.builds(lambda o: {"tmpfs": o}, some(size=st.just("1Mi"))),
        st.builds(lambda o, c: {"secret": "tls", "onChange": c, **o}, some(key=st.just("a")), ON_CHANGE),
        st.builds(lambda o, c: {"config": "conf", "onChange": c, **o}, some(key=st.just("a")), ON_CHANGE),
        st.just({"image": {"name": "assets"}}),
    ),
    max_size=3,
).flatmap(lambda mounts: st.permutations([{**mount, "target": f"/m/{n}"} for n, mount in enumerate(mounts)]))
NETWORKS = st.one_of(
    st.sampled_from([[{"name": "host"}], [{"name": "none"}], []]),
    st.lists(
        st.one_of(
            st.builds(lambda o: {"name": "a", **o}, some(aliases=st.just(["api"]), defaultRoute=st.just(True))),
            st.builds(
                lambda o: {"name": "b", **o},
                some(ipv4=st.sampled_from(["10.2.0.10", "10.2.0.11"]), mac=st.just("02:00:00:00:00:0b"),
                     aliases=st.sampled_from([["API", "x.y"], []]), defaultRoute=st.booleans()),
            ),
            st.just({"name": "c"}),
        ),
        min_size=1, max_size=3, unique_by=lambda one: one["name"],
    ).filter(lambda found: sum(one.get("defaultRoute", False) for one in found) < 2),
)  # fmt: skip
PORTS = st.lists(
    st.sampled_from([{"container": 80, "host": 8080}, {"container": 81, "host": 8081}, {"container": 80}, {"container": 81},
                     {"container": 53, "host": 8080, "protocol": "udp"}]),
    min_size=1, max_size=3, unique_by=str,
)  # fmt: skip
A_SUBNET: dict[str, Any] = {"subnets": [{"subnet": "10.1.0.0/24"}]}
"""What the networks a and b are, from time to time; c stays as it is."""
A_KINDS = [A_SUBNET, {}, {"subnets": [{"subnet": "10.9.0.0/28"}]}, {"subnets": [{"subnet": "fd00:1::/64"}]}]
B_KINDS = [
    {"subnets": [{"subnet": "10.2.0.0/24", **more}, *second]} for more in ({}, {"gateway": "10.2.0.2"})
    for second in ([], [{"subnet": "fd00:2::/64"}])
]  # fmt: skip
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "command": st.sampled_from([["serve"], ["other"], []]),
    "entrypoint": st.just(["/entry"]),
    "env": st.dictionaries(
        st.sampled_from("AB"),
        st.sampled_from(["1", "2", {"secret": "tls", "key": "a"}, {"config": "conf", "key": "a"}]),
        min_size=1,
        max_size=2,
    ),
    "user": st.sampled_from(["101", "7"]),
    "hostname": st.just("box"),
    "mounts": MOUNTS,
    "networks": NETWORKS,
    "ports": PORTS,
    "dns": st.just({"servers": ["9.9.9.9"]}),
    "extraHosts": st.sampled_from([{"a": "10.0.0.1"}, {"a": "host-gateway"}]),
    "resources": some(
        memory=st.sampled_from(["64Mi", "1Gi"]), cpus=st.sampled_from([1, 0.5]), pids=st.sampled_from([5, 6]),
        cpuShares=st.just(512), oomScoreAdj=st.just(5),
    ),
    "restart": some(policy=st.sampled_from(["always", "on-failure", "unless-stopped", "never"])),
    "health": st.sampled_from(
        ["none", {"tcp": {"port": 80}, "interval": "1s"}, {"exec": ["true"], "onFailure": "restart", "retries": 1}]
    ),
    "state": st.sampled_from(["running", "running", "paused", "stopped", "created"]),
    "stop": some(signal=st.just("SIGINT"), timeout=st.sampled_from(["0s", "3s"])),
    "security": some(readOnlyRoot=st.booleans(), profile=st.just("compat")),
    "logging": some(maxSize=st.just("1Mi"), driver=st.just("none")),
    "tty": st.booleans(),
    "init": st.booleans(),
    "shmSize": st.just("1Mi"),
}  # fmt: skip
AROUND: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(["web", "shop"]),
    "labels": st.sampled_from([{}, {"app": "a"}]),
    "image": st.sampled_from(["one", "two"]),
    "overrides": st.sampled_from([{}, {"env": {"A": "overridden"}}]),
    "value": st.sampled_from(["x", "y"]),
    "volumes": st.sampled_from([(), ("/m/0",), ("/m/1", "/srv"), ("/srv",)]),
    "request": st.sampled_from(["", "r1", "r2"]),
    "held": st.sampled_from([None, None, "stopped", "paused"]),
    "a": st.builds(lambda kind, o: {**kind, **o}, st.sampled_from(A_KINDS), some(dns=st.booleans(), mtu=st.just(1400))),
    "b": st.builds(lambda kind, o: {**kind, **o}, st.sampled_from(B_KINDS), some(internal=st.booleans())),
}
FIRST = {
    "name": "web", "labels": {}, "image": "one", "overrides": {}, "value": "x", "volumes": ("/srv",), "request": "", "held": None,
    "a": A_SUBNET, "b": B_KINDS[0],
    "spec": {
        "networks": [{"name": "a"}, {"name": "b"}], "ports": [{"container": 80}],
        "env": {"A": {"secret": "tls", "key": "a"}},
        "mounts": [{"volume": "fresh", "target": "/m/0"}, {"secret": "tls", "target": "/m/1", "onChange": "restart"}],
    },
}  # fmt: skip
Edit = tuple[str, str, Any]
EDITS: st.SearchStrategy[Edit] = st.one_of(
    *(st.tuples(st.just("spec"), st.just(name), values | st.none()) for name, values in FIELDS.items()),
    *(st.tuples(st.just("around"), st.just(name), values) for name, values in AROUND.items()),
)
"""Small steps: most of what is desired stays as it was, or what is hot would hide behind what is not."""


def edited(wish: Mapping[str, Any], edits: list[Edit]) -> dict[str, Any]:
    spec, around = dict(wish["spec"]), dict(wish)
    for where, name, value in edits:
        if where == "around":
            around[name] = value
        elif value is None:
            spec.pop(name, None)
        else:
            spec[name] = value
    return {**around, "spec": spec}


def exits(world: World, item: Object) -> None:
    world.exit(item, 1)


def ends_well(world: World, item: Object) -> None:
    world.exit(item, 0)


def ends_somehow(world: World, item: Object) -> None:
    world.exit(item, None)


def reboots(world: World, item: Object) -> None:
    world.reboot()
    world.volumes.mount(world.volume("fresh", populated=False).metadata.uid)


def is_paused(world: World, item: Object) -> None:
    if world.task(item).status is TaskStatus.RUNNING:
        world.runtime.pause(world.task(item).id)


def loses_limits(world: World, item: Object) -> None:
    if world.task(item).limits is not None:
        world.runtime.break_limits(world.task(item).id, Limits(memory=1 << 40))


def loses_its_files(world: World, item: Object) -> None:
    world.sandboxes.write_files(world.task(item).id, SandboxFiles("scribbled"))


def loses_content(world: World, item: Object) -> None:
    world.files.projections.clear()


def loses_its_namespace(world: World, item: Object) -> None:
    world.sandboxes.reboot()


def loses_its_root(world: World, item: Object) -> None:
    world.mounts.clear()


def loses_an_endpoint(world: World, item: Object) -> None:
    task_id = world.task(item).id
    for network_id in list(world.networks.attached(task_id))[:1]:
        world.networks.lose_endpoint(task_id, network_id)


def loses_an_address(world: World, item: Object) -> None:
    task_id = world.task(item).id
    for network_id in list(world.networks.attached(task_id))[-1:]:
        world.networks.break_endpoint(task_id, network_id, Fault("addresses", ["10.1.0.2/24"], []))


def loses_ports(world: World, item: Object) -> None:
    for owner in world.ports.list():
        world.ports.lose(owner)


def loses_part_of_its_ports(world: World, item: Object) -> None:
    for owner in world.ports.list():
        world.ports.break_ports(owner)


def loses_its_names(world: World, item: Object) -> None:
    world.names.lose(world.task(item).id)


def loses_the_resolver(world: World, item: Object) -> None:
    world.names.die()


def loses_a_network(world: World, item: Object) -> None:
    world.networks.lose_network(world.objects[Ref(kind=Kind.NETWORK, namespace="default", name="b")].metadata.uid)


HAPPENINGS: st.SearchStrategy[Callable[[World, Object], None] | None] = st.sampled_from(
    [
        None, None, exits, ends_well, ends_somehow, reboots, is_paused, loses_limits, loses_its_files, loses_content,
        loses_its_namespace, loses_its_root, loses_an_endpoint, loses_an_address, loses_ports, loses_part_of_its_ports,
        loses_its_names, loses_the_resolver, loses_a_network,
    ]
)  # fmt: skip


def ready(world: World, wish: Mapping[str, Any]) -> Object:
    """The world and the object as this wish has them."""
    asked = replace(CONFIG, volumes=wish["volumes"])
    world.image("box", asked, wish["image"].encode(), config=wish["overrides"])
    world.image("assets", CONFIG, b"assets" + wish["image"].encode())
    world.secret("tls", a=wish["value"], b="same")
    world.config_object("conf", a=wish["value"], b="same")
    for name in ("a", "b"):
        world.network(name, **wish[name])
    spec = dict(wish["spec"])
    if not spec.get("networks") or spec["networks"][0]["name"] in ("none", "host"):
        spec.pop("ports", None)
    item = container("web", restart_request=wish["request"], **spec)
    item = noted(item, name=wish["name"], labels=wish["labels"])
    return held(item, wish["held"]) if wish["held"] else item


def new_world() -> World:
    world = World()
    world.volume("data")
    world.volume("fresh", populated=False)
    world.network("c", subnets=[{"subnet": "10.3.0.0/24"}], internal=True, dns=False)
    return world


def settled(world: World, loop: ContainerLoop, item: Object) -> None:
    for _ in range(10):
        diff = loop.settle(item)
        restarting = any(change.path in ("process", "spec.health") for change in diff.changes)
        if diff.wake_at is None or not restarting:
            break
        world.now = max(world.now, diff.wake_at)
    assert not diff.actions
    assert not diff.waiting
    assert not diff.changes
    assert not loop.look(item.key, item, planning=True).actions


def outcome(world: World, item: Object) -> Any:
    """What there is, but for the number of its life and attempt, and what a rename leaves as it was."""
    found = [task for task in world.tasks if task.id.startswith(item.metadata.uid)]
    if not found or found[0].status not in (TaskStatus.RUNNING, TaskStatus.PAUSED):
        return "none runs"
    [task] = found
    config = world.host.configs[task.id]
    process = {**config.spec["process"], "env": [e for e in config.spec["process"]["env"] if "HOSTNAME" not in e]}
    targets = {m["destination"]: (m["type"], m["options"]) for m in config.spec["mounts"]}
    kept = {name for name in task.applied if name not in ("failures", "hostname", "state", "endpoints")}
    return {
        "status": task.status,
        "process": process,
        "root": config.spec["root"],
        "mounts": targets,
        "linux": {k: v for k, v in config.spec["linux"].items() if k != "namespaces"},
        "own network": "network" in {n["type"] for n in config.spec["linux"]["namespaces"]},
        "limits": task.limits,
        "log": config.log.driver,
        "anonymous": sorted(state.id for state in world.anonymous.list()),
        "staged": {slot: str(path)[-40:] for slot, path in _staged(world, task.id).items()},
        "projected": {name[64:]: made for name, made in world.files.projections.items()},
        "applied": {name: task.applied[name] for name in kept},
        "networks": connected(world, task.id),
    }


def connected(world: World, task_id: str) -> Any:
    """What of its networks there is, its own addresses and the free ports told as such."""
    held = world.ipam().addresses(task_id[:32])
    own = {address: f"own{number}" for addresses in held.values() for number, address in enumerate(addresses)}
    endpoints = {}
    for network_id in world.networks.attached(task_id):
        config = world.networks._endpoints[task_id, network_id].config
        addresses = [own[address.partition("/")[0]] + address.partition("/")[2] for address in config.addresses]
        written = config.mac == "02:00:00:00:00:0b"
        endpoints[network_id] = (addresses, config.gateways, config.mtu, written)
    ports = [
        (
            port.host if port.host < 9000 else "free",
            port.container,
            port.protocol,
            own.get(port.ipv4),
            own.get(port.ipv6),
        )
        for port in world.ports.published(task_id[:32])
    ]
    names = world.names.get(task_id)
    members = [(m.network_id, m.names, [own[a] for a in m.addresses]) for m in names.members] if names else []
    told = (members, names and names.forward, names and names.servers)
    return {"held": sorted(held), "endpoints": endpoints, "ports": sorted(ports, key=str), "names": told}


def _staged(world: World, task_id: str) -> dict[str, str]:
    staged = world.files.staged.get(task_id, {})
    return {slot: str(path).replace(task_id, "") for slot, path in staged.items()}


STEPS = st.tuples(st.lists(EDITS, max_size=2), st.none() | st.integers(0, 25), HAPPENINGS)
"""What is wanted otherwise, after how many steps the engine is killed on the way there, and what others do then."""


@settings(max_examples=700, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(base=st.lists(EDITS, max_size=6), steps=st.lists(STEPS, max_size=3), last=st.lists(EDITS, max_size=2))
def test_any_container_becomes_any_other(base: list[Edit], steps: list[Any], last: list[Edit]) -> None:
    world, wish = new_world(), edited(FIRST, base)
    for edits, cut, happening in [([], None, None), *steps]:
        wish = edited(wish, edits)
        item = ready(world, wish)
        # The engine is killed, or there is nothing to run.
        with suppress(Killed, FailedPrecondition):
            world.life(Fuse() if cut is None else Fuse(cut)).settle(item)
        if happening is not None and any(task.id.startswith(item.metadata.uid) for task in world.tasks):
            happening(world, item)
    wish = edited(wish, last)
    assume(wish["spec"].get("command") != [] or "entrypoint" in wish["spec"])
    item = ready(world, wish)
    settled(world, world.life(), item)
    fresh = new_world()
    settled(fresh, fresh.life(), ready(fresh, wish))
    if outcome(world, item) != "none runs":
        assert outcome(world, item) == outcome(fresh, item)
    world.life().settle(deleted(item))
    assert world.left() == []
