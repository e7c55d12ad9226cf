"""What the fork server imports once for all workers."""

import ctypes
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
with suppress(OSError, AttributeError):  # elsewhere than on Linux the server ends after its imports
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

import timm  # noqa: E402, F401
import torch._dynamo  # noqa: E402, F401 - the first optimizer of a process imports it, which takes 1.5 s
import torchmetrics  # noqa: E402, F401

import fedbench_core.federation.executors.processes  # noqa: E402
import fedbench_core.models.timm_backbone  # noqa: E402, F401
