"""A Ray cluster for the length of a run: an own one on this machine, or one that is there already."""

import os

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray warns of its own plans where this is not set
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fedbench_core.api import RequestError, RunError
from fedbench_core.federation.executors import ray_probe
from fedbench_core.federation.executors.ray_address import answering

PROBE_SECONDS = 120.0
LOOK_SECONDS = 10.0
"""How often to look whether there is still a node for the tasks that are waited for."""
TIDY_SECONDS = 5.0
"""How long tasks that are ended early may take to tidy up."""


@dataclass(frozen=True)
class Asked:
    """Which cluster, and what of it one task takes.

    address: HOST:PORT or "auto"; None for an own cluster on this machine. workers: tasks at a time, None for as many as
    there are CPUs. gpus: how much of a GPU a task takes.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float = 0.0


@dataclass(frozen=True)
class Cluster:
    """A cluster that is connected. slots: tasks that it can do at a time; ahead: how many to have out at most."""

    slots: int
    ahead: int
    gpus: float

    def remote(self, function: Callable[..., Any]) -> Any:
        """The function as a task, which is never repeated by Ray: who sent it knows better how often to."""
        # A process keeps the first GPU that it has used, and Ray may mean another one the next time.
        once = self.gpus > 0 and any(node["Resources"].get("GPU", 0) > 1 for node in _nodes())
        return ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=0, max_calls=int(once))(function)

    def wait(self, refs: Iterable[Any]) -> list[Any]:
        """The tasks of those given that have ended, one at least; RunError where no node is left to do them."""
        waited = list(refs)
        while True:
            ended, _ = ray.wait(waited, timeout=LOOK_SECONDS)
            if ended:
                return list(ended)
            if not _slots(self.gpus):
                raise RunError(
                    "No node of the Ray cluster is left to go on with. Add one: ray start --address=HOST:PORT"
                )

    def drop(self, refs: Iterable[Any]) -> None:
        """End tasks that nobody waits for any more, and let them tidy up."""
        dropped = list(refs)
        for ref in dropped:
            ray.cancel(ref)
        if dropped:
            ray.wait(dropped, num_returns=len(dropped), timeout=TIDY_SECONDS)


@contextmanager
def connected(asked: Asked, versions: Mapping[str, str]) -> Iterator[Cluster]:
    """The cluster, whose nodes all have `versions` of distributions; an own one is gone at the end.

    A connection that this process has already is used, and stays. RequestError for a cluster that cannot be used.
    """
    made = not ray.is_initialized()
    try:
        if made:
            _connect(asked)
        yield _checked(asked, versions, own=made and asked.address is None)
    finally:
        if made:
            with _told_of_sigterm():
                ray.shutdown()


def _checked(asked: Asked, versions: Mapping[str, str], *, own: bool) -> Cluster:
    slots = _slots(asked.gpus)
    if not slots:
        what = "CPU" if not asked.gpus else f"CPU and {asked.gpus:g} of a GPU free for one turn"
        raise RequestError(f"No node of the Ray cluster has a {what}. Add one: ray start --address=HOST:PORT")
    check_nodes(versions)
    if own or asked.workers is None:  # an own one has as many CPUs as workers were asked for
        return Cluster(slots, 2 * slots, asked.gpus)  # Ray queues: a worker's next task is there when it is done
    most = min(slots, asked.workers)
    return Cluster(most, most, asked.gpus)


def check_nodes(versions: Mapping[str, str]) -> None:
    """RequestError that names every node where a distribution is missing or has another version."""
    told = [words for node in _nodes() if (words := _differing(node, versions))]
    if told:
        raise RequestError(
            f"All nodes must have what is installed here, and differ: {'; '.join(told)}. "
            "Install the same there with pip, or take these nodes out of the cluster."
        )


def differences(versions: Mapping[str, str], found: Mapping[str, str | None]) -> str:
    """What is not as it should be: `no fedbench-kit (here 1.0), torch 2.4 (here 2.5)`; "" if all is."""
    told = ((name, found[name], wanted) for name, wanted in versions.items() if found[name] != wanted)
    return ", ".join(
        f"{name} {have} (here {wanted})" if have else f"no {name} (here {wanted})" for name, have, wanted in told
    )


def store_bytes() -> int:
    """The size of the smallest object store of a node that computes."""
    return int(min((node["Resources"].get("object_store_memory", 0) for node in _nodes()), default=0))


def _differing(node: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    ray.cloudpickle.register_pickle_by_value(ray_probe)  # the node may not have the module
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    probe = ray.remote(ray_probe.installed).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
    try:
        found = ray.get(probe.remote(list(versions)), timeout=PROBE_SECONDS)
    except ray.exceptions.RayError as error:
        raise RunError(
            f"Node {node['NodeName']} of the Ray cluster does not answer ({type(error).__name__})."
        ) from None
    finally:
        ray.cloudpickle.unregister_pickle_by_value(ray_probe)
    words = differences(versions, found)
    return words and f"node {node['NodeName']} has {words}"


def _nodes() -> list[dict[str, Any]]:
    """The nodes that compute."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _slots(gpus: float) -> int:
    """How many tasks fit on all nodes."""
    return sum(_fit(node["Resources"], gpus) for node in _nodes())


def _fit(resources: Mapping[str, float], gpus: float) -> int:
    cpus, own = int(resources["CPU"]), int(resources.get("GPU", 0))
    if not gpus:
        return cpus
    return min(cpus, own * int(1 / gpus) if gpus <= 1 else int(own / gpus))


def _connect(asked: Asked) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with _told_of_sigterm():
        address = asked.address and answering(asked.address)
        try:
            with _path_for_children():
                if address is None:
                    ray.init("local", num_cpus=asked.workers, include_dashboard=False, **quiet)
                else:
                    ray.init(address, **quiet)
        except SystemExit:  # what Ray makes of a SIGTERM
            raise KeyboardInterrupt from None
        except Exception as error:
            raise _unusable(asked, " ".join(str(error).split())) from error


def _unusable(asked: Asked, why: str) -> RequestError | RunError:
    """The error for a cluster that can't be had, from what Ray said."""
    if asked.address is None:
        return RunError(f"Ray could not be started on this machine: {why} Try again, or use --executor processes.")
    return RequestError(
        f"--ray-address {asked.address} can't be used: {why} "
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
def _told_of_sigterm() -> Iterator[None]:
    """Ray takes SIGTERM for itself; the command's own way to end comes back here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
