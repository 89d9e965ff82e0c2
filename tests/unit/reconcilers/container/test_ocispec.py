"""config.json as written from a Container."""

from pathlib import Path
from typing import Any

import pytest

from drivers.images.interface import ImageConfig
from reconcilers.container import hardening
from reconcilers.container.ocispec import Resolved, oci_spec, process_args
from resources.container import ContainerSpec
from resources.errors import EngineError, FailedPrecondition, InvalidArgument

IMAGE = ImageConfig(entrypoint=("/entry",), command=("serve",), env={"A": "image", "B": "image"}, working_dir="/srv")


def container(**fields: Any) -> ContainerSpec:
    return ContainerSpec.parse({"image": "box", "networks": [{"name": "none"}], **fields})


def resolved(**changes: Any) -> Resolved:
    base: dict[str, Any] = {"name": "web", "uid": 0, "gid": 0, "groups": (), "home": "/root", "image": IMAGE}
    return Resolved(**{**base, "netns": Path("/run/x/netns/1"), **changes})


def written(spec: ContainerSpec, **changes: Any) -> dict[str, Any]:
    return oci_spec(spec, resolved(**changes), lambda profile, caps: {"profile": profile, "caps": list(caps)})


@pytest.mark.parametrize(
    ("fields", "args"),
    [
        ({}, ("/entry", "serve")),
        ({"command": ["x"]}, ("/entry", "x")),
        ({"command": []}, ("/entry",)),
        ({"entrypoint": ["/own"]}, ("/own",)),
        ({"entrypoint": [], "command": ["x"]}, ("x",)),
    ],
)
def test_entrypoint_and_command(fields: dict[str, Any], args: tuple[str, ...]) -> None:
    assert process_args(container(**fields), IMAGE) == args


def test_nothing_to_run_is_said() -> None:
    with pytest.raises(FailedPrecondition, match="nothing to run"):
        process_args(container(entrypoint=[]), IMAGE)


def test_the_manifest_overrides_the_images_environment() -> None:
    env = written(container(), env={"B": "own"})["process"]["env"]
    assert {"A=image", "B=own", "HOME=/root", "HOSTNAME=web"} <= set(env)


def test_a_default_container_is_hardened() -> None:
    spec = written(container())
    process, linux = spec["process"], spec["linux"]
    assert process["capabilities"]["bounding"] == list(hardening.BASELINE)
    assert set(process["capabilities"]) == {"bounding", "effective", "permitted"}
    assert process["noNewPrivileges"] is True
    assert {"type": "RLIMIT_CORE", "soft": 0, "hard": 0} in process["rlimits"]
    assert {n["type"] for n in linux["namespaces"]} == {"mount", "pid", "ipc", "uts", "cgroup", "network"}
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert linux["seccomp"]["profile"] == "baseline"
    assert "annotations" not in spec
    assert "/proc/kcore" in linux["maskedPaths"]


def test_another_user_holds_no_capability() -> None:
    capabilities = written(container(), uid=101)["process"]["capabilities"]
    assert capabilities["effective"] == capabilities["permitted"] == []


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        ({"drop": ["ALL"], "add": ["net_bind_service"]}, {"CAP_NET_BIND_SERVICE"}),
        ({"drop": ["CHOWN"]}, set(hardening.BASELINE) - {"CAP_CHOWN"}),
        ({"add": ["ALL"], "drop": ["SYS_ADMIN"]}, set(hardening.ALL) - {"CAP_SYS_ADMIN"}),
    ],
)
def test_capabilities_are_dropped_then_added(asked: dict[str, Any], held: set[str]) -> None:
    spec = container(security={"capabilities": asked})
    assert set(hardening.capabilities(spec.security)) == held


@pytest.mark.parametrize(
    "fields",
    [
        {"security": {"capabilities": {"add": ["NOSUCH"]}}},
        {"security": {"sysctls": {"kernel.core_pattern": "1"}}},
        {"security": {"sysctls": {"net.core.somaxconn": "1\n2"}}},
        {"mounts": [{"tmpfs": {}, "target": "/proc/x"}]},
    ],
)
def test_what_would_reach_out_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        written(container(**fields))


def test_root_is_refused_where_it_must_not_be() -> None:
    with pytest.raises(EngineError, match="runAsNonRoot"):
        written(container(security={"runAsNonRoot": True}))


def test_the_hosts_network_is_not_a_namespace_and_has_no_sysctls() -> None:
    linux = written(container(), netns=None)["linux"]
    assert "network" not in {n["type"] for n in linux["namespaces"]}
    assert linux["sysctl"] == {}


def test_what_the_image_asks_for_comes_in_order_with_all_else() -> None:
    sources = {"/etc": Path("/a/etc"), "/srv": Path("/v/srv"), "/srv/deep": Path("/a/deep")}
    files = {"hosts": Path("/f/hosts")}
    mounts = [{"volume": "data", "target": "/srv"}]
    spec = written(container(mounts=mounts), sources=sources, files=files, anonymous=("/etc", "/srv/deep"))
    found = [m for m in spec["mounts"] if m["type"] == "bind"]
    assert [m["destination"] for m in found] == ["/srv", "/etc", "/etc/hosts", "/srv/deep"]
    assert found[1]["options"] == ["rbind", "rprivate", "nosuid", "nodev", "rw"]


def test_mounts_come_parents_first_and_secrets_read_only() -> None:
    mounts = [
        {"secret": "tls", "target": "/data/deep/tls"},
        {"volume": "data", "target": "/data"},
        {"tmpfs": {"size": "1Mi", "mode": "0700"}, "target": "/tmp"},
    ]
    sources = {"/data/deep/tls": Path("/p/tls"), "/data": Path("/v/data")}
    found = written(container(mounts=mounts), sources=sources)["mounts"][-3:]
    assert [m["destination"] for m in found] == ["/data", "/tmp", "/data/deep/tls"]
    assert found[1]["options"] == ["nosuid", "nodev", "mode=0700", "size=1048576"]
    assert "ro" in found[2]["options"]
    assert "rw" in found[0]["options"]
