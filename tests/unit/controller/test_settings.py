"""Settings: file, then environment, then flags; a wrong one is named, with where it came from."""

from pathlib import Path

import pytest

from controller.settings import DEFAULT_ROOT, Settings, load
from resources.errors import InvalidArgument
from tests.engines import CHECKOUT


def test_later_sources_win(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("resyncSeconds: 5\nworkers: 3\nlogFormat: json\n")
    found = load(
        tmp_path,
        tmp_path / "run",
        {"LADING_WORKERS": "4", "LADING_TEST_OWNER": "x"},
        {"runtime": "runc", "workers": None},
    )
    assert (found.resync_seconds, found.workers, found.log_format, found.runtime) == (5, 4, "json", "runc")


def test_an_absent_file_is_fine(tmp_path: Path) -> None:
    assert load(tmp_path, tmp_path, {}, {}).workers >= 4


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("wrokers: 3", "wrokers"),
        ("workers: many", "workers"),
        ("workers: 0", "workers"),
        ("runtime: kata", "runtime"),
        ("root: /tmp", "root"),
        ("- a", "map"),
        ("a: [", "YAML"),
        ("workers: true", "workers: must be a whole number"),
        ("runtime: kata", "must be one of '', 'crun' or 'runc'"),
        ("workers: 2001-01-01", "only texts, numbers, lists and maps"),
        ("registries: &a [*a]", "only texts, numbers, lists and maps"),
        ("registries: [docker.io]", "registries: must be a map"),
        ("registries: {docker.io: x}", r'registries\["docker.io"\]: must be a map'),
        ("registries: {docker: {}}", "registries.docker: is no host of a registry"),
        ("registries: {'': {}}", "is no host of a registry"),
        ("registries: {docker.io: {mirors: []}}", r'registries\["docker.io"\].mirors: is not a field'),
        ("registries: {docker.io: {mirrors: m.local}}", "mirrors: must be a list"),
        ("registries: {docker.io: {mirrors: ['https://m.local']}}", r"mirrors\[0\]: is no host"),
        ("registries: {docker.io: {plainHttp: 'yes'}}", "plainHttp: must be true or false"),
        ("registries: {docker.io: {plainHttp: true, ca: /a}}", "ca: has no meaning with plainHttp"),
        ("registries: {docker.io: {insecure: true, ca: /a}}", "ca: has no meaning with insecure"),
        ("registries: {docker.io: {key: /a}}", "both certificate and key"),
        ("registries: {docker.io: {ca: a.pem}}", "ca: is not an absolute path"),
        ("credentials: a.json", "credentials: is not an absolute path"),
        ("addressPools: []", "addressPools: there are"),
        ("addressPools: [{pool: 10.0.0.1/8, size: 24}]", "the subnet is 10.0.0.0/8"),
        ("addressPools: [{pool: 10.0.0.0/8, size: 31}]", "size: is a prefix length from 8 to 30"),
        ("addressPools: [{pool: 10.0.0.0/8}]", r"addressPools\[0\].size: is missing"),
        (
            "addressPools: [{pool: 10.0.0.0/8, size: 24}, {pool: 10.9.0.0/16, size: 24}]",
            r"addressPools\[1\].pool: overlaps with 10.0.0.0/8",
        ),
    ],
)
def test_a_wrong_one_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(InvalidArgument, match=named) as caught:
        load(tmp_path, tmp_path, {}, {})
    assert "settings.yaml" in str(caught.value)


def test_registries_and_address_pools_come_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("""
registries:
  docker.io: {mirrors: ["mirror.local:5000", localhost]}
  mirror.local:5000: {ca: /etc/ca.pem, certificate: /etc/c.pem, key: /etc/k.pem}
  localhost: {plainHttp: true}
addressPools: [{pool: 10.192.0.0/12, size: 24}, {pool: "fd00:42::/48", size: 64}]
credentials: /etc/lading/credentials.json
""")
    found = load(tmp_path, tmp_path, {}, {})
    assert found.registries["docker.io"].mirrors == ("mirror.local:5000", "localhost")
    assert found.registries["mirror.local:5000"].ca == Path("/etc/ca.pem")
    assert found.registries["localhost"].plain_http
    assert [(pool.pool, pool.size) for pool in found.address_pools] == [("10.192.0.0/12", 24), ("fd00:42::/48", 64)]
    assert found.credentials_file == Path("/etc/lading/credentials.json")


def test_what_is_not_said_has_defaults(tmp_path: Path) -> None:
    found = load(tmp_path, tmp_path, {}, {})
    assert (found.registries, found.credentials_file) == ({}, tmp_path / "credentials.json")
    assert [(pool.pool, pool.size) for pool in found.address_pools] == [("10.192.0.0/12", 22), ("172.16.0.0/12", 22)]


@pytest.mark.parametrize(
    ("environment", "flags", "said"),
    [
        ({"LADING_WORKERS": "many"}, {}, "the environment: workers: must be a whole number"),
        ({"LADING_CREDENTIALS": "here"}, {}, "the environment: credentials: is not an absolute path"),
        ({}, {"resync_seconds": "0"}, "the command line: resyncSeconds: must be 1 or more"),
    ],
)
def test_a_wrong_one_is_named_with_where_it_is(
    tmp_path: Path, environment: dict[str, str], flags: dict[str, str], said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        load(tmp_path, tmp_path, environment, flags)


def test_the_sample_in_the_documents_is_right(tmp_path: Path) -> None:
    text = (CHECKOUT / "docs/commands.md").read_text().partition("## Settings")[2]
    sample = text.split("```")[1]
    (tmp_path / "settings.yaml").write_text(sample)
    found = load(tmp_path, tmp_path, {}, {})
    assert found.model_fields_set == set(Settings.model_fields)


def test_only_scalars_come_from_the_environment(tmp_path: Path) -> None:
    found = load(tmp_path, tmp_path, {"LADING_REGISTRIES": "x", "LADING_ROOT": "/x", "LADING_CREDENTIALS": "/c"}, {})
    assert (found.registries, found.root, found.credentials) == ({}, tmp_path, Path("/c"))


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("#" * 70_000)
    with pytest.raises(InvalidArgument, match="longer than"):
        load(tmp_path, tmp_path, {}, {})


def test_engines_on_other_roots_have_names_of_their_own() -> None:
    names = {Settings(root=Path(root)).instance for root in (DEFAULT_ROOT, "/srv/a", "/srv/b")}
    assert len(names) == 3
    assert Settings().instance == "lading"
