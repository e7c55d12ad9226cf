import os

import pytest
import torch

from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.torch_settings import default_workers, use_gpu


@pytest.mark.parametrize(("device", "workers"), [("cpu", os.cpu_count()), ("cuda", 3), ("cuda:1", 1)])
def test_default_is_a_worker_per_core_or_per_gpu(monkeypatch, device: str, workers: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert default_workers(device) == workers


@pytest.mark.parametrize(("device", "used"), [("cpu", []), ("cuda", [0, 1, 2, 0]), ("cuda:1", [])])
def test_workers_take_turns_on_the_gpus(monkeypatch, device: str, used: list[int]) -> None:
    found: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    for number in range(4):
        use_gpu(RunSpec(method="fedavg", device=device), number)
    assert found == used
