"""One turn in a new process: the suite of local updates tests with it that all state is in the client.

    python -m fedbench_core.testing.turn FOLDER

FOLDER holds request.json, state.safetensors and, if something is received, received.safetensors. The outcome is written
to answer.json.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fedbench_core import RunSpec
from fedbench_core.api import Payload, Update
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.torch_settings import set_up_torch
from fedbench_core.testing.small import SmallFederation, partition_of

REQUEST, STATE, RECEIVED, ANSWER = "request.json", "state.safetensors", "received.safetensors", "answer.json"


def digest(blob: bytes | None) -> str | None:
    """The sha256 of bytes."""
    return None if blob is None else hashlib.sha256(blob).hexdigest()


def answer(update: Update, state: bytes) -> dict[str, Any]:
    """The outcome of a turn, in a form that can be compared."""
    sent = None if update.payload is None else bytes(update.payload.to_bytes())
    values = {"num_examples": update.num_examples, "metrics": dict(update.metrics)}
    return {"sent": digest(sent), **values, "state": digest(state)}


def main(folder: Path) -> None:
    """Take the turn that FOLDER asks for."""
    request = json.loads((folder / REQUEST).read_text())
    spec = RunSpec.of(request["spec"])
    run = resolve(spec)
    set_up_torch(run.spec)
    small = SmallFederation.of(run, partition_of(spec, Path(request["cache"])))
    client = small.loaded(request["client"], (folder / STATE).read_bytes())
    received = folder / RECEIVED
    payload = Payload.from_bytes(received.read_bytes()) if received.exists() else None
    update = small.train(client, payload, request["round"])
    (folder / ANSWER).write_text(json.dumps(answer(update, small.saved(client))))


def run_in_new_process(folder: Path) -> None:
    """Take the turn that FOLDER asks for in a new process, which imports what this one can."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, "-m", __name__, str(folder)]
    done = subprocess.run(  # noqa: S603  # our own module
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"the turn failed in a new process: {done.stderr[-2000:]}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
