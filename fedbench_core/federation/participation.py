"""Which clients take part in a round: first a sample, then those of it that don't drop out."""

from fedbench_core.api import stream
from fedbench_core.federation.spec import RunSpec


def participating(spec: RunSpec, clients: int, round_: int) -> list[int]:
    """The clients that take part in a round, sorted; drawn from the seed without replacement, possibly none.

    A fraction q of N clients is max(floor(q N), 1) clients (McMahan et al. 2017, algorithm 1).
    """
    size = max(int(spec.fraction * clients + 1e-9), 1)
    sample = stream(spec.seed, "sample", round_).permutation(clients)[:size]
    stays = stream(spec.seed, "dropout", round_).random(clients) >= spec.dropout
    return sorted(int(client) for client in sample if stays[client])
