"""A host in memory: an up-to-date one unless told otherwise; installing a package gives it the tool."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.host.interface import CgroupFacts, Facts, Finding, Installed, RuntimeFacts, SpaceFacts, Tool

_TOOLS = {"crun": "1.28", "runc": "1.4.3", "conmon": "2.1.12", "nft": "1.1.0", "ip": "6.10", "tini-static": "0.19.0"}
_OF_PACKAGE = {"nftables": "nft", "iproute2": "ip", "tini": "tini-static"}


def good_facts() -> Facts:
    return Facts(
        root_user=True,
        kernel="6.18.1-amd64",
        architecture="x86_64",
        cgroup=CgroupFacts("v2", frozenset({"cpu", "cpuset", "memory", "pids", "io", "hugetlb"})),
        runtime=RuntimeFacts("crun", "1.28", "preferred"),
        tools={name: Tool(name, Path("/usr/bin") / name, version) for name, version in _TOOLS.items()},
        namespaces=frozenset({"mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"}),
        overlay_error="",
        overlay_by_layer=True,
        space=SpaceFacts("/var/lib", 80 << 30, 100 << 30, 5_000_000, 6_000_000),
        open_files=1 << 20,
        seccomp=True,
        apparmor=True,
        user_namespaces=15000,
        run_file_system="tmpfs",
        clock_behind=0.0,
        group="",
    )


class FakeHost:
    def __init__(self, **changes: Any) -> None:
        self._facts = replace(good_facts(), **changes)

    def facts(self) -> Facts:
        return self._facts

    def install(self, findings: Sequence[Finding]) -> Installed:
        steps = []
        tools = dict(self._facts.tools)
        for package in dict.fromkeys(f.package for f in findings if f.package):
            name = _OF_PACKAGE.get(package, package)
            tools[name] = Tool(name, Path("/usr/bin") / name, _TOOLS[name])
            steps.append(f"apt-get install {package}")
        runtime = self._facts.runtime
        if not runtime.name and tools["crun"].path is not None:
            runtime = RuntimeFacts("crun", tools["crun"].version, "preferred")
        self._facts = replace(self._facts, tools=tools, runtime=runtime)
        return Installed(tuple(steps))
