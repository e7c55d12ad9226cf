"""PNG and JPEG files as square uint8 arrays, decoded by Pillow."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from fedbench_core.api.errors import DataError

Fit = Literal["pad", "crop", "stretch"]
SUFFIXES: Final = (".png", ".jpg", ".jpeg")
FORMATS: Final = ("PNG", "JPEG")
GRAY_MODES: Final = ("1", "L", "LA")
COLOR_MODES: Final = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
"""All modes of 8 bits. Of 16 bits, Pillow would cut off what is above 255."""


def has_color(path: Path) -> bool:
    """Whether an image is stored in color, according to its header; DataError if that or a checksum is wrong."""
    with _opened(path) as image:
        image.verify()  # decoding ignores the checksums of PNG files
        return image.mode not in GRAY_MODES


def read_picture(path: Path, size: int, *, color: bool, fit: Fit = "pad") -> npt.NDArray[np.uint8]:
    """The image as uint8 (size, size), or (size, size, 3) in `color`; DataError if it can't be read.

    fit: how an image that is not square becomes square: "pad" adds black borders, "crop" cuts off the longer sides,
    "stretch" changes the proportions. An orientation in the EXIF data is applied; transparency is ignored.
    """
    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
        return np.asarray(_FITS[fit](upright.convert("RGB" if color else "L"), (size, size)))


def _stretch(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size)


_FITS: Final[dict[Fit, Callable[[Image.Image, tuple[int, int]], Image.Image]]] = {
    "pad": ImageOps.pad,
    "crop": ImageOps.fit,
    "stretch": _stretch,
}


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image of a file; any error while it is read or decoded becomes a DataError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _check_mode(path, image.mode)
                yield image
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: too large to be decoded safely ({error}). Save it with fewer pixels.") from error
    except Exception as error:  # for damaged files Pillow raises errors of a dozen types, among them SyntaxError
        raise DataError(f"{path}: damaged, or not a PNG or JPEG file ({error})") from error


def _check_mode(path: Path, mode: str) -> None:
    if mode not in (*GRAY_MODES, *COLOR_MODES):
        raise DataError(f"{path}: its pixels are of type {mode!r}; expected 8 bits per channel. Save it with 8 bits.")
