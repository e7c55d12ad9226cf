"""Who is there in a round: first the sample, then who drops out of it."""

from fedbench_core.api import stream
from fedbench_core.federation.spec import RunSpec


def present(spec: RunSpec, clients: int, round_: int) -> list[int]:
    """The clients present in a round, sorted; drawn from the seed without replacement, possibly nobody.

    A fraction q of N clients means max(floor(q N), 1) of them (McMahan et al. 2017, algorithm 1).
    """
    size = max(int(spec.fraction * clients + 1e-9), 1)
    sample = stream(spec.seed, "sample", round_).permutation(clients)[:size]
    stays = stream(spec.seed, "dropout", round_).random(clients) >= spec.dropout
    return sorted(int(client) for client in sample if stays[client])
