"""Hypothesis strategies: manifests this version takes, and trees it may be handed instead."""

from typing import Any

from hypothesis import strategies as st

NAMES = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,12}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
KEYS = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)
SIZES = st.sampled_from(["64Mi", "1Gi", 4096, "100k", "1048576"])
DURATIONS = st.sampled_from(["500ms", "2s", "1m30s", "0s", "1h"])
MODES = st.sampled_from(["0400", "0755", "1777"])
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A map with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def words(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from(values)


COMMANDS = st.lists(TEXTS, max_size=3)
VALUES = TEXTS | st.builds(lambda s, k: {"secret": s, "key": k}, NAMES, KEYS) | st.integers() | st.booleans()
HEALTH = st.builds(
    lambda probe, rest: {**probe, **rest},
    st.sampled_from([{"exec": ["true"]}, {"http": {"port": 80, "path": "/x"}}, {"tcp": {"port": 5432}}]),
    some(
        interval=words("1s", "500ms"),
        retries=st.integers(1, 9),
        startPeriod=DURATIONS,
        onFailure=words("restart", "none"),
    ),
)
MOUNTS = st.lists(
    st.one_of(
        st.builds(lambda n, o: {"volume": n, **o}, NAMES, some(readOnly=st.booleans(), subPath=words("a", "a/b"))),
        st.builds(lambda o: {"bind": "/srv", **o}, some(readOnly=st.booleans(), create=st.booleans())),
        st.builds(lambda o: {"tmpfs": o}, some(size=SIZES, mode=MODES)),
        st.builds(lambda n, o: {"secret": n, **o}, NAMES, some(mode=MODES, uid=st.integers(0, 99))),
        st.builds(lambda n: {"config": n, "onChange": {"signal": "SIGHUP"}}, NAMES),
    ),
    max_size=3,
).map(lambda mounts: [{**mount, "target": f"/m/{number}"} for number, mount in enumerate(mounts)])
CONTAINERS = st.builds(
    lambda image, networks, rest: {"image": image, "networks": networks, **rest},
    st.sampled_from(["nginx:1.27", {"name": "web"}, "localhost:5000/a/b"]),
    st.sampled_from([["host"], ["none"], [{"name": "none"}]]),
    some(
        entrypoint=COMMANDS,
        command=COMMANDS,
        workingDir=words("/srv", "/"),
        user=words("101", "101:101", "nginx", "nginx:nginx"),
        env=st.dictionaries(KEYS, VALUES, max_size=3),
        envFile=st.just(["./web.env"]),
        hostname=words("web", "web.example"),
        mounts=MOUNTS,
        dependsOn=st.sampled_from([["a"], ["a", {"container": "b", "condition": "healthy", "restart": True}]]),
        resources=some(memory=SIZES, cpus=st.sampled_from([1, 1.5, "1500m"]), pids=st.integers(1, 99)),
        ulimits=st.just({"nofile": {"soft": 1024, "hard": 4096}}),
        restart=st.sampled_from(["always", {"policy": "on-failure", "maxRetries": 3}, {"backoff": {"max": "1m"}}]),
        health=HEALTH | st.just("none"),
        state=words("running", "stopped"),
        stop=some(signal=words("SIGTERM", "INT", "15"), timeout=DURATIONS),
        security=some(runAsNonRoot=st.booleans(), capabilities=st.just({"drop": ["ALL"], "add": ["NET_RAW"]})),
        logging=some(driver=words("file", "none"), maxSize=SIZES),
        shmSize=SIZES,
        tty=st.booleans(),
    ),
)
IMAGES = st.builds(
    lambda source, rest: {"from": source, **rest},
    st.sampled_from([{"archive": "./a.tar"}, {"layout": "./a"}, {"rootfs": "/a"}]),
    some(tags=st.just(["shop/web:1.2"]), config=some(env=st.dictionaries(KEYS, TEXTS, max_size=2), command=COMMANDS)),
)
VOLUMES = some(
    driver=words("local", "tmpfs"),
    size=SIZES,
    owner=some(uid=st.integers(0, 99), mode=MODES),
    reclaim=words("retain", "delete"),
    populate=st.sampled_from([{"archive": "./seed.tar"}, {"image": {"name": "x"}, "path": "/data"}]),
)
DATA = st.dictionaries(KEYS.filter(lambda key: not key.endswith(".x")), TEXTS, max_size=3)
CONFIGS = some(data=DATA, files=st.just({"A.x": "./x"}))
SECRETS = some(data=DATA, env=st.just({"B.x": "TOKEN"}), generate=st.just({"C.x": {"length": 24}}))
NETWORKS = st.sampled_from([{"driver": "host"}, {"driver": "none"}])
SPECS = {
    "Image": IMAGES,
    "Container": CONTAINERS,
    "Network": NETWORKS,
    "Volume": VOLUMES,
    "Secret": SECRETS,
    "Config": CONFIGS,
}
METADATA = st.builds(
    lambda name, rest: {"name": name, **rest},
    NAMES,
    some(
        namespace=NAMES,
        labels=st.dictionaries(KEYS, TEXTS, max_size=2),
        annotations=st.dictionaries(KEYS, TEXTS, max_size=2),
    ),
)
DOCUMENTS = st.sampled_from(sorted(SPECS)).flatmap(
    lambda kind: st.fixed_dictionaries(
        {"apiVersion": st.just("lading/v1"), "kind": st.just(kind), "metadata": METADATA, "spec": SPECS[kind]}
    )
)
