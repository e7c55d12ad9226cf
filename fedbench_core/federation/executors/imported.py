"""What workers need, imported before they are forked."""

import timm  # noqa: F401
import torch._dynamo  # noqa: F401 - the first optimizer of a process imports it, which takes 1.5 s

import fedbench_core.federation.executors.processes
import fedbench_core.models.timm_backbone  # noqa: F401
