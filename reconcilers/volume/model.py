"""What is observed of a Volume, and the actions that make it so (PURE)."""

from dataclasses import dataclass

from drivers.volumes.interface import VolumeConfig, VolumeState
from reconcilers.interface import JobState
from resources.errors import EngineError

POOL = "io"


def populate_job(uid: str) -> str:
    return f"volume:{uid}/populate"


@dataclass(frozen=True, slots=True)
class ArchiveSeed:
    digest: str
    """Of the input."""
    shown: str
    """The archive as the manifest writes it."""

    def __str__(self) -> str:
        return f"the archive {self.shown}"


@dataclass(frozen=True, slots=True)
class ImageSeed:
    image: str
    """The Image's name."""
    path: str
    chain_id: str | None
    """None: not known yet. "" of an image without layers."""

    def __str__(self) -> str:
        return f"{self.path} of image/{self.image}"


Seed = ArchiveSeed | ImageSeed


@dataclass(frozen=True, slots=True)
class ObservedVolume:
    uid: str
    drivers: tuple[str, ...]
    """Those this host has."""
    driver: str = ""
    """Which of them holds the volume."""
    state: VolumeState | None = None
    retained: VolumeState | None = None
    """Released data of the same namespace/name in the driver that is wanted."""
    refusal: EngineError | None = None
    """Why the driver cannot make it so."""
    seed: Seed | None = None
    seed_here: bool = False
    """Whether what it is populated from can be read now."""
    seed_left: bool = False
    """A view of an image is there that a population made."""
    populating: JobState | None = None


@dataclass(frozen=True, slots=True)
class CreateVolume:
    driver: str
    config: VolumeConfig
    retained: bool

    def describe(self) -> str:
        if self.retained:
            return f"take back the retained data of {self.config.claim}"
        return f"create a {self.driver} volume for {self.config.claim}"


@dataclass(frozen=True, slots=True)
class ChangeVolume:
    driver: str
    config: VolumeConfig
    what: str

    def describe(self) -> str:
        return f"set {self.what}"


@dataclass(frozen=True, slots=True)
class MountVolume:
    driver: str
    uid: str

    def describe(self) -> str:
        return "mount"


@dataclass(frozen=True, slots=True)
class StartPopulate:
    driver: str
    config: VolumeConfig
    seed: Seed
    attempt: int

    def describe(self) -> str:
        return f"populate from {self.seed}"


@dataclass(frozen=True, slots=True)
class DropPopulate:
    """Give up the job, and what it may have left when an engine died."""

    uid: str

    def describe(self) -> str:
        return "give up populating"


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    driver: str
    uid: str
    data: bool

    def describe(self) -> str:
        return "delete the volume and its data" if self.data else "release the volume, its data is retained"


VolumeAction = CreateVolume | ChangeVolume | MountVolume | StartPopulate | DropPopulate | DeleteVolume
