"""The bytes of .npy files."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt


def npy(array: npt.NDArray[Any]) -> bytes:
    """A whole file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def images_header(*shape: int) -> bytes:
    """The start of a file of uint8 images of this shape; the bytes of the images follow it."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()
