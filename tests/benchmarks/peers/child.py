"""One process of a run: python -m tests.benchmarks.peers.child SCRIPT LOAD ROUNDS DATA; prints one line of JSON."""

import json
import os
import sys
import traceback
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from tests.benchmarks.peers.loads import LOADS


def main(script: str, load: str, rounds: str, data: str) -> None:
    """Run `script` and print what it measured."""
    run = import_module(f"tests.benchmarks.peers.{script}").run
    told = run(replace(LOADS[load], rounds=int(rounds)), Path(data))
    print(json.dumps(told), flush=True)  # noqa: T201  # the parent reads it


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception:  # noqa: BLE001  # whatever it is, the parent shows it
        traceback.print_exc()
        os._exit(1)  # without waiting for threads: that of Flower's server waits for replies for an hour
