import contextlib
import json
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn

from fedbench_core.api import Payload, PayloadError, pack, unpack

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
DTYPES += (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


@st.composite
def tensor(draw):
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return (torch.randn(shape, generator=generator) * 9).to(draw(st.sampled_from(DTYPES)))


tensors = st.dictionaries(st.text(max_size=8).filter(lambda name: name != "__metadata__"), tensor(), max_size=5)
words = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)


def _same(one, other) -> bool:
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and torch.equal(one[k].nan_to_num(), other[k].nan_to_num()) for k in one
    )


@given(values=tensors, meta=words)
def test_what_was_said_is_what_is_received(values, meta) -> None:
    blob = Payload(values, meta).to_bytes()
    back = Payload.from_bytes(blob)
    assert _same(dict(back.tensors), values)
    assert back.meta == meta
    assert back.to_bytes() == blob
    assert Payload.from_bytes(memoryview(blob)).to_bytes() == blob


@given(values=tensors)
def test_any_reader_of_safetensors_reads_it(values) -> None:
    assert _same(load(bytes(pack(values, {"a": 1}))), values)


@given(values=tensors.filter(bool), order=st.randoms(use_true_random=False))
def test_equal_content_is_equal_bytes_whatever_the_order(values, order) -> None:
    names = list(values)
    order.shuffle(names)
    shuffled = {name: values[name].clone() for name in names}
    assert pack(shuffled, {"b": 1, "a": 2}) == pack(values, {"a": 2, "b": 1})


def test_odd_layouts_come_back_by_value() -> None:
    base = torch.arange(24.0).reshape(2, 3, 2, 2)
    odd = {
        "transposed": base.transpose(0, 1),
        "channels last": base.to(memory_format=torch.channels_last),
        "strided": base[:, ::2],
        "expanded": torch.ones(1).expand(5),
        "tied": base,
        "tied too": base,
        "scalar": torch.tensor(3.0),
        "with gradient": torch.ones(2, requires_grad=True),
    }
    back = Payload.from_bytes(Payload(odd).to_bytes()).tensors
    assert _same(dict(back), {name: value.detach() for name, value in odd.items()})


def test_what_is_received_can_be_written_to_without_the_others_or_the_blob() -> None:
    blob = Payload({"a": torch.zeros(3), "b": torch.zeros(3)}).to_bytes()
    first, second = Payload.from_bytes(blob), Payload.from_bytes(blob)
    first.tensors["a"].add_(1)
    assert first.tensors["b"].tolist() == [0, 0, 0]
    assert second.tensors["a"].tolist() == [0, 0, 0]
    assert Payload({"a": torch.zeros(3), "b": torch.zeros(3)}).to_bytes() == blob


def test_bytes_are_elements_times_their_size_plus_a_header() -> None:
    for dtype, size in ((torch.int8, 1), (torch.float16, 2), (torch.float32, 4), (torch.int64, 8)):
        blob = Payload({"w": torch.zeros(1000, dtype=dtype)}).to_bytes()
        header = 8 + int.from_bytes(blob[:8], "little")
        assert len(blob) == header + 1000 * size
        assert header < 200


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 64,
        pickle.dumps({"w": [1.0]}),
        bytes(save({"w": torch.ones(2)})),  # no meta: not ours
        bytes(Payload({"w": torch.ones(2)}).to_bytes())[:-1],
        bytes(Payload({"w": torch.ones(2)}).to_bytes()) + b"\0",
        (2**63).to_bytes(8, "little"),
        (10**5).to_bytes(8, "little") + b"[" * 10**5,
    ],
    ids=["nothing", "zeros", "ones", "pickle", "no meta", "truncated", "extended", "long header", "deep header"],
)
def test_other_bytes_are_no_payload(blob) -> None:
    with pytest.raises(PayloadError, match=f"these {len(blob)} bytes are no payload"):
        Payload.from_bytes(blob)


def _forged(**entry) -> bytes:
    whole = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"__metadata__": {"meta": "{}"}, "w": {**whole, **entry}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [3]},
        {"shape": [-2]},
        {"shape": [-1]},
        {"shape": [True, 2]},
        {"shape": [2**70, 0]},
        {"shape": "two"},
        {"dtype": "F31"},
        {"data_offsets": [0, 4]},
        {"data_offsets": [4, 0]},
        {"data_offsets": [0, 8, 9]},
        {"data_offsets": [0, 10**18]},
        {"data_offsets": None},
    ],
    ids=str,
)
def test_a_forged_header_is_no_payload(entry) -> None:
    assert torch.equal(unpack(_forged())[0]["w"], torch.zeros(2))
    with pytest.raises(PayloadError):
        unpack(_forged(**entry))


@pytest.mark.parametrize("spans", [([0, 8], [0, 8]), ([0, 8], [4, 12]), ([0, 8], [12, 20])], ids=str)
def test_tensors_that_overlap_or_leave_a_gap_are_no_payload(spans) -> None:
    entries = {
        name: {"dtype": "F32", "shape": [2], "data_offsets": span} for name, span in zip("ab", spans, strict=True)
    }
    header = json.dumps({"__metadata__": {"meta": "{}"}, **entries}).encode()
    with pytest.raises(PayloadError, match="overlap or leave a gap"):
        unpack(len(header).to_bytes(8, "little") + header + bytes(spans[1][1]))


@given(blob=st.binary(max_size=60), flip=st.integers(0, 400), bit=st.integers(0, 7))
def test_damage_never_raises_anything_else(blob, flip, bit) -> None:
    whole = bytearray(Payload({"w": torch.ones(4), "n": torch.tensor(1)}, {"owner": "3"}).to_bytes())
    whole[flip % len(whole)] ^= 1 << bit
    for damaged in (blob, bytes(whole)):
        with contextlib.suppress(PayloadError):
            Payload.from_bytes(damaged)


def test_a_type_that_cannot_travel_is_named() -> None:
    with pytest.raises(PayloadError, match=r"'w' is torch\.complex64"):
        Payload({"w": torch.zeros(2, dtype=torch.complex64)}).to_bytes()


def test_a_model_is_carried_whole() -> None:
    one, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    one(torch.randn(5, 3))
    Payload.from_bytes(Payload.of(one, meta={"backbone": "bn"}).to_bytes()).load_into(other)
    assert _same(one.state_dict(), other.state_dict())
    assert Payload.of(one, meta={"backbone": "bn"}).meta == {"backbone": "bn"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weight": torch.zeros(2)}, r"weight \(2 for 3\)"),
        ({"extra": torch.zeros(1)}, r"extra \(1 for nothing\)"),
        ({"bias": None}, r"bias \(nothing for 3\)"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(change, says) -> None:
    net = nn.BatchNorm1d(3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fitting = {name: torch.ones_like(value) for name, value in before.items()}
    changed = {name: value for name, value in {**fitting, **change}.items() if value is not None}
    with pytest.raises(PayloadError, match=says):
        Payload(changed).load_into(net)
    assert _same(net.state_dict(), before)


def test_groups_of_tensors_travel_together_and_come_apart() -> None:
    net, control = nn.Linear(2, 1), {"weight": torch.ones(1, 2)}
    both = Payload.from_bytes(Payload.of(model=net, control=control, meta={"a": "b"}).to_bytes())
    assert sorted(both.tensors) == ["control/weight", "model/bias", "model/weight"]
    other = nn.Linear(2, 1)
    both.part("model").load_into(other)
    assert _same(net.state_dict(), other.state_dict())
    assert torch.equal(both.part("control").tensors["weight"], control["weight"])
    assert both.part("control").meta == {"a": "b"}


def test_part_of_a_network_is_loaded_and_the_rest_stays() -> None:
    source, target = nn.Linear(2, 1), nn.Linear(2, 1)
    bias = target.bias.detach().clone()
    part = Payload.of(source).select({"weight"})
    part.load_into(target, partial=True)
    assert torch.equal(target.weight, source.weight)
    assert torch.equal(target.bias, bias)
    with pytest.raises(PayloadError, match="bias"):
        part.load_into(target)
    with pytest.raises(PayloadError, match="extra"):
        Payload({"extra": torch.zeros(1)}).load_into(target, partial=True)
