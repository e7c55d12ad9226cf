"""What training costs in arithmetic, measured once per backbone outside the run (the counter slows a step)."""

from dataclasses import replace

import numpy as np

from fedbench_core.api import Client, RoundContext
from fedbench_core.federation.lending import Lender
from fedbench_core.federation.setting import Setting
from fedbench_core.federation.shares import Shares
from fedbench_core.federation.worker import context
from fedbench_core.models import count_flops, parameters

_PROBE = 4
"""Images in a probe's batch: arithmetic grows in proportion, so a few tell."""


def measure(setting: Setting, shares: Shares) -> dict[str, dict[str, int]]:
    """For each backbone: `parameters` of its network, and `flops_per_step` of one local step of this method on it.

    A step is what a local update reports as `steps`; distillation between two models counts both. One that reports
    none counts as a single step per visit.
    """
    lender = Lender(setting.architectures, shares.splits, setting.spec.seed, setting.spec.device)
    ctx = context(setting, shares, 0, 0, lender)
    probe = replace(ctx, training=replace(ctx.training, batch_size=_PROBE, steps=1))
    costs = {}
    for client in range(setting.trained):
        backbone = setting.backbone(client)
        if backbone not in costs:
            size = parameters(lender.build(backbone))
            costs[backbone] = {"parameters": size, "flops_per_step": _step(setting, shares, client, probe)}
            lender.recall()
    return costs


def _step(setting: Setting, shares: Shares, number: int, probe: RoundContext) -> int:
    """FLOPs of a step at the real batch size, from a first visit with a few images."""
    few = shares.examples("train", number).pick(np.arange(min(_PROBE, len(shares.indices["train"][number]))))
    client = Client(number, setting.backbone(number), few.on(probe.device), few.on(probe.device))
    told = {"steps": 1.0}

    def visit() -> None:
        told.update(setting.local_update.update(client, None, probe).metrics)

    setting.local_update.setup(client, probe)
    flops = count_flops(visit)
    images = max(2, len(few)) * max(1, told["steps"])
    return round(flops / images * min(setting.spec.batch_size, len(shares.indices["train"][number])))
