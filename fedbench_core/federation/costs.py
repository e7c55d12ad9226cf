"""What is known of a method before and beside its run, by one client of each backbone: notes, sizes, arithmetic."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fedbench_core.api import Client, Payload, RoundContext
from fedbench_core.federation.lending import Lender
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.worker import context
from fedbench_core.models import count_flops, parameters

_PROBE = 4
"""Images in a probe's batch: arithmetic grows in proportion, so a few tell."""


class Probe:
    """Tries a method on one scratch client of each backbone, outside the run."""

    def __init__(self, setting: ResolvedRun, shares: Partition) -> None:
        self._setting = setting
        self._shares = shares
        self._lender = Lender(setting.architectures, shares.splits, setting.spec.seed, setting.spec.device)
        ctx = context(setting, shares, 0, 0, self._lender)
        self._ctx = replace(ctx, training=replace(ctx.training, batch_size=_PROBE, steps=1))

    def check(self) -> list[str]:
        """What the local update has to say about each backbone; RequestError if it can't work with one."""
        with self._setting.blaming("local_update", refuses=True):
            update = self._setting.local_update
            notes = [note for client in self._clients() for note in update.check(client, self._ctx)]
        return list(dict.fromkeys(notes))

    def sizes(self) -> dict[str, dict[str, int]]:
        """Of every backbone that is built: its trained `parameters`, and the `bytes` of one uncompressed payload."""
        sizes = {}
        for name in dict.fromkeys(architecture.name for architecture in self._setting.architectures.values()):
            net = self._lender.build(name)
            sizes[name] = {"parameters": parameters(net), "bytes": len(Payload.of(net).to_bytes())}
            self._lender.recall()
        return sizes

    def flops_per_image(self) -> dict[str, float]:
        """FLOPs of this method's local steps for each image in them, by the client's backbone.

        A step is what a local update reports as `steps`; distillation between two models counts both.
        """
        for _ in range(2):  # A network tries itself out when it is built, which is not training: build all beforehand.
            flops = {client.backbone: self._step(client, self._ctx) for client in self._clients()}
        return flops

    def _clients(self) -> Iterator[Client]:
        """A scratch client of each backbone, with a few of its images."""
        for number in range(min(self._setting.trained, len(self._setting.spec.backbones))):
            own = self._shares.examples("train", number).on(self._ctx.device)
            few = own.pick(np.arange(min(_PROBE, len(own))))
            yield Client(number, self._setting.backbone(number), few, few)
            self._lender.recall()

    def _step(self, client: Client, ctx: RoundContext) -> float:
        told: dict[str, Any] = {}

        def turn() -> None:
            told.update(self._setting.local_update.train(client, None, ctx).metrics)

        with self._setting.blaming("local_update"):
            self._setting.local_update.setup(client, ctx)
            flops = count_flops(turn)
        return flops / (max(2, len(client.train)) * max(1, int(told.get("steps", 1))))
