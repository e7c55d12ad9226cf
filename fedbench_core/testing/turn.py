"""One turn in a process of its own: what the suite of local updates asks whether all state rests in the client.

    python -m fedbench_core.testing.turn FOLDER

FOLDER holds request.json, state.safetensors and, if something is received, received.safetensors; answer.json is written.
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
from fedbench_core.federation.resolved import resolve
from fedbench_core.federation.torch_settings import set_up_torch
from fedbench_core.testing.small import Scene, rest, shares_of

REQUEST, STATE, RECEIVED, ANSWER = "request.json", "state.safetensors", "received.safetensors", "answer.json"


def digest(blob: bytes | None) -> str | None:
    """The sha256 of bytes."""
    return None if blob is None else hashlib.sha256(blob).hexdigest()


def answer(reply: Update, state: bytes) -> dict[str, Any]:
    """A turn's outcome, so that two can be compared."""
    said = None if reply.payload is None else bytes(reply.payload.to_bytes())
    return {"said": digest(said), "weight": reply.weight, "metrics": dict(reply.metrics), "state": digest(state)}


def main(folder: Path) -> None:
    """Do the turn that FOLDER asks for."""
    request = json.loads((folder / REQUEST).read_text())
    spec = RunSpec.of(request["spec"])
    setting = resolve(spec)
    set_up_torch(setting.spec)
    scene = Scene.of(setting, shares_of(spec, Path(request["cache"])))
    client = scene.wake(request["client"], (folder / STATE).read_bytes())
    received = folder / RECEIVED
    payload = Payload.from_bytes(received.read_bytes()) if received.exists() else None
    reply = setting.local_update.train(client, payload, scene.context(request["round"]))
    (folder / ANSWER).write_text(json.dumps(answer(reply, rest(client))))


def run_apart(folder: Path) -> None:
    """Do the turn that FOLDER asks for in a process of its own, which imports what this one can."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, "-m", __name__, str(folder)]
    done = subprocess.run(  # noqa: S603  # our own module
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"the turn failed in a new process: {done.stderr[-2000:]}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
