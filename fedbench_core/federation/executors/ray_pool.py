"""A pool of Ray's worker processes: every batch is a task of the cluster."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import islice
from typing import Any

import ray

from fedbench_core.api import RunError
from fedbench_core.federation.executors.ray_cluster import FULL, Cluster, Ref, too_small
from fedbench_core.federation.executors.scheduler import Answers, Batch, LostError


class RayPool:
    """Batches of one task, computed by `function` on the arguments that `pack` makes of the task.

    unpack: makes the result of what `function` returned; its FedbenchError is the result, too. late: a further reason
    why a worker may have ended, for the error. leave: is closed with the pool.
    """

    def __init__(
        self,
        cluster: Cluster,
        function: Callable[..., Any],
        pack: Callable[[Any], Iterable[Any]],
        unpack: Callable[[Any, Any], Any],
        leave: ExitStack,
        late: str = "",
    ) -> None:
        self.workers = cluster.slots
        self._cluster = cluster
        self._function = cluster.remote(function)
        self._pack = pack
        self._unpack = unpack
        self._leave = leave
        self._late = late
        self._out: dict[Ref, Batch] = {}

    def room(self, depth: int) -> int:
        """How many more tasks may be sent now; Ray itself queues them."""
        return self._cluster.ahead - len(self._out)

    def send(self, batch: Batch) -> None:
        """Send a batch of one task."""
        [(_, task)] = batch
        self._out[self._function.remote(*self._pack(task))] = batch

    def receive(self, *, wait: bool) -> list[tuple[Batch, Answers | LostError]]:
        """The results of tasks that have ended, and which of them were lost."""
        ended = self._cluster.wait(self._out, block=wait) if self._out else []
        return [(batch, self._result(ref, batch)) for ref in ended for batch in [self._out.pop(ref)]]

    def working(self) -> list[Any]:
        """The tasks that were sent first, as many as there are workers: Ray doesn't tell which it computes."""
        return [task for [(_, task)] in islice(self._out.values(), self.workers)]

    def discard(self) -> None:
        """Forget everything: a task that runs ends by itself, or with the connection of this process.

        Nothing is cancelled: `ray.cancel` ends this process where a task is sent at the same moment (a failed check
        in Ray's task manager).
        """
        self._out.clear()

    def close(self) -> None:
        """Leave the cluster; one that was started for this process ends."""
        self._leave.close()

    def _result(self, ref: Ref, batch: Batch) -> Answers | LostError:
        [(_, task)] = batch
        try:
            return Answers([self._unpack(task, ray.get(ref))], 0.0)
        except FULL:
            return Answers([RunError(too_small("it is full"))], 0.0)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ray.exceptions.RayError):  # such as images that did not come
                return self._lost(error.cause)
            return Answers([error.cause], 0.0)
        except ray.exceptions.RayError as error:
            return self._lost(error)
        except RunError as error:
            return Answers([error], 0.0)

    def _lost(self, error: Exception) -> LostError:
        reason = f"its worker died (out of memory?){self._late}"
        if isinstance(error, ray.exceptions.RaySystemError):  # such as a node that joined without fedbench
            reason = f"a node could not start it: {str(error).strip().splitlines()[-1]}"
        return LostError(f"{reason} ({type(error).__name__})")
