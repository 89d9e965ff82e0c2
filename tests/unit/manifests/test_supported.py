"""What this version cannot do is refused by name; what it can is not."""

import pytest

from manifests.interface import Text
from manifests.load import load
from manifests.supported import REFUSED
from resources.kinds import Kind

IMAGE, CONTAINER, NETWORK, VOLUME = Kind.IMAGE, Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME
SAID = "not supported by this version"


def told(kind: Kind, spec: str, metadata: str = "name: x") -> list[str]:
    text = f"apiVersion: lading/v1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {spec}\n"
    return [str(problem) for problem in load([Text("m.yaml", text.encode())]).problems]


def container(fields: str, networks: str = "[host]") -> list[str]:
    return told(CONTAINER, f"{{image: a, networks: {networks}, {fields}}}")


REFUSALS = [
    (IMAGE, "{from: {build: {context: .}}}", "spec.from.build", "use registry, archive, layout or rootfs"),
    (IMAGE, "{from: {archive: a}, verify: {keys: [k]}}", "spec.verify", SAID),
    (IMAGE, "{from: {archive: a}, track: 1m}", "spec.track", SAID),
    (IMAGE, "{from: {archive: a}, push: [x/y]}", "spec.push", SAID),
    (
        NETWORK,
        "{driver: overlay}",
        "spec.driver",
        "'overlay' is not supported by this version: write bridge, host or none",
    ),
    (NETWORK, "{ipam: {driver: remote}}", "spec.ipam.driver", "write default"),
    (NETWORK, "{ipam: {options: {a: b}}}", "spec.ipam.options", SAID),
    (NETWORK, "{options: {a: b}}", "spec.options", SAID),
    (VOLUME, "{driver: nfs}", "spec.driver", "'nfs' is not supported by this version: write local or tmpfs"),
    (VOLUME, "{options: {a: b}}", "spec.options", SAID),
    (VOLUME, "{snapshotOnApply: true}", "spec.snapshotOnApply", "'true' is not supported by this version: write false"),
]
OF_A_CONTAINER = [
    ("update: {strategy: start-first}", "spec.update.strategy", "write recreate"),
    ("resources: {rootfs: 1Gi}", "spec.resources.rootfs", SAID),
    ("security: {privileged: true}", "spec.security.privileged", "write false"),
    ("security: {seccomp: ./profile.json}", "spec.security.seccomp", "write default or unconfined"),
    ("security: {apparmor: unconfined}", "spec.security.apparmor", "write default"),
    ("security: {userNamespace: auto}", "spec.security.userNamespace", "write host"),
    ("security: {userNamespace: {size: 65536}}", "spec.security.userNamespace", SAID),
    ("security: {devices: ['/dev/fuse:rwm']}", "spec.security.devices", SAID),
    ("security: {dangerous: [hostPid]}", "spec.security.dangerous", SAID),
    ("logging: {driver: journald}", "spec.logging.driver", "write file or none"),
    ("logging: {options: {a: b}}", "spec.logging.options", SAID),
    ("pid: host", "spec.pid", "write private"),
    ("pid: 'container:x'", "spec.pid", "write private"),
    ("ipc: host", "spec.ipc", "write private"),
    ("uts: host", "spec.uts", "write private"),
    ("cgroupns: host", "spec.cgroupns", "write private"),
    ("snapshotter: btrfs", "spec.snapshotter", "write overlay"),
]


@pytest.mark.parametrize(("kind", "spec", "path", "expected"), REFUSALS)
def test_refused(kind: Kind, spec: str, path: str, expected: str) -> None:
    problems = told(kind, spec)
    assert len(problems) == 1, problems
    assert f": {path}: " in problems[0]
    assert SAID in problems[0]
    assert expected in problems[0]
    assert problems[0].startswith("m.yaml:4:")


@pytest.mark.parametrize(("fields", "path", "expected"), OF_A_CONTAINER)
def test_refused_of_a_container(fields: str, path: str, expected: str) -> None:
    problems = container(fields)
    assert len(problems) == 1, problems
    assert f": {path}: " in problems[0]
    assert SAID in problems[0]
    assert expected in problems[0]


def test_drift_is_healed() -> None:
    assert told(VOLUME, "{}", "name: x, annotations: {lading/drift: heal}") == []
    assert SAID in told(VOLUME, "{}", "name: x, annotations: {lading/drift: ignore}")[0]


def test_every_line_of_the_table_is_tested() -> None:
    tested = {(kind, path) for kind, _, path, _ in REFUSALS} | {(CONTAINER, path) for _, path, _ in OF_A_CONTAINER}
    lines = {
        (kind, entry.path) for kind, entries in REFUSED.items() for entry in entries if entry.path.startswith("spec")
    }
    assert lines == {(kind, path.replace("[0]", "[]")) for kind, path in tested}


@pytest.mark.parametrize(
    "fields",
    [
        "ports: []",
        "update: {strategy: recreate}",
        "security: {privileged: false, seccomp: unconfined, apparmor: default, userNamespace: host, devices: [], dangerous: []}",
        "logging: {driver: none, options: {}}",
        "pid: private",
        "snapshotter: overlay",
    ],
)
def test_its_defaults_may_be_written(fields: str) -> None:
    assert container(fields) == []


def test_a_wrong_word_is_told_as_such_alone() -> None:
    assert ["must be local or tmpfs" in problem for problem in told(VOLUME, "{driver: x}")] == [True]
    assert len(told(NETWORK, "{driver: x}")) == 1
