"""Imports that are slow, and the same in every worker."""

import timm  # noqa: F401 - imported for its effect: it is there when a worker is forked
import torch._dynamo  # noqa: F401 - as timm: the first optimiser of a process would import it, 1.5 s
import torchmetrics  # noqa: F401 - as timm

import fedbench_core.federation.worker
import fedbench_core.models.timm_backbone  # noqa: F401 - as timm
