"""What the tests of pulls share: a driver of images in a folder, patience measured in tenths of a second."""

import base64
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.images.interface import Credentials, Image, Progress
from drivers.images.registry.client import RegistryClient
from drivers.images.registry.interface import CredentialStore, Patience, RegistryConfig
from drivers.images.store import ImageDriver
from drivers.snapshots.fake import FakeSnapshotter
from tests.fake_registry import FakeRegistry, digest_of

PLATFORM = "linux/amd64"
QUICK = Patience(connect=2, stall=0.5, minimum_rate=1000, attempts=4, first_delay=0.02, longest_delay=0.1, deadline=4)


class Kept(dict[str, Credentials]):
    """A credential store in memory."""

    def put(self, host: str, credentials: Credentials) -> None:
        self[host] = credentials

    def delete(self, host: str) -> bool:
        return self.pop(host, None) is not None

    def list(self) -> list[tuple[str, str]]:
        return sorted((host, credentials.username) for host, credentials in self.items())


class Puller:
    def __init__(
        self,
        base: Path,
        registries: Mapping[str, RegistryConfig] | None = None,
        credentials: CredentialStore | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        **patience: Any,
    ) -> None:
        self.base = base
        self.client = RegistryClient(
            registries, credentials, environment=environment, patience=replace(QUICK, **patience)
        )
        self.images = ImageDriver(base / "content", FakeSnapshotter(base / "snapshots"), registries=self.client)

    def pull(
        self,
        reference: str,
        *,
        platform: str = PLATFORM,
        credentials: Credentials | None = None,
        progress: Progress | None = None,
    ) -> Image:
        return self.images.pull(reference, platform=platform, credentials=credentials, progress=progress)

    def leftovers(self) -> list[str]:
        return sorted(os.listdir(self.base / "content" / "ingest") + os.listdir(self.base / "content" / "leases"))

    def partials(self) -> int:
        """Bytes of blobs that are not whole yet."""
        folder = self.base / "content" / "ingest"
        return sum((folder / name).stat().st_size for name in os.listdir(folder))

    def check_blobs(self) -> int:
        """Every blob is what its name says; return how many there are."""
        content = self.images.content()
        found = list(content.walk())
        for blob in found:
            assert digest_of(content.read(blob.digest, 1 << 32)) == blob.digest
        return len(found)


def secrets_of(credentials: Credentials) -> list[str]:
    pair = f"{credentials.username}:{credentials.password}".encode()
    values = [credentials.password, base64.b64encode(pair).decode(), credentials.identity_token]
    return [value for value in values if value]


def saw(registry: FakeRegistry, *words: str) -> bool:
    return any(word in request.text for request in registry.requests for word in words)
