"""Per-image values of a record, decoded and checked: bits, classes, and the groups of the test images."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fedbench_core.federation.bits import Codes, bits_of_texts, codes_of_texts, floats_of_text

Record = Mapping[str, Any]
Bits = npt.NDArray[np.uint8]
Decoded = TypeVar("Decoded", Codes, Bits)


class ReadError(Exception):
    """Per-image values that don't fit the number of images, clients or classes."""


@dataclass(frozen=True, eq=False)
class Groups:
    """The class or client of each test image, (images,), and the number of images of each, (kinds,)."""

    codes: Codes
    sizes: npt.NDArray[np.float64]

    @cached_property
    def known(self) -> npt.NDArray[np.float64]:
        """1 for a group with an image, 0 for others, (kinds,)."""
        return np.sign(self.sizes)

    @cached_property
    def some(self) -> npt.NDArray[np.float64]:
        """The sizes, with 1 for none, (kinds,)."""
        return np.maximum(self.sizes, 1)


def groups_of(record: Record) -> Groups:
    """The groups of a record's test images; ReadError if they don't fit its images, clients and classes."""
    coded, population = record["test"]["groups"], record["population"]
    held_out = population.get("held_out") or {"images": {"test": []}}
    own = (*population["images"]["test"], *held_out["images"]["test"])
    by_class = coded["of"] == "class"
    kinds = len(record["data"]["classes"]) if by_class else len(own) + 1
    if coded["kinds"] != kinds:
        raise ReadError(f"test.groups.kinds is {coded['kinds']}; expected {kinds}")
    return _groups(coded["images"], record["data"]["images"]["test"], kinds, None if by_class else own)


@lru_cache(maxsize=64)
def _groups(text: str, images: int, kinds: int, sizes: tuple[int, ...] | None) -> Groups:
    """Cached, because the records of a leaderboard have the same test images and groups."""
    codes = read_codes([text], images, kinds, "test.groups.images", "group")[0]
    found = np.bincount(codes, minlength=kinds)
    if sizes is not None and tuple(found[: len(sizes)].tolist()) != sizes:
        raise ReadError(f"test.groups.images gives the clients {found[: len(sizes)].tolist()} images; expected {sizes}")
    codes.flags.writeable = False
    return Groups(codes, found.astype(np.float64))


def read_codes(texts: Sequence[str], count: int, kinds: int, name: str, what: str = "class") -> Codes:
    """The codes from 0 to kinds - 1 in texts, (texts, count); ReadError names them if they hold something else.

    what: a code stands for.
    """
    bits = count * max(1, (kinds - 1).bit_length())
    codes = _read(texts, bits, name, lambda: codes_of_texts(texts, count, kinds))
    if codes.size and codes.max() >= kinds:
        raise ReadError(f"{name} has a {what} {codes.max()}; expected less than {kinds}")
    return codes


def read_bits(texts: Sequence[str], count: int, name: str) -> Bits:
    """The bits of texts, (texts, count); ReadError names them if they hold something else."""
    return _read(texts, count, name, lambda: bits_of_texts(texts, count))


def _read(texts: Sequence[str], bits: int, name: str, decoded: Callable[[], Decoded]) -> Decoded:
    expected = 4 * math.ceil(math.ceil(bits / 8) / 3)  # four characters for three bytes
    for text in texts:
        if len(text) != expected:
            raise ReadError(f"{name} has {len(text)} characters; expected {expected}, for {bits} bits")
    try:
        return decoded()
    except ValueError:
        raise ReadError(f"{name} is not the base64 text of {bits} bits") from None


def read_floats(text: str, count: int, name: str) -> npt.NDArray[np.float64]:
    """The numbers in a text, (count,); ReadError names it if it holds something else."""
    try:
        found = floats_of_text(text)
    except ValueError:
        raise ReadError(f"{name} is not the base64 text of {count} numbers") from None
    if len(found) != count or not np.isfinite(found).all():
        raise ReadError(f"{name} holds {np.isfinite(found).sum()} numbers; expected {count}")
    return found
