"""Per-image values of a record as text: right or wrong, and the group of the image."""

import base64
import binascii
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]


def text_of_bits(packed: npt.NDArray[np.uint8]) -> str:
    """Packed bits as text; `bits_of_text` reads it."""
    return base64.b64encode(packed.tobytes()).decode()


def bits_of_texts(texts: Sequence[str], count: int) -> npt.NDArray[np.uint8]:
    """The `count` bits in each text that `text_of_bits` made, (texts, count); ValueError for any other text."""
    size = -(-count // 8)
    packed = [binascii.a2b_base64(text, strict_mode=True) for text in texts]
    if wrong := [len(own) for own in packed if len(own) != size]:
        raise ValueError(f"{wrong[0]} bytes; expected {size}")
    rows = np.frombuffer(b"".join(packed), np.uint8).reshape(len(texts), size)
    return np.unpackbits(rows, axis=1, count=count)


def bits_of_text(text: str, count: int) -> npt.NDArray[np.uint8]:
    """The `count` bits in a text, (count,); errors as in `bits_of_texts`."""
    (bits,) = bits_of_texts([text], count)
    return np.asarray(bits)


def text_of_codes(codes: Codes, kinds: int) -> str:
    """Codes from 0 to kinds - 1 as text, with as few bits each as possible."""
    return text_of_bits(np.packbits(codes[:, None] >> _places(kinds) & 1))


def codes_of_texts(texts: Sequence[str], count: int, kinds: int) -> Codes:
    """The `count` codes in each text that `text_of_codes` made, (texts, count); errors as in `bits_of_texts`."""
    places = _places(kinds)
    bits = bits_of_texts(texts, count * len(places)).reshape(len(texts), count, len(places))
    return bits @ (np.int64(1) << places)


def codes_of_text(text: str, count: int, kinds: int) -> Codes:
    """The `count` codes in a text, (count,); errors as in `bits_of_texts`."""
    (codes,) = codes_of_texts([text], count, kinds)
    return np.asarray(codes)


def text_of_floats(values: npt.NDArray[np.float64]) -> str:
    """Numbers as text, in single precision."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def floats_of_text(text: str) -> npt.NDArray[np.float64]:
    """The numbers in a text that `text_of_floats` made; ValueError if it holds something else."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)


@cache
def _places(kinds: int) -> Codes:
    return np.arange(max(1, (kinds - 1).bit_length()))
