"""Checks of an npz file from the headers of its arrays, before anything is unpacked."""

import io
import math
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from fedbench_core.api.limits import check_size

UNPACKED_BYTES = 2**30
UNPACKED_RATIO = 50
"""An npz file may unpack to `UNPACKED_BYTES`, or to this many times its own size; MedMNIST's large files to 5 times."""
_HEADER_BYTES = 2**14
_REASON = 200
"""Characters of numpy's own message, which repeats the header."""
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def check_members(path: Path, archive: ZipFile, names: Iterable[str]) -> None:
    """DataError for arrays that are too large to unpack; ValueError for one whose header contradicts its size."""
    sizes = {name: archive.getinfo(f"{name}.npy").file_size for name in names}
    check_size(path, sum(sizes.values()), max(UNPACKED_BYTES, UNPACKED_RATIO * path.stat().st_size), "unpacks to")
    for name, size in sizes.items():
        with archive.open(f"{name}.npy") as member:
            start = member.read(_HEADER_BYTES)
        announced = _announced(name, start)
        if announced != size:
            raise ValueError(f"{name} has {size} bytes, but its header announces {announced}")


def _announced(name: str, start: bytes) -> int:
    """The size of an .npy file according to its header; `start` is its beginning."""
    stream = io.BytesIO(start)
    try:
        shape, _, dtype = _READERS[np.lib.format.read_magic(stream)](stream)
    except Exception as error:  # numpy parses the header as Python literals, and any exception may come out
        reason = " ".join(str(error).split())
        raise ValueError(f"the header of {name} can't be read: {reason[:_REASON]}") from error
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are never read")
    if dtype.itemsize == 0 or any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"the header of {name} announces an impossible array: {dtype} {shape}")
    return stream.tell() + math.prod(shape) * dtype.itemsize
