"""What follows from the facts of a host, and what `doctor` says and does about it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.cli.verbs.doctor import diagnose
from drivers.host.fake import FakeHost, good_facts
from drivers.host.findings import findings, kernel_version
from drivers.host.interface import CgroupFacts, Facts, Finding, Level, RuntimeFacts, SpaceFacts, Tool


def found(**changes: Any) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings(replace(good_facts(), **changes))}


def without(*names: str) -> Any:
    tools = good_facts().tools
    return {"tools": {name: Tool(name) if name in names else tool for name, tool in tools.items()}}


def test_a_good_host_lacks_nothing() -> None:
    assert {finding.level for finding in findings(good_facts())} == {Level.OK}


def test_what_is_not_ok_says_why_and_how_to_mend_it() -> None:
    bad = Facts(
        root_user=False,
        kernel="4.19.0",
        architecture="x86_64",
        cgroup=CgroupFacts(""),
        runtime=RuntimeFacts(reason="crun is not installed"),
        tools={name: Tool(name) for name in good_facts().tools},
        namespaces=frozenset({"mnt"}),
        overlay_error="no overlay",
        overlay_by_layer=False,
        space=SpaceFacts("/var/lib", 1 << 20, 100 << 30, 10, 6_000_000),
        open_files=1024,
        seccomp=False,
        apparmor=False,
        user_namespaces=0,
        run_file_system="ext4",
        clock_behind=1e8,
        group=None,
        network_errors=dict.fromkeys(("links", "firewall", "conntrack", "forwarding"), "not here"),
        obstacles=("the chain `x` drops what is forwarded: let it accept",),
    )
    wrong = [finding for finding in findings(bad) if finding.level is not Level.OK]
    assert len(wrong) >= 15
    assert [finding.check for finding in wrong if not (finding.what and finding.why and finding.fix)] == []


@pytest.mark.parametrize(
    ("changes", "check", "level", "word"),
    [
        ({"kernel": "5.4.0-generic"}, "kernel", Level.MISSING, "5.9"),
        ({"kernel": "6.1.0-28-amd64"}, "kernel", Level.OK, "unknown"),
        ({"cgroup": CgroupFacts("")}, "cgroup", Level.MISSING, "cgroup2"),
        ({"cgroup": CgroupFacts("v2", frozenset({"cpu", "pids", "cpuset", "io"}))}, "cgroup", Level.MISSING, "memory"),
        ({"cgroup": CgroupFacts("v2", frozenset({"cpu", "pids", "memory"}))}, "cgroup", Level.WARNING, "cpuset io"),
        (without("conmon"), "conmon", Level.MISSING, "install conmon"),
        (without("nft"), "nft", Level.WARNING, "install nftables"),
        (without("tini-static"), "tini-static", Level.WARNING, "init: true"),
        ({"namespaces": frozenset({"mnt", "pid", "net", "ipc", "uts"})}, "namespaces", Level.MISSING, "cgroup"),
        ({"user_namespaces": 0}, "user-namespaces", Level.WARNING, "sysctl"),
        ({"seccomp": False}, "seccomp", Level.MISSING, "profile"),
        ({"overlay_error": "no overlay: wrong fs"}, "overlay", Level.MISSING, "wrong fs"),
        ({"overlay_by_layer": False}, "overlay", Level.OK, "one page"),
        ({"space": SpaceFacts("/", 1 << 30, 100 << 30, 10**6, 10**6)}, "disk", Level.WARNING, "1.0 of 100.0 GiB"),
        ({"space": SpaceFacts("/", 1 << 20, 100 << 30, 10**6, 10**6)}, "disk", Level.MISSING, "0.0 of 100.0 GiB"),
        ({"space": SpaceFacts("/", 50 << 30, 100 << 30, 10**3, 10**7)}, "inodes", Level.WARNING, "1000 of"),
        ({"open_files": 1024}, "open-files", Level.WARNING, "LimitNOFILE"),
        ({"run_file_system": "ext4"}, "run-root", Level.OK, "the engine mounts a tmpfs"),
        ({"clock_behind": 10 * 86400.0}, "clock", Level.WARNING, "10 days"),
        ({"group": None}, "group", Level.WARNING, "groupadd"),
        ({"group": "ann"}, "group", Level.OK, "ann"),
        ({"network_errors": {"links": "no"}}, "links", Level.WARNING, "bridge and veth"),
        ({"network_errors": {"firewall": "no"}}, "nftables", Level.WARNING, "nf_tables"),
        ({"network_errors": {"conntrack": "no"}}, "conntrack", Level.WARNING, "nf_conntrack_netlink"),
        ({"network_errors": {"forwarding": "no"}}, "forwarding", Level.WARNING, "ip_forward"),
        ({"obstacles": ("ufw drops it: `ufw route allow`",)}, "firewall", Level.WARNING, "`ufw route allow`"),
        ({"root_user": False}, "user", Level.MISSING, "sudo"),
    ],
)
def test_each_lack_is_named(changes: dict[str, Any], check: str, level: Level, word: str) -> None:
    finding = found(**changes)[check]
    assert finding.level is level
    assert word in f"{finding.what} {finding.why} {finding.fix}"


def test_a_file_system_that_counts_no_inodes_is_not_short_of_them() -> None:
    assert "inodes" not in found(space=SpaceFacts("/", 50 << 30, 100 << 30, 0, 0))


def test_without_any_runtime_it_says_what_each_said() -> None:
    finding = found(runtime=RuntimeFacts(reason="crun 1.8.1: cgroups in hybrid mode not supported"))["runtime"]
    assert finding.level is Level.MISSING
    assert "hybrid" in finding.what
    assert finding.package == ""
    assert found(runtime=RuntimeFacts(reason="x"), **without("crun"))["runtime"].package == "crun"


def test_known_holes_are_told_each_with_its_guard() -> None:
    runtime = RuntimeFacts("runc", "1.1.5", "crun 1.8.1: said no", ("CVE-1: guarded so", "CVE-2: guarded otherwise"))
    all_found = findings(replace(good_facts(), runtime=runtime))
    assert [f.what for f in all_found if f.check == "runtime-holes"] == [
        "runc 1.1.5: CVE-1: guarded so",
        "runc 1.1.5: CVE-2: guarded otherwise",
    ]
    assert "crun 1.8.1: said no" in next(f for f in all_found if f.check == "runtime").why


def test_what_networks_need_and_is_there_is_one_line() -> None:
    assert found()["networks"].level is Level.OK
    assert "networks" not in found(network_errors={"links": "no"})
    assert "networks" not in found(root_user=False), "it was not tried"
    assert "cannot hold its table" in found(kernel="6.8.12-amd64")["networks"].why
    assert found(kernel="6.9.0")["networks"].why == ""


def test_a_hybrid_host_where_crun_refuses_says_what_to_mount() -> None:
    cgroup = CgroupFacts(
        "hybrid", frozenset({"cpu", "cpuset", "memory", "pids", "devices", "freezer", "blkio"}), ("hugetlb",)
    )
    with_runc = found(cgroup=cgroup, runtime=RuntimeFacts("runc", "1.4.3", "crun refused"))
    assert "mount -t cgroup -o hugetlb" in with_runc["cgroup-hybrid"].fix
    assert "cgroup-hybrid" not in found(cgroup=cgroup)


@pytest.mark.parametrize(("text", "version"), [("6.18.44-fc", (6, 18)), ("6.1", (6, 1)), ("strange", (0, 0))])
def test_kernel_versions(text: str, version: tuple[int, int]) -> None:
    assert kernel_version(text) == version


def test_doctor_tells_and_ends_with_one_while_something_is_missing() -> None:
    said: list[str] = []
    assert diagnose(FakeHost(), said.append) == 0
    assert "all that lading needs" in said[-1]
    assert diagnose(FakeHost(**without("tini-static")), said.append) == 0
    assert "0 missing, 1 warning." in said[-1]
    assert diagnose(FakeHost(**without("conmon")), said.append) == 1
    assert "MISSING  conmon: conmon is not installed" in said[-1]
    assert "lading doctor --fix" in said[-1]


def test_doctor_installs_what_is_missing_and_says_so() -> None:
    said: list[str] = []
    host = FakeHost(**without("conmon", "nft"))
    assert diagnose(host, said.append, fix=True, form="json") == 0
    document = json.loads(said[-1])
    assert document["steps"] == ["apt-get install conmon", "apt-get install nftables"]
    assert {finding["level"] for finding in document["findings"]} == {"ok"}
    assert host.facts().tools["conmon"].path == Path("/usr/bin/conmon")


def test_a_runtime_that_is_installed_is_used_at_once() -> None:
    host = FakeHost(runtime=RuntimeFacts(reason="crun is not installed"), **without("crun"))
    said: list[str] = []
    assert diagnose(host, said.append) == 1
    assert diagnose(host, said.append, fix=True) == 0
    assert "did: apt-get install crun" in said[-1]
