"""Seed a volume from an archive, with the extractor that layers go through: hostile input all the way."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from drivers.images.extract import extract
from drivers.images.limits import DEFAULT
from drivers.images.streams import opened
from drivers.images.tar import TarReader
from drivers.volumes.fill import fill
from resources.errors import NotFound

# A volume may be filled to its last byte: it is the user's, with a limit of its own.
_LIMITS = replace(DEFAULT, min_free_ratio=0.0)


class ArchivePopulator:
    def extract(self, archive: Path, target: Path, *, progress: Callable[[int], None] | None = None) -> None:
        try:
            file = archive.open("rb")
        except OSError as error:
            hint = "apply the manifest again, which sends it"
            raise NotFound(f"the archive {archive} cannot be read: {error.strerror}", hint=hint) from error
        with file:

            def write(folder: Path) -> None:
                with opened(file, os.fstat(file.fileno()).st_size, _LIMITS, progress) as stream:
                    extract(TarReader(stream, limits=_LIMITS), folder, (), _LIMITS, whiteouts=False)

            fill(target, write)
