"""What a manifest may not ask for though a model could hold it: the kernel's words, and what reaches out of a container.

The reconcilers refuse the same when they meet it; here it is said before anything is written, with its place.
"""

from collections.abc import Iterator

from manifests.networks import network_flaws
from manifests.normalize import Steps
from manifests.suggest import suggestion
from resources.container import ContainerSpec
from resources.kinds import Kind
from resources.linux import CAPABILITIES, ULIMITS, check_capability, check_sysctl, check_ulimit, in_kernel_tree
from resources.meta import Metadata
from resources.network import NetworkSpec
from resources.ports import MAX_PORTS

_DRIFT = ("heal", "report", "ignore")


def metadata_flaws(metadata: Metadata) -> Iterator[tuple[Steps, str]]:
    """The keys `lading/…` are ours; one we do not know is a mistake."""
    for field, entries in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        for key, value in entries.items():
            if not key.startswith("lading/"):
                continue
            if field == "labels" or key != "lading/drift":
                yield (
                    ("metadata", field, key),
                    f"keys that begin with lading/ are the engine's{suggestion(key, ['lading/drift'])}",
                )
            elif value not in _DRIFT:
                yield ("metadata", field, key), f"must be heal, report or ignore{suggestion(value, _DRIFT)}"


def spec_flaws(kind: Kind, spec: object) -> Iterator[tuple[Steps, str]]:
    """Of the part of a spec that is right, with the way below it."""
    if kind is Kind.CONTAINER and isinstance(spec, ContainerSpec):
        yield from _capabilities(spec)
        yield from _names(spec)
        yield from _mounts(spec)
        yield from _ports(spec)
    elif kind is Kind.NETWORK and isinstance(spec, NetworkSpec):
        yield from network_flaws(spec)


def _capabilities(spec: ContainerSpec) -> Iterator[tuple[Steps, str]]:
    for field in ("add", "drop"):
        for number, word in enumerate(getattr(spec.security.capabilities, field)):
            try:
                check_capability(word)
            except ValueError as error:
                guess = suggestion(word.upper().removeprefix("CAP_"), CAPABILITIES)
                yield ("security", "capabilities", field, number), f"{error}{guess}"


def _names(spec: ContainerSpec) -> Iterator[tuple[Steps, str]]:
    for name in spec.ulimits:
        try:
            check_ulimit(name)
        except ValueError as error:
            yield ("ulimits", name), f"{error}{suggestion(name, ULIMITS)}"
    own_network = not any(network.name == "host" for network in spec.networks)
    for name, value in spec.security.sysctls.items():
        steps: Steps = ("security", "sysctls", name)
        try:
            check_sysctl(name, value)
        except ValueError as error:
            yield steps, str(error)
            continue
        if name.startswith("net.") and not own_network:
            yield steps, "is the host's: the container is on the host's network"


def _ports(spec: ContainerSpec) -> Iterator[tuple[Steps, str]]:
    if len(spec.ports) > MAX_PORTS:
        what = f"a container publishes at most {MAX_PORTS} ports, and these are {len(spec.ports)}"
        yield ("ports", MAX_PORTS), f"{what}: one that needs more has all of the host's with networks: [host]"


def _mounts(spec: ContainerSpec) -> Iterator[tuple[Steps, str]]:
    for number, mount in enumerate(spec.mounts):
        if in_kernel_tree(mount.target):
            yield ("mounts", number, "target"), "lies in a kernel file system (/proc, /sys, /dev)"
        if mount.bind is not None and (mount.bind == "/" or in_kernel_tree(mount.bind)):
            what = f"{mount.bind} of the host inside a container is not supported by this version"
            yield ("mounts", number, "bind"), f"{what}: bind the folder that is needed"
    if spec.working_dir is not None and in_kernel_tree(spec.working_dir):
        yield ("workingDir",), "lies in a kernel file system (/proc, /sys, /dev)"
