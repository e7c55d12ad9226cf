import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import Tensor

from fedbench_core.api import SERVER, Aggregator, AggregatorState, Memory, Message, Payload, RunError
from fedbench_core.parts.aggregators import ClassMeans, Mean, Relay
from fedbench_core.testing.examples import from_disk, moment

DTYPES = [np.float16, np.float32, np.float64]


def merged(part: Aggregator, *messages: Message, memory: Memory | None = None) -> Payload:
    accumulator = part.start(AggregatorState(SERVER, memory={} if memory is None else memory), moment())
    for message in messages:
        accumulator.add(message)
    return accumulator.result()


def message(sender: int, weight: float = 1.0, meta: dict[str, str] | None = None, **tensors: Tensor) -> Message:
    return Message(sender, Payload(tensors, meta or {}), weight)


@st.composite
def arrays_of_floats(draw) -> np.ndarray:
    width = draw(st.sampled_from([16, 32, 64]))
    return draw(
        arrays(
            np.dtype(f"f{width // 8}"), array_shapes(max_dims=3, max_side=4), elements=st.floats(width=width, **FINITE)
        )
    )


FINITE = {"allow_nan": False, "allow_infinity": False}
weights = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=50)


@settings(deadline=None)
@given(
    values=arrays_of_floats(), weights=weights, options=st.sampled_from([{}, {"uniform": True}, {"accumulate": True}])
)
def test_equal_payloads_come_back_to_the_bit(values, weights, options) -> None:
    payload = Payload({"w": torch.from_numpy(values), "count": torch.tensor(3)}, {"backbone": "x"})
    back = merged(Mean(**options), *(Message(i, payload, weight) for i, weight in enumerate(weights)))
    assert back.to_bytes() == payload.to_bytes()  # bytes, since -0.0 == 0.0


@settings(deadline=None)
@given(
    values=arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 6)), elements=st.floats(-100, 100, width=32)),
    data=st.data(),
)
def test_the_mean_is_the_weighted_mean(values, data) -> None:
    weight = st.just(0.0) | st.floats(1e-3, 1e4)  # with less, numpy's own products underflow
    weights = data.draw(st.lists(weight, min_size=len(values), max_size=len(values)).filter(any))
    messages = [
        message(i, weight, w=torch.from_numpy(row)) for i, (row, weight) in enumerate(zip(values, weights, strict=True))
    ]
    expected = np.average(values.astype(np.float64), axis=0, weights=weights)
    np.testing.assert_allclose(merged(Mean(), *messages).tensors["w"].numpy(), expected, rtol=1e-6, atol=1e-5)
    equal = merged(Mean(uniform=True), *messages).tensors["w"].numpy()
    np.testing.assert_allclose(equal, values.astype(np.float64).mean(axis=0), rtol=1e-6, atol=1e-5)


def test_by_hand() -> None:
    back = merged(
        Mean(),
        message(0, 30, w=torch.tensor([1.0, 8.0]), steps=torch.tensor(4), seen=torch.tensor([True, False])),
        message(1, 10, w=torch.tensor([5.0, 0.0]), steps=torch.tensor(9), seen=torch.tensor([False, False])),
    )
    assert back.tensors["w"].tolist() == [2.0, 6.0]
    assert back.tensors["steps"].item() == 9
    assert back.tensors["steps"].dtype == torch.int64
    assert back.tensors["seen"].tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_keep_their_dtype(dtype) -> None:
    back = merged(Mean(), *(message(i, w=torch.tensor([1.0, 2.0 * i], dtype=dtype)) for i in range(3)))
    assert back.tensors["w"].dtype == dtype
    assert back.tensors["w"].tolist() == pytest.approx([1.0, 2.0], rel=1e-15)


def test_adds_up_in_double_precision() -> None:
    # in single precision the many small messages would vanish beside the large one
    messages = [message(0, w=torch.tensor([2.0**25])), *(message(i, w=torch.tensor([1.0])) for i in range(1, 2049))]
    assert merged(Mean(), *messages).tensors["w"].item() == np.float32((2**25 + 2048) / 2049)


def test_a_message_of_weight_zero_changes_no_float() -> None:
    first, second = (
        message(0, 0, w=torch.tensor([9.0]), n=torch.tensor(5)),
        message(1, 7, w=torch.tensor([2.0]), n=torch.tensor(1)),
    )
    for order in ([first, second], [second, first]):
        back = merged(Mean(), *order)
        assert back.tensors["w"].item() == 2.0
        assert back.tensors["n"].item() == 5


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_number_of_samples_is_refused(weight) -> None:
    with pytest.raises(RunError, match=r"Client 4's message has num_examples"):
        merged(Mean(), message(4, weight, w=torch.zeros(2)))


def test_a_total_weight_of_zero_is_refused() -> None:
    with pytest.raises(RunError, match=r"clients 3, 5 has a total weight of 0"):
        merged(Mean(), message(3, 0, w=torch.zeros(2)), message(5, 0, w=torch.zeros(2)))


@pytest.mark.parametrize("part", [Mean(), Relay()])
def test_a_merge_without_messages_is_an_error(part) -> None:
    with pytest.raises(RunError, match=r"nobody|got none"):
        merged(part)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"v": torch.zeros(2)}, "'v' is missing from client 3 and float32 (2,) from client 8"),
        ({"w": torch.zeros(3)}, "'w' is float32 (2,) from client 3 and float32 (3,) from client 8"),
        ({"w": torch.zeros(2).double()}, "'w' is float32 (2,) from client 3 and float64 (2,) from client 8"),
    ],
)
def test_mismatches_name_both_senders_and_the_tensor(other, told) -> None:
    with pytest.raises(RunError, match=re.escape(told)):
        merged(Mean(), message(3, w=torch.zeros(2)), message(8, **other))


def test_metadata_that_all_share_is_kept() -> None:
    one, two = {"backbone": "x", "owner": "1"}, {"backbone": "x"}
    back = merged(Mean(), message(0, meta=one, w=torch.zeros(1)), message(1, meta=two, w=torch.zeros(1)))
    assert back.meta == {"backbone": "x"}


def test_metadata_that_differ_are_an_error() -> None:
    zeros = torch.zeros(1)
    with pytest.raises(RunError, match=r"Clients 0 and 2 .*'backbone': 'x' and 'y'"):
        merged(Mean(), *(message(i, meta={"backbone": "xxy"[i]}, w=zeros) for i in range(3)))


@settings(deadline=None, max_examples=30)
@given(
    deltas=arrays(
        np.float32, st.tuples(st.integers(1, 12), st.just(3), st.just(4)), elements=st.floats(-1, 1, width=32)
    )
)
def test_accumulate_keeps_the_unrounded_sum_of_the_means(deltas) -> None:
    memory: Memory = {}
    for number, round_ in enumerate(deltas):
        back = merged(
            Mean(accumulate=True),
            *(message(i, w=torch.from_numpy(row), n=torch.tensor(10 - number)) for i, row in enumerate(round_)),
            memory=memory,
        )
        memory = from_disk(memory)
    np.testing.assert_allclose(memory["sum w"].numpy(), deltas.astype(np.float64).mean(axis=1).sum(axis=0), atol=1e-13)
    assert torch.equal(back.tensors["w"], memory["sum w"].float())
    assert back.tensors["n"].item() == 10


def test_accumulate_does_not_lose_small_steps() -> None:
    # 1e-8 is less than half a last bit of 1.0 in single precision: added there, it would never count
    memory: Memory = {}
    merged(Mean(accumulate=True), message(0, w=torch.tensor([1.0])), memory=memory)
    for _ in range(20):
        back = merged(Mean(accumulate=True), message(0, w=torch.tensor([1e-8])), memory=memory)
    assert back.tensors["w"].item() > 1.0


def test_accumulate_leaves_its_memory_alone_until_the_merge_closes() -> None:
    memory: Memory = {}
    merged(Mean(accumulate=True), message(0, w=torch.tensor([1.0])), memory=memory)
    before = dict(memory)
    accumulator = Mean(accumulate=True).start(AggregatorState(SERVER, memory=memory), moment())
    accumulator.add(message(0, w=torch.tensor([1.0])))
    assert memory == before
    accumulator.result()
    assert before["sum w"].item() == 1.0  # a crash can be retried from it
    assert memory["sum w"].item() == 2.0


def test_accumulate_refuses_other_tensors_than_before() -> None:
    memory: Memory = {}
    merged(Mean(accumulate=True), message(0, w=torch.zeros(1)), memory=memory)
    with pytest.raises(RunError, match="Send the same tensors in every round"):
        merged(Mean(accumulate=True), message(0, v=torch.zeros(1)), memory=memory)


@settings(deadline=None, max_examples=30)
@given(values=arrays_of_floats(), owner=st.text(max_size=5))
def test_relay_passes_its_message_on_unchanged(values, owner) -> None:
    said = message(3, meta={"owner": owner}, w=torch.from_numpy(values))
    assert merged(Relay(), said) is said.payload


def test_relay_names_the_senders_of_two_messages() -> None:
    with pytest.raises(RunError, match=r"clients 3 and 8"):
        merged(Relay(), message(3, w=torch.zeros(1)), message(8, w=torch.zeros(1)))


def _prototypes(sender: int, counts: list[int], rows: list[list[float]]) -> Message:
    return message(sender, 99.0, counts=torch.tensor(counts), rows=torch.tensor(rows))


def test_class_means_by_hand() -> None:
    """Class 0: (3 x 1 + 1 x 5) / 4 = 2 by images, (1 + 5) / 2 = 3 by clients; class 1 is of the first client alone."""
    first, second = _prototypes(0, [3, 2, 0], [[1], [7], [9]]), _prototypes(1, [1, 0, 0], [[5], [8], [9]])
    by_images = merged(ClassMeans(), first, second).tensors
    assert by_images["rows"][:2].tolist() == [[2.0], [7.0]]
    assert by_images["counts"].tolist() == [4, 2, 0]
    assert merged(ClassMeans("clients"), first, second).tensors["rows"][:2].tolist() == [[3.0], [7.0]]


def test_class_that_no_client_has_keeps_what_was_published() -> None:
    before = Payload({"counts": torch.tensor([1, 1, 5]), "rows": torch.tensor([[0.0], [0.0], [4.0]])})
    state = AggregatorState(SERVER, published={"": before})
    accumulator = ClassMeans().start(state, moment())
    accumulator.add(_prototypes(0, [2, 0, 0], [[3], [1], [1]]))
    after = accumulator.result().tensors
    assert after["rows"].tolist() == [[3.0], [0.0], [4.0]]
    assert after["counts"].tolist() == [2, 1, 5]


def test_class_means_need_counts() -> None:
    with pytest.raises(RunError, match=r"counts.*client 4"):
        merged(ClassMeans(), message(4, rows=torch.zeros(2, 1)))
