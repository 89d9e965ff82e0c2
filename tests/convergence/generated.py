"""Hypothesis strategies: whole sets of manifests that fit together, and small steps from one set to the next.

A set is drawn as edits of fields, so that most of what is desired stays as it was from one set to the next: what is hot would
hide behind what is not. `manifests` then takes out what cannot come to rest: what refers to nothing, or waits for ever.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.convergence.world import IMAGES, SEEDS, Files
from tests.unit.manifests.generated import some

Name = tuple[str, str]
Edit = tuple[Name, str, Any]
"""An object, a field of it, and its value; None is without it. The field "" is the object itself."""
Wish = Mapping[Name, Mapping[str, Any]]

ON_CHANGE = st.sampled_from(["none", "restart", {"signal": "SIGHUP"}])
CONTENT = st.builds(lambda key, change, more: {"onChange": change, **key, **more},
    st.sampled_from([{}, {"key": "a"}, {"key": "b"}]), ON_CHANGE, some(mode=st.just("0440"), uid=st.just(7)),
)  # fmt: skip
MOUNTS = st.lists(
    st.one_of(
        st.builds(lambda o: {"volume": "data", **o}, some(readOnly=st.booleans(), copyUp=st.booleans())),
        st.builds(lambda o: {"volume": "cache", **o}, some(subPath=st.just("x"))),
        st.sampled_from([{"volume": "seeded"}, {"volume": "imaged"}]),
        st.builds(lambda o: {"bind": "/srv", **o}, some(create=st.booleans(), readOnly=st.booleans())),
        st.builds(lambda o: {"tmpfs": o}, some(size=st.just("1Mi"))),
        CONTENT.map(lambda mount: {"secret": "tls", **mount}),
        CONTENT.map(lambda mount: {"config": "conf", **mount}),
        st.just({"image": {"name": "assets"}}),
    ),
    max_size=4,
).map(lambda mounts: [{**mount, "target": f"/m/{n}"} for n, mount in enumerate(mounts)])
VALUES = st.sampled_from(
    ["1", "2", {"secret": "tls", "key": "a"}, {"secret": "tls", "key": "cookie"}, {"config": "conf", "key": "a"}]
)
DEPENDS = st.lists(
    st.fixed_dictionaries(
        {"container": st.sampled_from(["c0", "c1", "c2", "c3"]),
         "condition": st.sampled_from(["started", "healthy", "completed"])},
        optional={"restart": st.booleans()},
    ),
    max_size=3,
    unique_by=lambda dependency: dependency["container"],
)  # fmt: skip
HEALTH = st.sampled_from(
    [
        "none",
        {"exec": ["true"], "onFailure": "restart"},
        {"exec": ["false"], "retries": 1, "interval": "1s"},
        {"tcp": {"port": 80}, "interval": "1s"},
        {"http": {"port": 80, "path": "/up"}, "startPeriod": "2s"},
    ]
)
RESOURCES = some(
    memory=st.sampled_from(["64Mi", "1Gi"]), cpus=st.sampled_from([1, 0.5]), pids=st.sampled_from([5, 6]),
    cpuShares=st.just(512), cpuset=st.just("0"), ioWeight=st.just(10), oomScoreAdj=st.just(5),
)  # fmt: skip
SECURITY = some(
    readOnlyRoot=st.booleans(), profile=st.just("compat"), noNewPrivileges=st.booleans(),
    capabilities=st.sampled_from([{"drop": ["ALL"]}, {"add": ["NET_ADMIN"]}]),
)  # fmt: skip
LABELS = st.sampled_from([{"app": "a"}, {"app": "b", "tier": "x"}])
COMMANDS = st.sampled_from([["serve"], ["other"], ["exit", "0"], ["exit", "0"], ["exit", "3"]])
ALONE = ("host", "none", "shared")
"""`shared` is the sandbox of an earlier container, where there is one that runs."""
NETWORKS = st.sampled_from([["host"], ["none"], ["shared"], []]) | st.lists(
    st.one_of(
        st.just({"name": "bridge"}),
        st.builds(lambda o: {"name": "front", **o}, some(aliases=st.just(["www"]), mac=st.just("fixed"))),
        st.builds(lambda o: {"name": "back", **o}, some(ipv4=st.just("fixed"), aliases=st.just(["api", "API"]))),
        st.just({"name": "inner"}),
    ),
    min_size=1, max_size=3, unique_by=lambda one: one["name"],
)  # fmt: skip
PORTS = st.lists(
    st.sampled_from([{"container": 80}, {"container": 80, "host": 1}, {"container": 81, "host": 2, "protocol": "udp"},
                     {"container": 82, "host": 3}]),
    min_size=1, max_size=3, unique_by=str,
)  # fmt: skip
"""Host ports are counted from those of each container, and so is what is "fixed" of a network."""
CONTAINER: Mapping[str, st.SearchStrategy[Any]] = {
    "labels": LABELS,
    "annotations": st.just({"note": "x"}),
    "image": st.sampled_from([{"name": "app"}, {"name": "assets"}, "shop/app:1"]),
    "command": COMMANDS,
    "entrypoint": st.just(["/entry"]),
    "workingDir": st.just("/srv"),
    "env": st.dictionaries(st.sampled_from("AB"), VALUES, min_size=1),
    "envFile": st.just(["./web.env"]),
    "user": st.sampled_from(["101", "7:7"]),
    "groups": st.just(["44"]),
    "hostname": st.just("box"),
    "mounts": MOUNTS,
    "networks": NETWORKS,
    "ports": PORTS,
    "dns": st.just({"servers": ["9.9.9.9"]}),
    "extraHosts": st.sampled_from([{"a": "10.0.0.1"}, {"a": "host-gateway"}]),
    "dependsOn": DEPENDS,
    "resources": RESOURCES,
    "ulimits": st.just({"nofile": {"soft": 10, "hard": 20}}),
    "restart": st.sampled_from(["always", "unless-stopped", {"policy": "on-failure", "maxRetries": 2}]),
    "health": HEALTH,
    "state": st.sampled_from(["running", "paused", "stopped", "created"]),
    "stop": some(signal=st.sampled_from(["SIGINT", "SIGQUIT"]), timeout=st.sampled_from(["0s", "3s"])),
    "security": SECURITY,
    "logging": some(maxSize=st.just("1Mi"), maxFiles=st.just(2), driver=st.just("none")),
    "autoRemove": st.just(True),
    "tty": st.booleans(),
    "stdin": st.booleans(),
    "init": st.booleans(),
    "shmSize": st.just("1Mi"),
    "update": st.just({"drain": "1s"}),
}
IMAGE: Mapping[str, st.SearchStrategy[Any]] = {
    "labels": LABELS,
    "from": st.sampled_from(["archive", "rootfs"]),
    "content": st.sampled_from(sorted(IMAGES)),
    "platform": st.just("linux/amd64"),
    "config": some(env=st.just({"A": "overridden"}), command=st.just(["run"]), stopSignal=st.just("SIGINT")),
    "tags": st.sampled_from([["more:1"], ["more:2", "more:3"]]),
}
VOLUME: Mapping[str, st.SearchStrategy[Any]] = {
    "labels": LABELS,
    "owner": some(uid=st.sampled_from([5, 6]), gid=st.just(5), mode=st.just("0700")),
    "reclaim": st.sampled_from(["retain", "delete"]),
    "content": st.sampled_from(sorted(SEEDS)),
    "size": st.just("grown"),
}
ENTRIES: Mapping[str, st.SearchStrategy[Any]] = {
    "labels": LABELS,
    "a": st.sampled_from(["x", "y"]),
    "b": st.sampled_from(["x", "y"]),
    "extra": st.just("z"),
    "content": st.sampled_from([b"file one", b"file two"]),
}
NETWORK: Mapping[str, st.SearchStrategy[Any]] = {"labels": LABELS, "driver": st.sampled_from(["host", "none"])}
BRIDGE: Mapping[str, st.SearchStrategy[Any]] = {
    "labels": LABELS,
    "mtu": st.just(1400),
    "internal": st.booleans(),
    "isolated": st.booleans(),
    "masquerade": st.booleans(),
    "dns": st.booleans(),
    "second": st.just(True),
    "moved": st.just(True),
}
TURNED: Mapping[str, st.SearchStrategy[Any]] = {
    **BRIDGE,
    "turned": st.sampled_from([1, 2]),
    "exchanged": st.just(True),
}
"""Fixed addresses go round among the containers, and the subnets of two networks change hands."""
OBJECTS: Mapping[Name, Mapping[str, st.SearchStrategy[Any]]] = {
    **{("Container", f"c{number}"): CONTAINER for number in range(5)},
    **{("Image", name): IMAGE for name in ("app", "assets")},
    **{("Volume", name): VOLUME for name in ("data", "cache", "seeded", "imaged")},
    ("Secret", "tls"): ENTRIES,
    ("Config", "conf"): ENTRIES,
    ("Network", "edge"): NETWORK,
    **{("Network", name): BRIDGE for name in ("front", "inner")},
    ("Network", "back"): TURNED,
}


def _edit_of(name: Name, field: str) -> st.SearchStrategy[Edit]:
    values = OBJECTS[name][field] if field else st.booleans()
    return st.tuples(st.just(name), st.just(field), values if field == "" else values | st.none())


def _edits(containers: bool) -> st.SearchStrategy[Edit]:
    names = [name for name in OBJECTS if (name[0] == "Container") is containers]
    return st.one_of([_edit_of(name, field) for name in names for field in ("", *OBJECTS[name])])


CONTAINER_EDITS, OTHER_EDITS = _edits(True), _edits(False)
EDITS = CONTAINER_EDITS | OTHER_EDITS


def edited(wish: Wish, edits: Iterable[Edit]) -> Wish:
    found: dict[Name, Mapping[str, Any]] = dict(wish)
    for name, field, value in edits:
        if not field and not value:
            found.pop(name, None)
        else:
            old = found.get(name, {})
            found[name] = {
                **{k: v for k, v in old.items() if k != field},
                **({field: value} if field and value is not None else {}),
            }
    return found


def manifests(wish: Wish, grown: bool = False) -> tuple[str, Files]:
    """The documents of a set that can come to rest, and the files they name. `grown`: volumes have ever been made larger."""
    whole = {name: dict(fields) for name, fields in wish.items()} or {("Container", "c0"): {}}
    for name, fields in sorted(whole.items()):
        if name[0] == "Container":
            _calm(fields)
    for name, fields in sorted(whole.items()):
        if name[0] == "Container":
            fields["dependsOn"] = list(_possible(name[1], fields.get("dependsOn", ()), whole))
            _attached(name[1], fields, whole)
    for name in _named(whole):
        whole.setdefault(name, {})
    if "exchanged" in whole.get(("Network", "back"), {}) and ("Network", "front") in whole:
        whole["Network", "front"]["exchanged"] = True
    files: dict[str, bytes] = {"web.env": b"FROM_FILE=1\n"}
    documents = [_document(name, fields, files, grown) for name, fields in sorted(whole.items())]
    return yaml.safe_dump_all(documents, sort_keys=False), files


def _job(fields: Mapping[str, Any]) -> bool:
    return bool(fields.get("command", [""])[0] == "exit")


def _calm(fields: dict[str, Any]) -> None:
    """No process that ends is started again and again, and what removes itself is not meant to stay."""
    if _job(fields):
        if fields.get("restart") in ("always", "unless-stopped"):
            del fields["restart"]
        fields.pop("autoRemove", None)
    if fields.get("state") in ("stopped", "created"):
        fields.pop("autoRemove", None)


def _possible(own: str, wanted: Iterable[Mapping[str, Any]], whole: Wish) -> Iterable[Mapping[str, Any]]:
    """Only earlier ones, or there were cycles; and only what they are going to be."""
    for dependency in wanted:
        target = whole.get(("Container", dependency["container"]))
        if target is None or dependency["container"] >= own:
            continue
        runs = target.get("state", "running") == "running"
        checked = "health" in target and target["health"] != "none" and target["health"].get("exec") != ["false"]
        condition = dependency["condition"]
        if condition == "healthy" and not (runs and checked and not _job(target)):
            condition = "started"
        if condition == "completed" and not (runs and target.get("command") == ["exit", "0"]):
            condition = "started"
        if runs and target.get("command") != ["exit", "3"]:
            yield {**dependency, "condition": condition}


def _attached(own: str, fields: dict[str, Any], whole: Wish) -> None:
    """Ports only where something can come in, and the sandbox of another only where that one has one."""
    back = whole.get(("Network", "back"), {})
    number = 10 + (int(own.removeprefix("c")) + back.get("turned", 0)) % 5
    fixed = f"10.{1 if 'exchanged' in back else 2}.0.{number}"
    networks = fields["networks"] = [
        {**one, "ipv4": fixed} if isinstance(one, dict) and "ipv4" in one else one
        for one in fields.get("networks", ["none"])
    ]
    if networks == ["shared"]:
        able = [
            name
            for (kind, name), other in sorted(whole.items())
            if kind == "Container" and name < own and not _job(other) and other.get("state", "running") == "running"
            and other.get("networks") != ["shared"] and not str(other.get("networks")).startswith("[{'container'")
        ]  # fmt: skip
        fields["networks"] = [{"container": able[0]}] if able else ["none"]
    inward = [one["name"] for one in networks if isinstance(one, dict)]
    internal = {name for name in inward if whole.get(("Network", name), {}).get("internal", name == "inner")}
    if not set(inward) - internal:
        fields.pop("ports", None)


def _named(whole: Wish) -> set[Name]:
    """What containers and volumes refer to."""
    found: set[Name] = set()
    for (kind, name), fields in whole.items():
        if kind == "Container":
            image = fields.get("image", {"name": "app"})
            found.add(("Image", image["name"] if isinstance(image, dict) else "app"))
            for mount in fields.get("mounts", ()):
                found |= {("Volume", mount[field]) for field in ("volume",) if field in mount}
                found |= {("Image", "assets") for field in ("image",) if field in mount}
            networks = [one["name"] for one in fields.get("networks", ()) if isinstance(one, dict) and "name" in one]
            found |= {("Network", network) for network in networks if network != "bridge"}
            for value in (*fields.get("mounts", ()), *fields.get("env", {}).values()):
                if isinstance(value, dict):
                    found |= {(field.title(), value[field]) for field in ("secret", "config") if field in value}
        if kind == "Volume" and name == "imaged":
            found.add(("Image", "app"))
    if ("Volume", "imaged") in found:
        found.add(("Image", "app"))
    return found


def _document(name: Name, fields: Mapping[str, Any], files: dict[str, bytes], grown: bool) -> dict[str, Any]:
    kind, called = name
    metadata = {"name": called, **{key: fields[key] for key in ("labels", "annotations") if key in fields}}
    rest = {key: value for key, value in fields.items() if key not in ("labels", "annotations")}
    spec = {"Container": _container, "Image": _image, "Volume": _volume, "Network": _network}.get(kind, _entries)
    return {"apiVersion": "lading/v1", "kind": kind, "metadata": metadata, "spec": spec(name, rest, files, grown)}


def _container(name: Name, fields: Mapping[str, Any], files: dict[str, bytes], grown: bool) -> dict[str, Any]:
    number = int(name[1].removeprefix("c"))
    fixed = {"mac": f"02:00:00:00:00:{number:02x}"}
    found: dict[str, Any] = {"image": {"name": "app"}, "networks": ["none"], **fields}
    found["networks"] = [
        {key: fixed.get(key, value) if value == "fixed" else value for key, value in one.items()}
        if isinstance(one, dict)
        else one
        for one in found["networks"]
    ]
    if "ports" in found:
        found["ports"] = [
            {**port, "host": 8000 + 10 * number + port["host"]} if "host" in port else port for port in found["ports"]
        ]
    return found


def _image(name: Name, fields: Mapping[str, Any], files: dict[str, bytes], grown: bool) -> dict[str, Any]:
    file = f"{name[1]}.tar"
    files[file] = fields.get("content", b"image one")
    tags = [f"shop/{name[1]}:1", *(f"{name[1]}-{tag}" for tag in fields.get("tags", ()))]
    rest = {key: fields[key] for key in ("platform", "config") if key in fields}
    return {"from": {fields.get("from", "archive"): f"./{file}"}, "tags": tags, **rest}


def _volume(name: Name, fields: Mapping[str, Any], files: dict[str, bytes], grown: bool) -> dict[str, Any]:
    rest = {key: fields[key] for key in ("owner", "reclaim") if key in fields}
    if name[1] == "seeded":
        files["seed.tar"] = fields.get("content", b"seed one")
        return {"populate": {"archive": "./seed.tar"}, **rest}
    if name[1] == "imaged":
        return {"populate": {"image": {"name": "app"}}, **rest}
    size = "128Mi" if grown or "size" in fields else "64Mi"
    return {"driver": "tmpfs" if name[1] == "cache" else "local", "size": size, **rest}


def _entries(name: Name, fields: Mapping[str, Any], files: dict[str, bytes], grown: bool) -> dict[str, Any]:
    file = f"{name[1]}.txt"
    files[file] = fields.get("content", b"file")
    data = {"a": "x", "b": "x", **{key: fields[key] for key in ("a", "b", "extra") if key in fields}}
    made = {"generate": {"cookie": {"length": 16}}} if name[0] == "Secret" else {}
    return {"data": data, "files": {"file": f"./{file}"}, **made}


def _network(name: Name, fields: Mapping[str, Any], files: dict[str, bytes], grown: bool) -> dict[str, Any]:
    if name[1] == "edge":
        return {"driver": fields.get("driver", "host")}
    own = {"front": "10.1.0", "back": "10.2.0", "inner": ""}[name[1]]
    if "exchanged" in fields:
        own = {"front": "10.2.0", "back": "10.1.0"}[name[1]]
    # What may be asked for is nobody's who asks for none.
    subnets: list[Any] = [{"subnet": f"{own}.0/24", "reserved": [f"{own}.{10 + at}" for at in range(5)]}] if own else []
    if "moved" in fields and name[1] != "back":
        subnets = ["10.9.0.0/28"] if name[1] == "front" else ["10.8.0.0/24"]
    if "second" in fields and subnets:
        subnets = [*subnets, f"fd00:{len(name[1])}::/64"]
    rest = {key: value for key, value in fields.items() if key not in ("second", "moved", "turned", "exchanged")}
    return {"internal": name[1] == "inner", **({"subnets": subnets} if subnets else {}), **rest}
