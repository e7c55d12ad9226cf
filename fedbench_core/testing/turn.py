"""One turn in a new process: the suite of local updates tests with it that all state is in the client."""

import hashlib
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fedbench_core.api import Payload, Update
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.executors.fork_server import CONTEXT, start_process
from fedbench_core.federation.executors.process_pool import portable
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.torch_settings import set_up_torch
from fedbench_core.testing.small import SmallFederation, partition_of


def digest(blob: bytes | None) -> str | None:
    """The sha256 of bytes."""
    return None if blob is None else hashlib.sha256(blob).hexdigest()


def answer(update: Update, state: bytes) -> dict[str, Any]:
    """The outcome of a turn, in a form that can be compared."""
    sent = None if update.payload is None else bytes(update.payload.to_bytes())
    values = {"num_examples": update.num_examples, "metrics": dict(update.metrics)}
    return {"sent": digest(sent), **values, "state": digest(state)}


def answer_of_new_process(spec: RunSpec, cache: Path, state: bytes, received: Payload | None) -> dict[str, Any]:
    """The outcome of client 0's second turn in a new process, which has not imported the plugin before."""
    ours, theirs = CONTEXT.Pipe()
    process = start_process(_serve, theirs, spec, cache, state, None if received is None else received.to_bytes())
    theirs.close()  # so that the pipe ends with the process
    with ours:
        outcome = _received(ours)
    process.join()
    assert outcome is not None, f"the new process ended with exit status {process.exitcode} in its turn"
    assert isinstance(outcome, dict), f"the turn failed in a new process: {outcome}"
    return outcome


def _received(pipe: Connection) -> Any:
    with suppress(EOFError):  # the process ended without an answer
        return pipe.recv()
    return None


def _serve(pipe: Connection, *asked: Any) -> None:
    try:
        pipe.send(_second_turn(*asked))
    except Exception as error:  # noqa: BLE001  # of any plugin
        pipe.send(portable(error))


def _second_turn(spec: RunSpec, cache: Path, state: bytes, received: bytes | None) -> dict[str, Any]:
    run = resolve(spec)
    set_up_torch(run.spec)
    small = SmallFederation.of(run, partition_of(spec, cache))
    client = small.loaded(0, state)
    update = small.train(client, None if received is None else Payload.from_bytes(received), 1)
    return answer(update, small.saved(client))
