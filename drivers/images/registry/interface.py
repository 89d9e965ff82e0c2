"""The contracts around registries: how each is reached, and where what users log in with is kept.

What a registry says is hostile (threats.md §2.3): who is asked, with which credentials and over what, is decided from
the configuration alone. `drivers.images.registry.client.RegistryClient` is made of these::

    client = RegistryClient(
        {"registry.local:5000": RegistryConfig(ca=Path("/etc/lading/registry.pem"))},
        DockerCredentials([root / "registry-auth.json"]),
        environment=os.environ,  # HTTPS_PROXY, HTTP_PROXY, NO_PROXY
    )
    images = ImageDriver(root / "images", snapshotter, registries=client)
    client.check("registry.local:5000", Credentials("me", "secret"))  # `lading login`
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drivers.images.interface import Credentials


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """How one registry (`host` or `host:port`, as references name it) is reached.

    Without any of this: over TLS of at least 1.2 with a certificate that the system's authorities vouch for. A registry
    at a loopback address (127.0.0.0/8, ::1, exactly `localhost`) that does not speak TLS is spoken to without, as
    Docker does; its certificate, where it has one, must hold nevertheless.
    """

    mirrors: tuple[str, ...] = ()
    """Registries (`host` or `host:port`) asked before this one, in order, for the same repositories. How they are
    reached is theirs to be configured, and they only ever see credentials of their own."""
    plain_http: bool = False
    insecure: bool = False
    """Whatever certificate it shows is taken."""
    ca: Path | None = None
    """PEM file of authorities to trust beside the system's."""
    certificate: Path | None = None
    """PEM file of our own certificate (and what is between it and its authority), for registries that ask for one."""
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a registry is waited for, in seconds."""

    connect: float = 10.0
    stall: float = 30.0
    """Without a byte; also how long each `minimum_rate` is measured for."""
    minimum_rate: int = 1024
    """Bytes a second of a body, below which it is as good as stalled."""
    attempts: int = 5
    """How often the same is asked for before it is an error; what brings a blob further counts anew."""
    first_delay: float = 0.5
    """Between attempts: doubled each time, up to `longest_delay`, with jitter."""
    longest_delay: float = 15.0
    deadline: float = 120.0
    """How long all delays of one request may be together, those the registry asks for (Retry-After) among them: more
    than that is an error that says until when it asks to wait."""


class CredentialStore(Protocol):
    """What users log in with, by registry as references name it: `docker.io`, `registry.local:5000`."""

    def get(self, host: str) -> Credentials | None:
        """Raises: Unavailable (a credential helper that does not answer), DataLoss (a file that cannot be read)."""

    def put(self, host: str, credentials: Credentials) -> None:
        """Raises: as get; InvalidArgument for a malformed host."""

    def delete(self, host: str) -> bool:
        """Tell whether there were any. Raises: as get."""

    def list(self) -> Sequence[tuple[str, str]]:
        """Every registry there are credentials for, with the user's name, sorted. Raises: as get."""
