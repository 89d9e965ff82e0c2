"""System call filters: a profile in Docker's form, resolved for a set of capabilities and an architecture.

`seccomp_baseline.json` is ours; script/derive-seccomp says what it is made from and what is changed, and why. The
same code reads a profile of the user's.
"""

import json
import os
import platform
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from resources.errors import InvalidArgument, Unsupported

_BASELINE = Path(__file__).with_name("seccomp_baseline.json")
_EPERM, _ENOSYS = 1, 38
_ALLOW, _ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
_ARCHITECTURES = {
    # uname -m: (libseccomp's name, the name in `arches`)
    "x86_64": ("SCMP_ARCH_X86_64", "amd64"),
    "aarch64": ("SCMP_ARCH_AARCH64", "arm64"),
    "s390x": ("SCMP_ARCH_S390X", "s390x"),
    "ppc64le": ("SCMP_ARCH_PPC64LE", "ppc64le"),
    "riscv64": ("SCMP_ARCH_RISCV64", "riscv64"),
}


def seccomp(profile: str, capabilities: Collection[str], machine: str | None = None) -> dict[str, Any]:
    """`linux.seccomp` of the OCI spec for a security profile: `baseline`, `restricted` or `compat`.

    `capabilities` are those of the bounding set, `CAP_` in front or not: a call that needs one the process cannot have
    is refused.
    `compat` also lets 32-bit calls in, where seccomp cannot see the family of a socket; the others do not.

    Raises: Unsupported for an architecture without a profile: nothing ever runs unconfined by accident.
    """
    if profile not in ("baseline", "restricted", "compat"):
        raise InvalidArgument(f"{profile!r} is no security profile", hint="baseline, restricted or compat")
    return resolve(_baseline(), capabilities, machine, foreign=profile == "compat")


def resolve(
    document: Mapping[str, Any], capabilities: Collection[str], machine: str | None = None, *, foreign: bool = True
) -> dict[str, Any]:
    """Resolve a profile in Docker's form (`includes`, `excludes`, `archMap`) to the OCI spec's.

    Raises: InvalidArgument for a document that is no profile; Unsupported for the architecture.
    """
    name = machine or platform.machine()
    if name not in _ARCHITECTURES:
        raise Unsupported(f"there is no seccomp profile for the architecture {name}", hint="set seccomp: unconfined")
    native, short = _ARCHITECTURES[name]
    caps = {c if c.startswith("CAP_") else f"CAP_{c}" for c in capabilities}
    try:
        rules = [_rule(r) for r in document["syscalls"] if _applies(r, caps, short)]
        maps = document.get("archMap") or ()
        subs = next((m["subArchitectures"] for m in maps if m["architecture"] == native), ()) if foreign else ()
        found: dict[str, Any] = {
            "defaultAction": document["defaultAction"],
            "architectures": [native, *subs] if maps else list(document.get("architectures") or [native]),
            "syscalls": _once(rules),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArgument(f"the seccomp profile is malformed: {error}") from error
    if "defaultErrnoRet" in document:
        found["defaultErrnoRet"] = document["defaultErrnoRet"]
    return found


def with_unknown_calls_absent(profile: Mapping[str, Any]) -> dict[str, Any]:
    """The profile for a runtime that answers unlisted calls with the default errno: ENOSYS for those, EPERM by name.

    C libraries take EPERM from a call newer than the profile for a final answer, and ENOSYS for a reason to use the
    older one.
    """
    if profile.get("defaultAction") != _ERRNO or profile.get("defaultErrnoRet", _EPERM) != _EPERM:
        return dict(profile)
    baseline = _baseline()
    rules = list(profile.get("syscalls") or ())
    ruled = {name for rule in rules for name in rule["names"]}
    conditional = {name for rule in rules if rule.get("args") for name in rule["names"]}
    refused = [name for name in baseline["refused"] if name not in ruled]
    extra = [{"names": refused, "action": _ERRNO, "errnoRet": _EPERM}]
    for rule in baseline["refusedArguments"]:
        names = [name for name in rule["names"] if name in conditional]
        if names and not _covered(rules, names[0]):
            extra.append({"names": names, "action": _ERRNO, "errnoRet": _EPERM, "args": rule["args"]})
    return {**profile, "defaultErrnoRet": _ENOSYS, "syscalls": [*rules, *extra]}


def _covered(rules: Collection[Mapping[str, Any]], name: str) -> bool:
    """Whether a call is allowed with any arguments, so that a refusal by argument would contradict it."""
    return any(name in r["names"] and not r.get("args") and r["action"] == _ALLOW for r in rules)


@cache
def _baseline() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(_BASELINE.read_text())
    return loaded


def _applies(rule: Mapping[str, Any], caps: Collection[str], architecture: str) -> bool:
    wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
    if wanted.get("caps") and not all(c in caps for c in wanted["caps"]):
        return False
    if wanted.get("arches") and architecture not in wanted["arches"]:
        return False
    if wanted.get("minKernel") and _kernel() < _version(wanted["minKernel"]):
        return False
    if any(c in caps for c in unwanted.get("caps") or ()):
        return False
    return architecture not in (unwanted.get("arches") or ())


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    names = rule.get("names") or [rule["name"]]
    found: dict[str, Any] = {"names": list(names), "action": str(rule["action"])}
    if rule.get("args"):
        found["args"] = [dict(a) for a in rule["args"]]
    if rule.get("errnoRet") is not None:
        found["errnoRet"] = int(rule["errnoRet"])
    return found


def _once(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop from later rules what an earlier one allows with any arguments: libseccomp refuses doubles."""
    free: set[str] = set()
    found = []
    for rule in sorted(rules, key=lambda r: bool(r.get("args"))):
        names = [n for n in dict.fromkeys(rule["names"]) if n not in free]
        if rule["action"] == _ALLOW and not rule.get("args"):
            free.update(names)
        if names:
            found.append({**rule, "names": names})
    return found


def _kernel() -> tuple[int, int]:
    return _version(os.uname().release)


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = "".join(c for c in rest.split(".")[0].split("-")[0] if c.isdigit())
    return int(major), int(minor or 0)
