"""A worker from what can be sent to another process."""

import os
from dataclasses import dataclass

import torch

from fedbench_core.api import DataRequest
from fedbench_core.federation.setting import resolve
from fedbench_core.federation.shares import deal
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.worker import Worker


@dataclass(frozen=True)
class Start:
    """What a worker is made of: the resolved spec, and where the data are (mapped, so nothing is copied)."""

    spec: RunSpec
    request: DataRequest

    def worker(self) -> Worker:
        """A worker in this process, with torch set up as the spec says."""
        set_up_torch(self.spec)
        setting = resolve(self.spec)
        return Worker(setting, deal(setting, setting.dataset.load(self.request)))


def set_up_torch(spec: RunSpec) -> None:
    """The number of threads, and on a GPU deterministic algorithms: both decide about bits."""
    torch.set_num_threads(spec.threads)
    if spec.device != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
        torch.backends.cudnn.benchmark = False
