"""Imports that are slow, and the same in every worker."""

import ctypes
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
with suppress(OSError, AttributeError):  # where there is no Linux, the server notices after its imports
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

import timm  # noqa: E402, F401 - imported for its effect: it is there when a worker is forked
import torch._dynamo  # noqa: E402, F401 - as timm: the first optimizer of a process would import it, 1.5 s
import torchmetrics  # noqa: E402, F401 - as timm

import fedbench_core.federation.worker  # noqa: E402
import fedbench_core.models.timm_backbone  # noqa: E402, F401 - as timm
