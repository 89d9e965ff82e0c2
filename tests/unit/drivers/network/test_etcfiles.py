"""The three files as programs in a container read them."""

from pathlib import Path

import pytest

from drivers.network.interface import SandboxFiles
from drivers.network.sandbox.etcfiles import HostFiles, contents


@pytest.fixture
def host(tmp_path: Path) -> HostFiles:
    files = HostFiles(tmp_path / "hosts", tmp_path / "resolv.conf", tmp_path / "resolved.conf")
    files.hosts.write_text("127.0.0.1 localhost\n10.1.1.1 registry.local")
    files.resolv_conf.write_text(
        "# ours\nnameserver 127.0.0.1\nnameserver 10.9.9.9\nsearch corp.example\noptions ndots:1\n"
    )
    return files


def text(files: SandboxFiles, host: HostFiles, name: str) -> str:
    return contents(files, host)[name].decode()


def test_a_private_sandbox_knows_loopback_and_its_own_name(host: HostFiles) -> None:
    lines = text(SandboxFiles("web"), host, "hosts").splitlines()
    assert "127.0.0.1\tlocalhost" in lines
    assert "127.0.0.1\tweb" in lines
    assert not any("registry.local" in line for line in lines)
    assert text(SandboxFiles("web"), host, "hostname") == "web\n"


def test_a_sandbox_with_addresses_is_found_at_them_by_its_name(host: HostFiles) -> None:
    said = text(SandboxFiles("web", ("10.42.0.5", "fd00:42:0::5"), {"db": "10.42.0.6"}), host, "hosts")
    assert said.endswith("\n10.42.0.5\tweb\nfd00:42::5\tweb\n10.42.0.6\tdb\n")
    assert "127.0.0.1\tweb" not in said
    assert "127.0.0.1\tlocalhost\n" in said


def test_on_the_host_network_the_hosts_own_addresses_hold(host: HostFiles) -> None:
    alone = contents(SandboxFiles("web", host_network=True), host)
    assert contents(SandboxFiles("web", ("10.42.0.5",), host_network=True), host) == alone


def test_the_host_network_has_the_hosts_own_names_and_the_extra_ones(host: HostFiles) -> None:
    said = text(SandboxFiles("web", extra_hosts={"db": "10.0.0.2"}, host_network=True), host, "hosts")
    assert said == "127.0.0.1 localhost\n10.1.1.1 registry.local\n10.0.0.2\tdb\n"


def test_the_host_network_has_the_hosts_resolver_byte_for_byte(host: HostFiles) -> None:
    said = contents(SandboxFiles("web", host_network=True), host)["resolv.conf"]
    assert said == host.resolv_conf.read_bytes()


def test_a_private_sandbox_is_not_sent_to_a_resolver_on_the_hosts_loopback(host: HostFiles) -> None:
    assert text(SandboxFiles("web"), host, "resolv.conf") == (
        "nameserver 10.9.9.9\nsearch corp.example\noptions ndots:1\n"
    )


def test_behind_systemd_resolved_the_servers_are_those_it_asks(host: HostFiles) -> None:
    host.resolv_conf.write_text("nameserver 127.0.0.53\noptions edns0 trust-ad\n")
    host.resolved.write_text("nameserver 10.7.7.7\n")
    assert text(SandboxFiles("web"), host, "resolv.conf") == "nameserver 10.7.7.7\noptions edns0 trust-ad\n"
    assert "127.0.0.53" in text(SandboxFiles("web", host_network=True), host, "resolv.conf")


def test_what_is_said_replaces_what_the_host_says_part_by_part(host: HostFiles) -> None:
    said = text(SandboxFiles("web", nameservers=("10.0.0.1", "fd00::1")), host, "resolv.conf")
    assert said == "nameserver 10.0.0.1\nnameserver fd00::1\nsearch corp.example\noptions ndots:1\n"
    said = text(
        SandboxFiles("web", nameservers=(), search=(), options=("use-vc",), host_network=True), host, "resolv.conf"
    )
    assert said == "options use-vc\n"


def test_a_host_without_files_is_no_error(tmp_path: Path) -> None:
    nothing = HostFiles(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert text(SandboxFiles("web"), nothing, "resolv.conf") == ""
    assert "localhost" in text(SandboxFiles("web", host_network=True), nothing, "hosts")
