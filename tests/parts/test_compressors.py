import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fedbench_core.api import Payload, RunError
from fedbench_core.parts.compressors import Dense, Half
from fedbench_core.testing.examples import layout, moment, normal

KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool]


@st.composite
def payloads(draw) -> Payload:
    names = draw(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=8))
    shapes = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    values = arrays(np.float32, shapes, elements=st.floats(-60000, 60000, width=32))
    tensors = {name: torch.from_numpy(np.array(draw(values))).to(draw(st.sampled_from(KINDS))) for name in names}
    return Payload(tensors, draw(st.dictionaries(st.sampled_from(["owner", "backbone"]), st.text(max_size=5))))


def carried(part, payload: Payload) -> tuple[Payload, int]:
    blob = part.encode(payload, moment(), {}).to_bytes()
    return part.decode(Payload.from_bytes(blob)), len(blob)


@settings(deadline=None)
@given(payloads())
def test_dense_changes_nothing(payload) -> None:
    back, size = carried(Dense(), payload)
    assert back.to_bytes() == payload.to_bytes()
    assert size == len(payload.to_bytes())


@settings(deadline=None)
@given(payloads())
def test_half_rounds_singles_and_doubles_and_nothing_else(payload) -> None:
    back, size = carried(Half(), payload)
    assert layout(back) == layout(payload)
    assert back.meta == payload.meta
    assert size <= len(payload.to_bytes()) + 512
    for name, tensor in payload.tensors.items():
        rounded = tensor.half().to(tensor.dtype) if tensor.dtype in {torch.float32, torch.float64} else tensor
        assert torch.equal(back.tensors[name], rounded)


def test_half_halves_a_network_to_within_its_header() -> None:
    payload = Payload({f"layer{i}.weight": normal(64, 50, seed=i) for i in range(62)})
    dense = 62 * 64 * 50 * 4
    _, size = carried(Half(), payload)
    assert dense / 2 <= size <= dense / 2 + 6000
    encoded = Half().encode(payload, moment(), {})
    assert encoded.meta == {"half": "62s"}


def test_half_notes_runs_of_dtypes_in_order_of_name() -> None:
    dtypes = {"e": torch.float32, "a": torch.float32, "b": torch.float16, "c": torch.int64, "d": torch.float64}
    payload = Payload({name: torch.ones(2, dtype=dtype) for name, dtype in dtypes.items()}, {"owner": "1"})
    encoded = Half().encode(payload, moment(), {})
    assert encoded.meta == {"owner": "1", "half": "shds"}  # a, b, d, e; c is no float
    assert {tensor.dtype for tensor in encoded.tensors.values()} == {torch.float16, torch.int64}
    assert layout(Half().decode(encoded)) == layout(payload)


@pytest.mark.parametrize("value", [65520.0, -1e30])
def test_half_refuses_to_make_infinities(value) -> None:
    payload = Payload({"bn.running_var": torch.tensor([1.0, value])})
    with pytest.raises(RunError, match=r"'bn.running_var' holds .* float16 ends at 65504"):
        Half().encode(payload, moment(), {})


def test_half_carries_the_largest_half_and_infinities_that_were_there() -> None:
    payload = Payload({"w": torch.tensor([65504.0, float("inf"), float("-inf")])})
    back, _ = carried(Half(), payload)
    assert torch.equal(back.tensors["w"], payload.tensors["w"])


def test_half_does_not_overwrite_a_meta_entry_of_its_name() -> None:
    with pytest.raises(RunError, match="Rename it"):
        Half().encode(Payload({"w": torch.ones(1)}, {"half": "mine"}), moment(), {})
