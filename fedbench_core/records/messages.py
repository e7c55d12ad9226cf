"""The bytes of a record, summed over the messages of its run."""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

MESSAGES = "messages.csv"
SERVER = "-1"
"""The number of the server in the columns of senders and receivers."""
_TOTALS = ("bytes_up", "bytes_down", "bytes_peer", "bytes_dense")


def messages_fault(path: Path, costs: Mapping[str, object]) -> str:
    """How the messages in a CSV file contradict the costs of a record; "" if they don't, or if there is no file."""
    if not path.exists():
        return ""
    try:
        sums = _sums(path)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        return f"could not be read as the messages of a run: {error}"
    wrong = [name for name in _TOTALS if sums[name] != costs[name]]
    return f"gives {wrong[0]} {sums[wrong[0]]}, but its record has {costs[wrong[0]]}" if wrong else ""


def _sums(path: Path) -> Counter[str]:
    sums: Counter[str] = Counter()
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            down, up = row["sender"] == SERVER, row["receiver"] == SERVER
            sums["bytes_down" if down else "bytes_up" if up else "bytes_peer"] += int(row["bytes"])
            sums["bytes_dense"] += int(row["bytes_dense"])
    return sums
