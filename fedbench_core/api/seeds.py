"""Streams of random numbers: every draw comes from a stream that is named after its purpose."""

import hashlib
import json

import numpy as np

Word = int | str


def _sequence(seed: int, words: tuple[Word, ...]) -> np.random.SeedSequence:
    digest = hashlib.sha256(json.dumps([seed, *words]).encode()).digest()
    return np.random.SeedSequence(int.from_bytes(digest, "big"))


def stream(seed: int, *words: Word) -> np.random.Generator:
    """A numpy generator for the purpose `words`; equal words give equal draws, in any process."""
    return np.random.Generator(np.random.PCG64(_sequence(seed, words)))


def torch_seed(seed: int, *words: Word) -> int:
    """A seed below 2**63 for a torch generator, for the purpose `words`."""
    return int(_sequence(seed, words).generate_state(1, np.uint64)[0] >> np.uint64(1))
