"""What a run took, from its record."""

from collections.abc import Mapping
from typing import Any


def gflops(record: Mapping[str, Any]) -> float | None:
    """GFLOPs of the whole federation: of clients, of the server, and of fine-tuning before a prediction.

    None if those of a network are not known.
    """
    parts = [record["costs"][f"{part}_gflops"] for part in ("training", "aggregation", "prediction")]
    return None if None in parts else float(sum(parts))


def bytes_sent(record: Mapping[str, Any]) -> int:
    """The bytes of all messages, each counted once."""
    return sum(record["costs"][f"bytes_{way}"] for way in ("up", "down", "peer"))


def bytes_per_turn(record: Mapping[str, Any]) -> float:
    """Bytes per client and round, up, down and between peers; each message is counted once."""
    return bytes_sent(record) / turns(record)


def turns(record: Mapping[str, Any]) -> int:
    """The number of clients that are trained, times that of rounds."""
    return int(record["population"]["trained"] * record["spec"]["rounds"])
