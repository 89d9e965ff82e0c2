"""How much of everything an image or an archive may make us read, keep or create."""

from dataclasses import dataclass

_MIB, _GIB = 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    max_unpacked: int = 64 * _GIB
    """Bytes out of one decompressed stream, whatever its blob's size."""
    max_ratio: int = 200
    """Times the size of the blob, where that is more than `ratio_floor`."""
    ratio_floor: int = 1 * _GIB
    max_entries: int = 1_000_000
    max_path: int = 4096
    max_component: int = 255
    max_depth: int = 256
    max_header: int = 1 * _MIB
    """One PAX header or GNU long name."""
    max_xattr: int = 64 * 1024
    min_free_ratio: float = 0.10
    """Extraction stops when less of the file system than this is free, ..."""
    min_free_cap: int = 1 * _GIB
    """... but never asks for more than this to stay free: a tenth of a large disk is a lot."""
    max_manifest: int = 4 * _MIB
    max_config: int = 8 * _MIB
    max_index_depth: int = 3
    max_descriptors: int = 1000
    max_archive_entries: int = 100_000

    def unpacked(self, blob_size: int) -> int:
        """How much one blob may become."""
        return min(self.max_unpacked, max(self.ratio_floor, self.max_ratio * blob_size))


DEFAULT = Limits()
