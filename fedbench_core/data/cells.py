"""Synthetic images of stained cells: body, nucleus, granules, neighbors, stain and scanner.

Only + - * / and square roots of float64 are used, element by element. IEEE 754 defines every bit of these, so all
machines draw the same bytes; the last bits of sines and exponentials differ between processors.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float64]
Disc = tuple[float, float, float]

NEIGHBORS: Final = 5


@dataclass(frozen=True)
class Kind:
    """Appearance of a kind of cell, in units of a common cell radius. Discs are (x, y, radius)."""

    name: str
    body: float
    lobes: tuple[Disc, ...]
    bite: Disc = (0.0, 0.0, 0.0)
    granules: int = 0
    granule: float = 0.0
    over_nucleus: bool = False
    nucleoli: int = 0


KINDS: Final = (
    Kind("trilobed", 0.95, ((-0.36, -0.2, 0.27), (0.36, -0.2, 0.27), (0.0, 0.34, 0.27))),
    Kind("lymphoid", 0.72, ((0.0, 0.0, 0.56),)),
    Kind("bean", 1.0, ((0.0, 0.0, 0.6),), bite=(0.62, 0.0, 0.42)),
    Kind("bilobed", 0.95, ((-0.36, 0.0, 0.33), (0.36, 0.0, 0.33))),
    Kind("band", 0.95, ((0.0, 0.0, 0.6),), bite=(0.24, 0.0, 0.4)),
    Kind("plasma", 0.95, ((0.42, 0.0, 0.38),)),
    Kind("granular", 0.95, ((0.0, 0.0, 0.45),), granules=14, granule=0.11, over_nucleus=True),
    Kind("blast", 0.9, ((0.0, 0.0, 0.66),), nucleoli=3),
)
CLASSES: Final = tuple(kind.name for kind in KINDS)

# Red, green, blue in 0..1, before the scanner.
PLASMA: Final = (0.76, 0.70, 0.72)
NEIGHBOR: Final = (0.68, 0.42, 0.44)
CYTOPLASM: Final = (0.54, 0.54, 0.74)
NUCLEUS: Final = (0.24, 0.12, 0.42)
GRANULE: Final = (0.32, 0.06, 0.20)
NUCLEOLUS: Final = (0.50, 0.38, 0.64)

# Per scanner: contrast around mid-gray, then offsets of red, green and blue.
SCANNERS: Final = (
    (1.00, 0.00, 0.00, 0.00),
    (0.80, 0.06, -0.02, -0.10),
    (1.10, -0.10, -0.03, 0.04),
    (0.85, -0.05, 0.07, -0.04),
    (0.75, 0.03, 0.03, 0.08),
    (1.05, 0.05, -0.08, -0.07),
    (0.80, -0.11, -0.07, -0.02),
    (0.95, 0.02, 0.06, -0.12),
)


def draw(
    kinds: npt.NDArray[np.int64], scanners: npt.NDArray[np.int64], size: int, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Images of cells, uint8 (n, size, size, 3), of the given `kinds` (n,) and `scanners` (n,)."""
    drawing = _Drawing(kinds, size, rng)
    body, nucleus = drawing.body(), drawing.nucleus()
    image = drawing.background()
    for cover, color in (
        (drawing.neighbors(), NEIGHBOR),
        (body, CYTOPLASM),
        (nucleus, NUCLEUS),
        (drawing.nucleoli(nucleus), NUCLEOLUS),
        (drawing.granules(body, nucleus), GRANULE),
    ):
        image += cover[..., None] * (drawing.stain(color) - image)
    return drawing.scan(image, np.array(SCANNERS)[scanners])


class _Drawing:
    """A batch of cells, each in its own coordinates: shifted, rotated, mirrored, stretched and scaled."""

    def __init__(self, kinds: npt.NDArray[np.int64], size: int, rng: np.random.Generator) -> None:
        self._kinds, self._rng, self._count = kinds, rng, len(kinds)
        axis = (np.arange(size) + 0.5) * (2 / size) - 1
        self._across, self._down = axis[None, None, :], axis[None, :, None]
        scale, stretch = self._between(0.54, 0.80), self._between(0.86, 1.16)
        cosine, sine = self._turn()
        x, y = self._across - self._between(-0.3, 0.3), self._down - self._between(-0.3, 0.3)
        self._x = (x * cosine + y * sine) / (scale * stretch)
        self._y = (y * cosine - x * sine) / scale * stretch * self._sign()
        self._edge = 2.4 / size / scale

    def body(self) -> Field:
        """The share of each pixel that the body covers, (n, size, size) in 0..1; the same for the other structures."""
        radius = np.array([kind.body for kind in KINDS])[self._kinds, None, None]
        return self._disc(0.0, 0.0, radius * self._between(0.92, 1.08))

    def nucleus(self) -> Field:
        """All lobes, minus the bite."""
        cover = np.zeros_like(self._x)
        for place in range(max(len(kind.lobes) for kind in KINDS)):
            lobes = np.array([kind.lobes[place] if place < len(kind.lobes) else (0, 0, -9) for kind in KINDS])
            np.maximum(cover, self._jittered_disc(lobes), out=cover)
        bites = np.array([kind.bite if kind.bite[2] else (0, 0, -9) for kind in KINDS])
        return cover * (1 - self._jittered_disc(bites))

    def granules(self, body: Field, nucleus: Field) -> Field:
        """Dark grains in the body; over the nucleus only for kinds with `over_nucleus`."""
        over = np.array([kind.over_nucleus for kind in KINDS])[self._kinds, None, None]
        return (
            self._spots([(kind.granules, kind.granule) for kind in KINDS], 0.75) * body * np.where(over, 1, 1 - nucleus)
        )

    def nucleoli(self, nucleus: Field) -> Field:
        """Light spots in the nucleus."""
        return self._spots([(kind.nucleoli, 0.17) for kind in KINDS], 0.42) * nucleus

    def neighbors(self) -> Field:
        """Red blood cells around and under the cell."""
        cover = np.zeros_like(self._x)
        for _ in range(NEIGHBORS):
            x, y = self._across - self._between(-1.1, 1.1), self._down - self._between(-1.1, 1.1)
            inside = self._between(0.25, 0.45) - np.sqrt(x * x + y * y)
            np.maximum(cover, np.clip(inside / self._edge + 0.5, 0, 1), out=cover)
        return cover

    def background(self) -> Field:
        """Plasma, (n, size, size, 3), with illumination that decreases towards one side."""
        slope = self._across * self._between(-0.06, 0.06) + self._down * self._between(-0.06, 0.06)
        return self.stain(PLASMA) + slope[..., None]

    def stain(self, color: tuple[float, float, float]) -> Field:
        """`color` with the random variation of each cell, (n, 1, 1, 3)."""
        return (
            np.array(color)
            + self._between(-0.06, 0.06)[..., None]
            + 0.06 * (self._rng.random((self._count, 1, 1, 3)) - 0.5)
        )

    def scan(self, image: Field, settings: Field) -> npt.NDArray[np.uint8]:
        """The image with the contrast, color and noise of its scanner, in 256 levels."""
        contrast = settings[:, None, None, :1] * self._between(0.9, 1.1)[..., None]
        scanned = (image - 0.5) * contrast + 0.5 + settings[:, None, None, 1:]
        noisy = scanned + 0.10 * (self._rng.random(image.shape) - 0.5)
        return np.clip(np.floor(noisy * 255 + 0.5), 0, 255).astype(np.uint8)

    def _between(self, low: float, high: float) -> Field:
        return low + (high - low) * self._rng.random((self._count, 1, 1))

    def _sign(self) -> Field:
        return np.copysign(1.0, self._between(-1, 1))

    def _turn(self) -> tuple[Field, Field]:
        """Cosine and sine of a random angle, from the tangent of half the angle."""
        half, sign = self._between(-1, 1), self._sign()
        return sign * (1 - half * half) / (1 + half * half), sign * 2 * half / (1 + half * half)

    def _disc(self, x: Field | float, y: Field | float, radius: Field) -> Field:
        across, down = self._x - x, self._y - y
        return np.clip((radius - np.sqrt(across * across + down * down)) / self._edge + 0.5, 0, 1)

    def _jittered_disc(self, discs: npt.NDArray[np.float64]) -> Field:
        x, y, radius = (discs[self._kinds, axis][:, None, None] for axis in range(3))
        return self._disc(
            x + self._between(-0.07, 0.07), y + self._between(-0.07, 0.07), radius * self._between(0.88, 1.12)
        )

    def _spots(self, spots: list[tuple[int, float]], spread: float) -> Field:
        """The spots of each kind, given as (number, radius), within `spread` of the center."""
        number, radius = (np.array(column)[self._kinds, None, None] for column in zip(*spots, strict=True))
        cover = np.zeros_like(self._x)
        for spot in range(max(count for count, _ in spots)):
            disc = self._disc(self._between(-spread, spread), self._between(-spread, spread), radius)
            np.maximum(cover, np.where(spot < number, disc, 0), out=cover)
        return cover
