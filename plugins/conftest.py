"""What the plugins' own tests share."""  # noqa: INP001  # a folder of distributions, and no package

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As in the core's tests: threads of processes side by side wait for each other."""
    torch.set_num_threads(1)
