"""A Ray cluster for the length of a run: an own one on this machine, or one that is there already."""

import os

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray warns of its own plans where this is not set
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fedbench_core.api import SPLITS, RequestError, RunError, Splits
from fedbench_core.federation.executors.ray_address import check_address

PROBE_SECONDS = 120.0
LOOK_SECONDS = 10.0
"""How often to look whether there is still a node for the tasks that are waited for."""
FULL = (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError)
Ref = object
"""Ray's name for something in its object store."""


@dataclass(frozen=True)
class Request:
    """Which cluster, and what one task of it takes.

    address: HOST:PORT or "auto"; None for a cluster on this machine that ends with the run. workers: tasks at a time,
    None for as many as there are CPUs. gpus: GPUs per task.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float = 0.0


@dataclass(frozen=True)
class Cluster:
    """A connected cluster. slots: tasks that it computes at a time; ahead: how many to send, at most."""

    slots: int
    ahead: int
    gpus: float

    def remote(self, function: Callable[..., Any]) -> Any:
        """The function as a task, which Ray never repeats by itself."""
        # A process keeps the first GPU that it has used, and Ray may mean another one the next time.
        once = self.gpus > 0 and any(node["Resources"].get("GPU", 0) > 1 for node in _nodes())
        return ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=0, max_calls=int(once))(function)

    def wait(self, refs: Iterable[Any], *, block: bool) -> list[Any]:
        """The tasks that have ended; with `block` at least one. RunError where no node is left to compute them."""
        refs = list(refs)
        while True:
            ended, _ = ray.wait(refs, timeout=LOOK_SECONDS if block else 0)
            if ended or not block:
                return list(ended)
            if not _slots(self.gpus):
                raise RunError("No node of the Ray cluster is left. Add one: ray start --address=HOST:PORT")


@contextmanager
def connected(request: Request, versions: Mapping[str, str]) -> Iterator[Cluster]:
    """The cluster, whose nodes all have `versions` of distributions; RequestError for one that can't be used.

    A connection that this process has already is used, and stays.
    """
    connects = not ray.is_initialized()
    try:
        if connects:
            _connect(request)
        yield _checked(request, versions, own=connects and request.address is None)
    finally:
        if connects:
            with _own_sigterm():
                ray.shutdown()


def put(value: object) -> Ref:
    """A value in the object store; RunError where that is full."""
    try:
        ref: Ref = ray.put(value)
    except FULL:
        raise RunError(too_small("it is full")) from None
    return ref


def too_small(why: str) -> str:
    """The error text for an object store that can't hold something."""
    return (
        f"The object store of a node of the Ray cluster is too small, with {_store_bytes() / 1e6:.0f} MB: {why}. "
        "Start the nodes with more: ray start --object-store-memory BYTES"
    )


def portable_splits(splits: Splits) -> Splits:
    """The same splits with images in plain arrays, which all processes of a node share once they are there.

    RunError where they are larger than the object store of a node.
    """
    parts = {name: getattr(splits, name) for name in SPLITS}
    size = sum(part.images.nbytes + part.labels.nbytes for part in parts.values())
    if size > _store_bytes():
        raise RunError(too_small(f"the images of {splits.name} take {size / 1e6:.0f} MB"))
    plain = {n: replace(p, images=np.asarray(p.images), labels=np.asarray(p.labels)) for n, p in parts.items()}
    return replace(splits, **plain, files={})


def check_own_versions(versions: Mapping[str, str]) -> None:
    """RunError on a node that joined later than the others were checked, and has other versions."""
    text = differences(versions, _probe()(list(versions)))
    if text:
        raise RunError(f"A node that joined the Ray cluster has {text}. Install the same there, or take it out.")


def differences(versions: Mapping[str, str], found: Mapping[str, str | None]) -> str:
    """What differs: `no fedbench-kit (here 1.0), torch 2.4 (here 2.5)`; "" if nothing does."""
    different = ((name, found[name], wanted) for name, wanted in versions.items() if found[name] != wanted)
    return ", ".join(
        f"{name} {have} (here {wanted})" if have else f"no {name} (here {wanted})" for name, have, wanted in different
    )


def _checked(request: Request, versions: Mapping[str, str], *, own: bool) -> Cluster:
    slots = _slots(request.gpus)
    if not slots:
        what = "CPU" if not request.gpus else f"CPU and {request.gpus:g} of a GPU free for one turn"
        raise RequestError(f"No node of the Ray cluster has a {what}. Add one: ray start --address=HOST:PORT")
    different = [text for node in _nodes() if (text := _different(node, versions))]
    if different:
        raise RequestError(
            f"All nodes must have the versions that are installed here: {'; '.join(different)}. "
            "Install the same there with pip, or take these nodes out of the cluster."
        )
    if own or request.workers is None:  # an own one has as many CPUs as workers were requested
        return Cluster(slots, 2 * slots, request.gpus)  # Ray queues: a worker finds its next task when it is done
    most = min(slots, request.workers)
    return Cluster(most, most, request.gpus)


def _different(node: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    probe = ray.remote(_probe()).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
    try:
        found = ray.get(probe.remote(list(versions)), timeout=PROBE_SECONDS)
    except ray.exceptions.RayError as error:
        raise RunError(
            f"Node {node['NodeName']} of the Ray cluster does not answer ({type(error).__name__})."
        ) from None
    text = differences(versions, found)
    return text and f"node {node['NodeName']} has {text}"


def _probe() -> Callable[[Sequence[str]], dict[str, str | None]]:
    """What tells the installed version of each distribution, or None; sent by value, as a node may lack fedbench."""

    def installed(names: Sequence[str]) -> dict[str, str | None]:
        from importlib.metadata import distributions  # noqa: PLC0415  # there
        from platform import python_version  # noqa: PLC0415  # as above

        found = {one.metadata["Name"].lower(): one.version for one in distributions() if one.metadata["Name"]}
        return {name: python_version() if name == "python" else found.get(name.lower()) for name in names}

    return installed


def _nodes() -> list[dict[str, Any]]:
    """The nodes that compute."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _store_bytes() -> int:
    """The size of the smallest object store of a node that computes."""
    return int(min((node["Resources"].get("object_store_memory", 0) for node in _nodes()), default=0))


def _slots(gpus: float) -> int:
    """How many tasks fit on all nodes."""
    return sum(_fit(node["Resources"], gpus) for node in _nodes())


def _fit(resources: Mapping[str, float], gpus: float) -> int:
    cpus, own = int(resources["CPU"]), int(resources.get("GPU", 0))
    if not gpus:
        return cpus
    return min(cpus, own * int(1 / gpus) if gpus <= 1 else int(own / gpus))


def _connect(request: Request) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if request.address is None:
        options |= {"address": "local", "num_cpus": request.workers, "include_dashboard": False}
    else:
        check_address(request.address)
        options["address"] = request.address
    with _own_sigterm():
        try:
            with _path_for_children():
                ray.init(**options)
        except SystemExit:  # what Ray makes of a SIGTERM
            raise KeyboardInterrupt from None
        except Exception as error:
            raise _unusable(request, " ".join(str(error).split())) from error


def _unusable(request: Request, why: str) -> RequestError | RunError:
    """The error for a cluster that can't be used, with the message of Ray."""
    if request.address is None:
        return RunError(f"Ray could not be started on this machine: {why} Try again, or use --executor processes.")
    return RequestError(
        f"--ray-address {request.address} can't be used: {why} "
        "Run this on a machine of the cluster: ray start --address=HOST:PORT makes it one."
    )


@contextmanager
def _path_for_children() -> Iterator[None]:
    """The processes of an own cluster find modules where this process does."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray takes SIGTERM for itself; the command's own way to end comes back here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
