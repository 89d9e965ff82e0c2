"""The system call filter: what is let in for whom, and that both runtimes answer alike."""

import json
from pathlib import Path
from typing import Any

import pytest

import drivers.runtime.seccomp as module
from drivers.runtime.seccomp import resolve, seccomp, with_unknown_calls_absent
from resources.errors import InvalidArgument, Unsupported


def allowed(profile: dict[str, Any], name: str, *arguments: int) -> bool:
    """As the kernel would decide: any rule that matches, else the default."""
    for rule in profile["syscalls"]:
        if name in rule["names"] and all(matches(a, arguments) for a in rule.get("args", [])):
            return bool(rule["action"] == "SCMP_ACT_ALLOW")
    return bool(profile["defaultAction"] == "SCMP_ACT_ALLOW")


def matches(argument: dict[str, Any], values: tuple[int, ...]) -> bool:
    value, wanted = values[argument["index"]], argument["value"]
    return bool(
        {
            "SCMP_CMP_EQ": value == wanted,
            "SCMP_CMP_LT": value < wanted,
            "SCMP_CMP_GT": value > wanted,
            "SCMP_CMP_MASKED_EQ": value & wanted == argument.get("valueTwo", 0),
        }[argument["op"]]
    )


DENIED = (
    "mount umount2 setns unshare bpf perf_event_open keyctl add_key request_key userfaultfd kexec_load init_module "
    "finit_module delete_module io_uring_setup io_uring_enter reboot swapon swapoff acct settimeofday open_by_handle_at "
    "process_vm_readv pidfd_getfd kcmp mbind iopl ioperm syslog fsopen fsmount move_mount open_tree mount_setattr nfsservctl"
)
ALLOWED = (
    "read write openat clone3_is_absent execve futex mseal statmount cachestat fchmodat2 futex_wait pkey_alloc epoll_wait "
    "accept4 getrandom chown setuid clock_gettime rseq landlock_create_ruleset"
)


@pytest.mark.parametrize("name", DENIED.split())
def test_denied_without_capabilities(name: str) -> None:
    assert not allowed(seccomp("baseline", ()), name, 0, 0)


@pytest.mark.parametrize("name", [n for n in ALLOWED.split() if n != "clone3_is_absent"])
def test_allowed_without_capabilities(name: str) -> None:
    assert allowed(seccomp("baseline", ()), name, 0, 0)


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("SYS_ADMIN", "mount"), ("CAP_SYS_ADMIN", "setns"), ("SYS_ADMIN", "clone3"), ("BPF", "bpf"),
        ("PERFMON", "perf_event_open"),
        ("SYSLOG", "syslog"), ("SYS_BOOT", "reboot"), ("SYS_CHROOT", "chroot"), ("SYS_PTRACE", "kcmp"), ("SYS_NICE", "mbind"),
        ("DAC_READ_SEARCH", "open_by_handle_at"), ("SYS_TIME", "settimeofday"), ("SYS_RAWIO", "iopl"),
        ("SYS_MODULE", "init_module"), ("SYS_PACCT", "acct"), ("SYS_TTY_CONFIG", "vhangup"),
    ],
)  # fmt: skip
def test_gated_by_a_capability(capability: str, name: str) -> None:
    assert not allowed(seccomp("baseline", ("CHOWN",)), name, 0, 0)
    assert allowed(seccomp("baseline", ("CHOWN", capability)), name, 0, 0)


@pytest.mark.parametrize("name", ["keyctl", "add_key", "request_key", "userfaultfd", "kexec_load", "io_uring_setup"])
def test_never_whatever_the_capabilities(name: str) -> None:
    assert not allowed(seccomp("compat", ("SYS_ADMIN", "SYS_BOOT", "SYS_PTRACE", "SYS_RAWIO")), name, 0, 0)


@pytest.mark.parametrize(("family", "answer"), [(1, True), (2, True), (10, True), (16, True), (38, False), (39, True)])
def test_address_families(family: int, answer: bool) -> None:
    assert allowed(seccomp("baseline", ()), "socket", family) is answer
    assert not allowed(seccomp("baseline", ()), "socket", 40)
    assert allowed(seccomp("baseline", ()), "socket", 41)


def test_clone_without_new_namespaces() -> None:
    profile = seccomp("baseline", ())
    assert allowed(profile, "clone", 0x01200011)
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert not allowed(profile, "clone", 0x11 | flag)
        assert not allowed(with_unknown_calls_absent(profile), "clone", 0x11 | flag)
    assert allowed(seccomp("baseline", ("SYS_ADMIN",)), "clone", 0x10000011)
    clone3 = [r for r in profile["syscalls"] if "clone3" in r["names"]]
    assert [r["errnoRet"] for r in clone3] == [38]


def test_architectures() -> None:
    assert seccomp("baseline", (), "x86_64")["architectures"] == ["SCMP_ARCH_X86_64"]
    assert seccomp("compat", (), "x86_64")["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert allowed(seccomp("baseline", (), "x86_64"), "arch_prctl")
    assert not allowed(seccomp("baseline", (), "aarch64"), "arch_prctl")
    with pytest.raises(Unsupported):
        seccomp("baseline", (), "vax")
    with pytest.raises(InvalidArgument):
        seccomp("none", ())


@pytest.mark.parametrize("caps", [(), ("SYS_ADMIN",), ("SYS_ADMIN", "SYS_PTRACE", "BPF", "SYS_BOOT", "SYSLOG")])
def test_unknown_calls_are_absent_and_known_ones_refused(caps: tuple[str, ...]) -> None:
    before = seccomp("baseline", caps)
    after = with_unknown_calls_absent(before)
    assert after["defaultErrnoRet"] == 38
    assert before["defaultErrnoRet"] == 1
    for name in (*DENIED.split(), *ALLOWED.split()):
        assert allowed(before, name, 0, 0) == allowed(after, name, 0, 0), name
    refused = {n for r in after["syscalls"] if r.get("errnoRet") == 1 for n in r["names"]}
    unconditional = {
        n for r in after["syscalls"] if r["action"] == "SCMP_ACT_ALLOW" and not r.get("args") for n in r["names"]
    }
    assert not refused & unconditional
    assert {"keyctl", "io_uring_setup"} <= refused
    assert ("mount" in refused) == ("SYS_ADMIN" not in caps)
    assert "a_call_of_the_future" not in refused


def test_no_name_is_ruled_twice_without_arguments() -> None:
    for caps in ((), ("SYS_ADMIN", "BPF", "SYSLOG", "SYS_PTRACE", "PERFMON")):
        names = [n for r in seccomp("compat", caps)["syscalls"] if not r.get("args") for n in r["names"]]
        assert len(names) == len(set(names))


def test_a_profile_of_the_user() -> None:
    document = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "chmod", "action": "SCMP_ACT_ERRNO"}]}
    assert resolve(document, ())["syscalls"] == [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]
    assert with_unknown_calls_absent(resolve(document, ())) == resolve(document, ())
    for bad in ({}, {"syscalls": [1], "defaultAction": "x"}, {"defaultAction": "x", "syscalls": [{"names": ["a"]}]}):
        with pytest.raises(InvalidArgument):
            resolve(bad, ())


def test_the_origin_of_the_profile_is_named() -> None:
    text = Path(module.__file__).with_name("seccomp_baseline.json").read_text()
    assert "Apache-2.0" in json.loads(text)["origin"]
