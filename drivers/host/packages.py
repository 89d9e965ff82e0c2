"""Installs what findings name: packages by apt, and the group. No word of a user is in any command line."""

import os
import subprocess
from collections.abc import Sequence

from drivers.host.interface import Finding, Installed
from drivers.runtime.choice import find

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C", "DEBIAN_FRONTEND": "noninteractive"}
_QUIETLY = ("-qq", "-o", "DPkg::Lock::Timeout=300")


def install(findings: Sequence[Finding]) -> Installed:
    steps: list[str] = []
    problems: list[str] = []
    if os.geteuid() != 0:
        return Installed(problems=("only root can install anything: sudo lading doctor --fix",))
    packages = tuple(dict.fromkeys(f.package for f in findings if f.package))
    if packages:
        _install_packages(packages, findings, steps, problems)
    for finding in findings:
        if finding.check == "group" and finding.fix:
            words = finding.fix.split()
            said = _run(words)
            if said is None:
                steps.append(finding.fix)
            else:
                problems.append(f"{finding.fix}: {said}")
    return Installed(tuple(steps), tuple(problems))


def _install_packages(
    packages: tuple[str, ...], findings: Sequence[Finding], steps: list[str], problems: list[str]
) -> None:
    apt = find("apt-get")
    if apt is None:
        lines = [f"  {f.check}: {f.why} (Debian's package: {f.package})" for f in findings if f.package]
        problems.append("this machine has no apt-get; install these with its own package tool:\n" + "\n".join(lines))
        return
    words = [str(apt), *_QUIETLY, "install", "-y", "--no-install-recommends", *packages]
    said = _run(words)
    if said is not None:
        # Fresh lists only when the ones at hand do not do: the second try decides.
        refreshed = _run([str(apt), *_QUIETLY, "update"])
        steps.append("apt-get update" + (f": {refreshed}" if refreshed else ""))
        said = _run(words)
    if said is None:
        steps.append(f"apt-get install {' '.join(packages)}")
    else:
        problems.append(f"apt-get install {' '.join(packages)}: {said}")


def _run(words: list[str]) -> str | None:
    """None when it worked, else the end of what was said."""
    try:
        answer = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=_ENVIRONMENT,
            timeout=900,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if answer.returncode == 0 else " ".join((answer.stderr or answer.stdout).split())[-400:] or "it failed"
