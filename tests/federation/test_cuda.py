"""On a GPU: every method runs, gives the same bits twice, and the same on one and on two workers."""

from pathlib import Path

import pytest
import torch

from fedbench_core.federation.assembly import resolve
from fedbench_core.records.record import comparable
from fedbench_core.registry import registry
from fedbench_core.runner import How, run
from fedbench_core.testing.small import OTHER_BACKBONE, small_spec

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
RUNS = [{"workers": 1}, {"workers": 1}, {"workers": 2}]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", registry().names("method"))
def test_method_gives_the_same_bits_again_and_on_two_workers(method, precision, tmp_path) -> None:
    spec = small_spec(method, {}, device="cuda", precision=precision)
    records = [run(spec, How(tmp_path / str(number), cache=tmp_path, **how)).record for number, how in enumerate(RUNS)]
    assert [comparable(record) for record in records[1:]] == [comparable(records[0])] * 2


def test_mixed_backbones_train_on_a_gpu(tmp_path: Path) -> None:
    backbones = ("test_resnet", OTHER_BACKBONE)
    spec = resolve(small_spec("fedskd", {}, device="cuda", backbones=backbones)).spec
    assert run(spec, How(tmp_path, cache=tmp_path, workers=1)).record["population"]["backbones"][:2] == [*backbones]
