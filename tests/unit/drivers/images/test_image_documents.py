"""Digests, JSON, manifests and configs (MAN-01 to MAN-07)."""

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.images.config import parse_config
from drivers.images.digest import chain_id, chain_ids, checked, is_digest, of_bytes
from drivers.images.manifest import (
    Platform,
    choose,
    parse_index,
    parse_manifest,
    platform,
)
from drivers.images.strictjson import loads
from resources.errors import InvalidArgument

GOOD = "sha256:" + "0" * 64
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": GOOD, "size": 2}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": GOOD, "size": 3}
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
MANIFEST = {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER]}


@pytest.mark.parametrize(
    "text",
    [
        "sha256:../../x",
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 63,
        "sha256:",
        "md5:" + "0" * 32,
        GOOD + "\0",
        GOOD + "\n",
        "sha512:" + "0" * 128,
        "",
        None,
        7,
        "sha256:" + "٠" * 64,
    ],
)
def test_one_expression_refuses_other_digests(text: object) -> None:
    assert not is_digest(text)
    with pytest.raises(InvalidArgument):
        checked(text)


def test_chain_ids_are_those_of_the_specification() -> None:
    a, b = of_bytes(b"a"), of_bytes(b"b")
    assert chain_ids([a, b]) == (a, of_bytes(f"{a} {b}".encode()))
    assert chain_id([]) == ""


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":1,"a":2}',
        b"[NaN]",
        b"[1e999]",
        b"[" + b"9" * 5000 + b"]",
        b'["\\ud800"]',
        b"\xef\xbb\xbf{}",
        b"{} x",
        b"",
        b"\xff",
        b"[-Infinity]",
        b'{"a":{"b":1,"b":1}}',
    ],
)
def test_ambiguous_json_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArgument):
        loads(text, "it", 1 << 20)


def test_json_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="5 bytes"):
        loads(b"[1,2]", "it", 4)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": "' + b'\\"' * 2_000_000,  # a string that ends nowhere, with a quote at each place it could begin anew
        b"{" + b",".join(b'"%d":0' % number for number in range(300_000)) + b',"299999":1}',
        b"[" + b"[]," * 1_300_000 + b"[]]",
    ],
    ids=["no end", "the last key twice", "many lists"],
)
def test_hostile_json_is_refused_in_no_time(text: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(InvalidArgument):
        loads(text, "it", 8 << 20)
    assert time.process_time() - begun < 5


def test_long_json_costs_little_memory() -> None:
    text = b'{"a": "' + b"x" * 8_000_000 + b'"}'
    tracemalloc.start()
    try:
        loads(text, "it", 8 << 20)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(text)
    finally:
        tracemalloc.stop()


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)


@given(JSON)
def test_what_json_writes_is_read(value: Any) -> None:
    assert loads(json.dumps(value).encode(), "it", 1 << 20) == value


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_clean_error(data: bytes) -> None:
    try:
        loads(data, "it", 1 << 20)
    except InvalidArgument:
        return
    json.loads(data)


def manifest(**changes: Any) -> bytes:
    return json.dumps({**MANIFEST, **changes}).encode()


def test_a_manifest() -> None:
    parsed = parse_manifest(manifest(), "m")
    assert (parsed.config.size, parsed.layers[0].size) == (2, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"manifests": []},
        {"fsLayers": []},
        {"mediaType": "application/vnd.oci.image.index.v1+json"},
        {"schemaVersion": 1},
        {"schemaVersion": True},
        {"layers": [LAYER] * 1001},
        {"layers": None},
        {"layers": [{**LAYER, "mediaType": FOREIGN, "urls": ["http://169.254.169.254/", "file:///"]}]},
        {"layers": [{**LAYER, "mediaType": "application/x-xz"}]},
        {"config": {**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}},
        *({"layers": [{**LAYER, "size": size}]} for size in (-1, 1.5, True, "3", None, 1 << 60)),
        {"layers": [{**LAYER, "digest": "sha256:../../etc/shadow"}]},
        {"layers": [{**LAYER, "annotations": {"a": 1}}]},
        {"layers": ["x"]},
    ],
)
def test_manifests_that_could_be_read_two_ways_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        parse_manifest(manifest(**changes), "m")


def index(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode()


def listed(digest: str, os: str, architecture: str, variant: str = "") -> dict[str, Any]:
    where = {"os": os, "architecture": architecture} | ({"variant": variant} if variant else {})
    return {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1, "platform": where}


def test_an_index_is_chosen_from_by_platform() -> None:
    raw = index(
        listed(of_bytes(b"1"), "linux", "amd64"),
        listed(of_bytes(b"2"), "linux", "arm64", "v8"),
        listed(of_bytes(b"3"), "unknown", "unknown"),
    )
    chosen = [d.digest for d, _ in choose(raw, platform("linux/arm64"), lambda _: None)]
    assert chosen == [of_bytes(b"2")]
    assert not list(choose(raw, platform("linux/riscv64"), lambda _: None))


def test_an_index_that_holds_itself_ends() -> None:
    nested = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": GOOD, "size": 1}
    with pytest.raises(InvalidArgument, match="deeper"):
        list(choose(index(nested), platform("linux/amd64"), lambda _: index(nested)))


def test_too_many_descriptors_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="1000"):
        parse_index(index(*[listed(GOOD, "linux", "amd64")] * 1001), "i")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/arm/v6", "linux/arm/v7", False),
    ],
)
def test_platforms(one: str, other: str, same: bool) -> None:
    assert platform(one).matches(platform(other)) is same


@pytest.mark.parametrize("text", ["linux", "linux/", "a/b/c/d", "linux/amd64\n", "", "linux/../x"])
def test_malformed_platforms(text: str) -> None:
    with pytest.raises(InvalidArgument):
        platform(text)


def config(**fields: Any) -> bytes:
    return json.dumps(
        {"os": "linux", "architecture": "amd64", "config": fields, "rootfs": {"type": "layers", "diff_ids": [GOOD]}}
    ).encode()


def test_a_config_is_taken_over() -> None:
    blob = parse_config(
        config(
            Entrypoint=["/e"],
            Cmd=["a", "b"],
            Env=["A=1", "B=x=y\nz"],
            User="1:2",
            WorkingDir="srv/./x",
            StopSignal="SIGTERM",
            ExposedPorts={"80": {}, "53/udp": {}},
            Volumes={"/data/../x": {}, "/../../etc": {}},
            Labels={"run.oci.seccomp_bpf_data": "x"},
            Healthcheck={"Test": ["CMD", "true"], "Interval": 1_500_000_000, "Timeout": 0, "Retries": 3},
        ),
        "c",
    )
    image = blob.config
    assert (image.entrypoint, image.command) == (("/e",), ("a", "b"))
    assert image.env == {"A": "1", "B": "x=y\nz"}
    assert (image.user, image.working_dir, image.stop_signal) == ("1:2", "/srv/x", "SIGTERM")
    assert image.exposed_ports == ("53/udp", "80/tcp")
    assert image.volumes == ("/etc", "/x")
    assert image.labels == {"run.oci.seccomp_bpf_data": "x"}
    assert image.health is not None
    assert (image.health.test, image.health.interval, image.health.timeout) == (("CMD", "true"), 1500, None)
    assert blob.platform == Platform("linux", "amd64")


def test_null_means_absent() -> None:
    fields = ("Entrypoint", "Cmd", "Env", "User", "WorkingDir", "ExposedPorts", "Volumes", "Labels", "Healthcheck")
    assert parse_config(config(**dict.fromkeys(fields)), "c").config == parse_config(config(), "c").config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Volumes", {"/": {}}),
        ("Volumes", {"/proc": {}}),
        ("Volumes", {"/x\x1b[2J": {}}),
        ("Volumes", {"/x/../dev/shm": {}}),
        ("WorkingDir", "/proc/self/fd/7"),
        ("WorkingDir", "/x/../proc/self/fd/7"),
        ("Entrypoint", ["a\0b"]),
        ("Entrypoint", "sh -c x"),
        ("Cmd", [None]),
        ("Env", ["NOEQUALS"]),
        ("Env", ["=x"]),
        ("Env", ["A\n=x"]),
        ("Env", ["A=" + "x" * (2 << 20)]),
        ("ExposedPorts", {"99999/tcp": {}}),
        ("ExposedPorts", {"80/tcp;x": {}}),
        ("ExposedPorts", ["80"]),
        ("Healthcheck", {"Test": ["CMD", "x"], "Interval": -1}),
        ("Healthcheck", {"Test": ["CMD", "x"], "Interval": 1.5}),
        ("Healthcheck", {"Test": ["EVIL"]}),
        ("StopSignal", "SIGTERM; x"),
        ("User", "a\nb"),
        ("Labels", {"a": 1}),
    ],
)
def test_hostile_configs_are_refused_by_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=field):
        parse_config(config(**{field: value}), "c")
