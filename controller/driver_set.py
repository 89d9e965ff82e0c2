"""The drivers of one engine: with controller.wiring, the only code that names concrete ones."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from controller.admission.host import Neighbours
from controller.admission.surroundings import Surroundings
from controller.settings import DOCKER_CREDENTIALS, Settings
from controller.store.allocations import Allocations
from controller.store.sqlite import SqliteStore
from drivers.copy.copier import TreeCopier
from drivers.images.registry.client import RegistryClient
from drivers.images.registry.credentials import DockerCredentials
from drivers.images.registry.interface import RegistryConfig
from drivers.images.store import ImageDriver
from drivers.kernel.process import in_group
from drivers.logs.file import FileLogs
from drivers.network.bridge.driver import BridgeNetworks
from drivers.network.bridge.link_names import bridge_name, link_prefix
from drivers.network.firewall.nft import NftFirewall
from drivers.network.interface import NetworkDriver
from drivers.network.ipam.host_routes import host_routes
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool, parsed_network
from drivers.network.names.client import ResolverClient
from drivers.network.ports.addresses import host_addresses, unbound_families
from drivers.network.ports.allocations import StoredHostPorts
from drivers.network.ports.listeners import HostListeners
from drivers.network.ports.published import PublishedPorts
from drivers.runtime.oci import OciRuntime
from drivers.snapshots.overlay import OverlaySnapshotter
from drivers.snapshots.rootfs import MountedRootFilesystems
from drivers.volumes.copyup import DescriptorCopyUp
from drivers.volumes.interface import VolumeDriver
from drivers.volumes.local import LocalVolumes
from drivers.volumes.tmpfs import TmpfsVolumes

Called = Callable[[str, str], str]
Subnets = Callable[[], Mapping[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Networking:
    drivers: Mapping[str, NetworkDriver]
    ipam: DefaultIpam
    host_ports: StoredHostPorts
    publisher: PublishedPorts
    firewall: NftFirewall
    resolver: ResolverClient
    surroundings: Surroundings


def _networking(settings: Settings, store: SqliteStore, called: Called, subnets: Subnets) -> Networking:
    instance, run_root = settings.instance, settings.run_root
    resolver = ResolverClient(run_root, instance)
    firewall = NftFirewall(instance, link_prefix(instance), keeper=resolver)
    allocations = Allocations(store)
    ipam = DefaultIpam(
        allocations,
        routes=host_routes,
        link=lambda network_id: bridge_name(instance, network_id),
        address_pools=[AddressPool(one.pool, one.size) for one in settings.address_pools],
        describe=called,
        desired=subnets,
    )
    listeners = HostListeners(resolver.pid)
    host_ports = StoredHostPorts(allocations, listeners, describe=called)
    return Networking(
        drivers={"bridge": BridgeNetworks(run_root, instance, firewall)},
        ipam=ipam,
        host_ports=host_ports,
        publisher=PublishedPorts(firewall, resolver.proxies, run_root / "publishing", whose=listeners.whose),
        firewall=firewall,
        resolver=resolver,
        surroundings=Surroundings(
            host_ports,
            ipam,
            lambda pid: in_group(pid, f"/{instance}"),
            host_addresses,
            unbound_families,
            lambda: _neighbours(link_prefix(instance)),
        ),
    )


def _neighbours(own: str) -> list[Neighbours]:
    """`own`: how the links of our own networks begin."""
    near = [route for route in host_routes() if route.on_link and not route.device.startswith(own)]
    return [Neighbours(parsed_network(route.destination), route.device) for route in near]


@dataclass(frozen=True, slots=True)
class DriverSet:
    runtime: OciRuntime
    snapshotter: OverlaySnapshotter
    roots: MountedRootFilesystems
    seeds: MountedRootFilesystems
    """Those that volumes are filled from."""
    credentials: DockerCredentials
    registries: RegistryClient
    images: ImageDriver
    net: Networking
    volumes: Mapping[str, VolumeDriver]
    anonymous: LocalVolumes
    copy_up: DescriptorCopyUp
    copier: TreeCopier
    logs: FileLogs


def driver_set(settings: Settings, store: SqliteStore, called: Called, subnets: Subnets) -> DriverSet:
    """`called`: how an object is named to users, by its uid, in what is said of the object of a second one; `subnets` that
    networks ask for."""
    root, run_root = settings.root, settings.run_root
    snapshotter = OverlaySnapshotter(root / "snapshots")
    credentials = DockerCredentials([settings.credentials_file, DOCKER_CREDENTIALS], environment=os.environ)
    registries = RegistryClient(_registries(settings), credentials, environment=os.environ)
    return DriverSet(
        runtime=OciRuntime(root, run_root, settings.instance, settings.runtime or None),
        snapshotter=snapshotter,
        roots=MountedRootFilesystems(run_root),
        seeds=MountedRootFilesystems(run_root / "seeds"),
        credentials=credentials,
        registries=registries,
        images=ImageDriver(root / "images", snapshotter, registries=registries),
        net=_networking(settings, store, called, subnets),
        volumes={"local": LocalVolumes(root, run_root), "tmpfs": TmpfsVolumes(root, run_root)},
        anonymous=LocalVolumes(root / "anonymous", run_root / "anonymous"),
        copy_up=DescriptorCopyUp(),
        copier=TreeCopier(),
        logs=FileLogs(root, run_root),
    )


def _registries(settings: Settings) -> dict[str, RegistryConfig]:
    return {host: RegistryConfig(**dict(registry)) for host, registry in settings.registries.items()}
