"""Per-image values of a record as text: right or wrong, and the group of the image."""

import base64

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]


def text_of_bits(packed: npt.NDArray[np.uint8]) -> str:
    """Packed bits as text; `bits_of_text` reads it."""
    return base64.b64encode(packed.tobytes()).decode()


def bits_of_text(text: str, count: int) -> npt.NDArray[np.uint8]:
    """The first `count` bits of a text, (count,)."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count)


def text_of_codes(codes: Codes, kinds: int) -> str:
    """Codes from 0 to kinds - 1 as text, with as few bits each as possible."""
    return text_of_bits(np.packbits(codes[:, None] >> _places(kinds) & 1))


def codes_of_text(text: str, count: int, kinds: int) -> Codes:
    """The `count` codes in a text that `text_of_codes` made, (count,)."""
    places = _places(kinds)
    bits = bits_of_text(text, count * len(places)).reshape(count, len(places))
    return bits @ (np.int64(1) << places)


def text_of_floats(values: npt.NDArray[np.float64]) -> str:
    """Numbers as text, in single precision."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def floats_of_text(text: str) -> npt.NDArray[np.float64]:
    """The numbers in a text that `text_of_floats` made; ValueError if it holds something else."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)


def _places(kinds: int) -> Codes:
    return np.arange(max(1, (kinds - 1).bit_length()))
