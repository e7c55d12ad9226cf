"""Figures of METHODS: ranks and break-even points of the layers of a ResNet-18."""

import json
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench_core.api import NOTED, Payload, RequestError, RunError
from fedbench_core.parts import svd
from fedbench_core.parts.svd import Svd, aicc_rank, energy_rank, spectrum
from fedbench_core.registry import registry
from fedbench_core.testing import CompressorContract
from fedbench_core.testing.examples import layout, moment, normal

FIRST, LAST = moment(0, 5), moment(4, 5)


def of_rank(rank: int, *shape: int, noise: float = 0.0) -> torch.Tensor:
    rows, columns = shape[0], torch.Size(shape[1:]).numel()
    product = normal(rows, rank) @ normal(rank, columns)
    return (product + noise * normal(rows, columns, seed=1)).reshape(shape)


def carried(part: Svd, payload: Payload, ctx=FIRST) -> tuple[Payload, Payload]:
    encoded = Payload.from_bytes(part.encode(payload, ctx, {}).to_bytes())
    return part.decode(encoded), encoded


def shapes(encoded: Payload) -> dict[str, list[int]]:
    return json.loads(encoded.meta.get("svd", "{}"))


def rank_of(encoded: Payload, name: str) -> int:
    rows, *rest = shapes(encoded)[name]
    return encoded.tensors[name].numel() // (rows + torch.Size(rest).numel())


class TestSvd(CompressorContract):
    name = "svd"


class TestAicc(CompressorContract):
    name = "svd"
    options = {"rank_rule": "aicc"}  # noqa: RUF012  # never written to


# the rank rules, on numbers that binary fractions hold exactly


@pytest.mark.parametrize(("threshold", "rank"), [(0.49, 1), (0.5, 2), (0.74, 2), (0.75, 3), (0.875, 4), (1.0, 4)])
def test_rank_is_the_least_whose_energy_is_more_than_the_threshold(threshold, rank) -> None:
    assert energy_rank(torch.tensor([4.0, 2.0, 1.0, 1.0], dtype=torch.float64), threshold) == rank


def test_rank_is_never_zero() -> None:
    assert energy_rank(torch.tensor([1.0], dtype=torch.float64), 1.0) == 1
    assert energy_rank(torch.ones(8, dtype=torch.float64), 1e-9) == 1


@pytest.mark.parametrize("converges", [True, False])
def test_energy_is_that_of_squared_values(converges, monkeypatch) -> None:
    if not converges:
        monkeypatch.setattr(torch.linalg, "eigh", _diverge)
    values = torch.tensor([3.0, 2.0, 1.0])  # squares 9, 4, 1: the first holds 64 % of the energy, 50 % of the sum
    energies, _ = spectrum(torch.diag(values))
    torch.testing.assert_close(energies, values.double().square())
    assert energy_rank(energies, 0.6) == 1


@pytest.mark.parametrize("seed", range(12))
def test_aicc_finds_rank_five_under_noise(seed) -> None:
    signal = normal(64, 5, seed=seed) @ normal(5, 576, seed=seed) + 0.5 * normal(64, 576, seed=seed + 50)
    assert aicc_rank(spectrum(signal)[0], signal.shape) == 5


def test_aicc_takes_one_of_pure_noise_and_the_rank_of_what_has_no_noise() -> None:
    noise, clean = normal(64, 576), of_rank(7, 64, 576)
    assert aicc_rank(spectrum(noise)[0], noise.shape) == 1
    assert aicc_rank(spectrum(clean)[0], clean.shape) == 7


def test_aicc_is_the_formula() -> None:
    """4 x 30: n = 120; k = 34, 65, 94; 2kn/(n-k-1) = 96, 288.9, 902.4. So one more rank pays if it divides RSS by
    exp(192.9 / 120) = 4.99 (with k = K(P + Q) + 1 it would be 6.87), and a third one if by exp(613.5 / 120) = 166.
    """
    for ratio, rank in ((4.8, 1), (5.2, 2)):
        energies = torch.tensor([20.0, ratio - 1, 0.99, 0.01], dtype=torch.float64)
        assert aicc_rank(energies, torch.Size([4, 30])) == rank
    # all ranks of a 2 x 2 matrix have more parameters than it has entries
    assert aicc_rank(torch.tensor([8.0, 4.0], dtype=torch.float64), torch.Size([2, 2])) == 2


@pytest.mark.parametrize(
    ("start", "end", "schedule", "expected"),
    [
        (0.95, 0.98, "linear", [0.95, 0.965, 0.98]),
        (0.9, 0.9, "linear", [0.9, 0.9, 0.9]),
        (0.9, 0.96, "code", [0.92, 0.94, 0.96]),
    ],
)
def test_the_energy_kept_rises_to_its_end(start, end, schedule, expected) -> None:
    part = Svd(energy_start=start, energy_end=end, schedule=schedule)
    assert [part.energy(moment(round_, 3)) for round_ in range(3)] == pytest.approx(expected)
    assert Svd().energy(moment(0, 1)) == 0.95


@given(st.floats(0.01, 1), st.floats(0, 1), st.integers(1, 40))
def test_the_schedule_hits_both_ends_and_never_falls(start, more, rounds) -> None:
    end = start + (1 - start) * more
    kept = [Svd(energy_start=start, energy_end=end).energy(moment(round_, rounds)) for round_ in range(rounds)]
    assert kept[0] == start
    assert kept[-1] == (end if rounds > 1 else start)
    assert all(a <= b + 1e-15 for a, b in pairwise(kept))


# what is lost, and what is not


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 40), st.floats(0.01, 0.999), st.booleans())
def test_the_error_keeps_to_its_bound(rows, columns, rank, threshold, transposed) -> None:
    matrix = of_rank(rank, rows, columns, noise=0.05)
    payload = Payload({"w": matrix.t() if transposed else matrix})
    back, encoded = carried(Svd(energy_start=threshold, energy_end=threshold), payload)
    error = (back.tensors["w"] - payload.tensors["w"]).norm() / matrix.norm()
    assert error <= (1 - threshold) ** 0.5 + 1e-5
    if "w" in shapes(encoded):
        assert 1 <= rank_of(encoded, "w") < min(rows, columns) + 1
    else:
        assert error == 0


@pytest.mark.parametrize("shape", [(64, 3, 3, 3), (128, 64, 3, 3), (128, 64, 1, 1), (96, 1, 5, 5), (8, 512), (40, 7)])
def test_ranks_and_values_are_those_of_a_full_decomposition(shape) -> None:
    tensor = of_rank(2, *shape, noise=0.2)
    back, encoded = carried(Svd(), Payload({"w": tensor}))
    left, values, right = torch.linalg.svd(tensor.reshape(shape[0], -1), full_matrices=False)
    rank = int((values.square().cumsum(0) / values.square().sum() <= 0.95).sum()) + 1
    assert rank_of(encoded, "w") == rank
    expected = ((left[:, :rank] * values[:rank]) @ right[:rank]).reshape(shape)
    torch.testing.assert_close(back.tensors["w"], expected, rtol=0, atol=1e-5 * float(tensor.norm()))


@pytest.mark.parametrize(
    ("shape", "at_start", "at_end"),
    [((128, 64), 49, 56), ((64, 576), 58, 62), ((128, 1152), 116, 123), ((256, 2304), 232, 246)],
)
def test_weight_like_matrices_need_nearly_full_rank_and_travel_as_they_are(shape, at_start, at_end) -> None:
    matrix = normal(*shape)
    energies, _ = spectrum(matrix if shape[0] < shape[1] else matrix.T)
    assert energy_rank(energies, 0.95) == pytest.approx(at_start, abs=1)
    assert energy_rank(energies, 0.98) == pytest.approx(at_end, abs=1)
    back, encoded = carried(Svd(), Payload({"w": matrix}), LAST)
    assert not encoded.meta
    assert torch.equal(back.tensors["w"], matrix)


@pytest.mark.parametrize(("shape", "break_even"), [((64, 576), 57), ((128, 64), 42), ((512, 4608), 460), ((8, 512), 7)])
def test_factors_travel_up_to_the_rank_at_which_they_are_smaller(shape, break_even) -> None:
    tensor = torch.empty(shape)
    assert svd._fits("w", tensor, break_even)
    assert not svd._fits("w", tensor, break_even + 1)


def test_a_matrix_that_saves_less_than_its_note_costs_travels_as_it_is() -> None:
    tensor = of_rank(1, 6, 7)  # 42 numbers against 13, so 116 bytes fewer, and a note of 14 more than the name
    for name, marked in (("w" * 80, True), ("w" * 120, False)):
        encoded = Svd().encode(Payload({name: tensor}), FIRST, {})
        assert bool(shapes(encoded)) == marked
    # factors of two thirds of the size, all else being equal
    assert len(Svd().encode(Payload({"w" * 80: tensor}), FIRST, {}).to_bytes()) < len(
        Payload({"w" * 80: tensor}).to_bytes()
    )


def test_one_by_one_shortcuts_and_small_heads_survive() -> None:
    tensors = {"shortcut.weight": normal(128, 64, 1, 1), "fc.weight": normal(8, 512), "three.weight": normal(3, 512)}
    for ctx in (FIRST, LAST):
        back, _ = carried(Svd(), Payload(tensors), ctx)
        assert all(torch.equal(back.tensors[name], tensor) for name, tensor in tensors.items())


def test_a_model_of_three_classes_round_trips_through_two_clients() -> None:
    tensors = {"conv.weight": of_rank(1, 16, 3, 3, 3), "fc.weight": of_rank(1, 3, 64), "fc.bias": normal(3)}
    for _ in range(2):  # public code recognizes factors by a length of three, and expands what it shares in place
        back, encoded = carried(Svd(), Payload(tensors, {"owner": "3"}))
        assert shapes(encoded) == {"conv.weight": [16, 3, 3, 3], "fc.weight": [3, 64]}
        assert layout(back) == layout(Payload(tensors))
        assert torch.equal(back.tensors["fc.bias"], tensors["fc.bias"])
        torch.testing.assert_close(back.tensors["fc.weight"], tensors["fc.weight"], rtol=0, atol=1e-5)


def test_of_zeros_nothing_travels() -> None:
    payload = Payload({"w": torch.zeros(16, 8, 3, 3), "v": torch.zeros(50, 20)})
    back, encoded = carried(Svd(), payload)
    assert sum(tensor.numel() for tensor in encoded.tensors.values()) == 0
    assert back.to_bytes() == payload.to_bytes()


def test_full_energy_is_exact() -> None:
    tensors = {"w": of_rank(2, 64, 64), "conv": of_rank(3, 32, 16, 3, 3)}
    back, encoded = carried(Svd(energy_start=1, energy_end=1), Payload(tensors))
    assert not encoded.meta
    assert all(torch.equal(back.tensors[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    ("scale", "dtype"), [(1e-30, torch.float32), (1e30, torch.float32), (1e-200, torch.float64), (1e200, torch.float64)]
)
def test_the_size_of_the_numbers_does_not_matter(scale, dtype) -> None:
    tensor = of_rank(2, 64, 64).to(dtype)
    back, encoded = carried(Svd(), Payload({"w": tensor * scale}))
    plain, _ = carried(Svd(), Payload({"w": tensor}))
    assert rank_of(encoded, "w") <= 2
    torch.testing.assert_close(back.tensors["w"] / scale, plain.tensors["w"])


def test_factors_beyond_the_range_of_single_precision_do_not_travel() -> None:
    payload = Payload({"w": torch.full((64, 64), 3e38)})
    assert carried(Svd(), payload)[0].to_bytes() == payload.to_bytes()


def test_the_bytes_of_a_model_of_two_layers_are_those_worked_by_hand() -> None:
    tensors = {
        "a.weight": of_rank(2, 40, 10, 3, 3),
        "a.bias": normal(40),
        "b.weight": of_rank(1, 3, 640),
        "b.bias": normal(3),
    }
    blob = Svd(energy_start=0.999, energy_end=0.999).encode(Payload(tensors), FIRST, {}).to_bytes()
    header = int.from_bytes(blob[:8], "little")
    values = 2 * (40 + 90) + 40 + 1 * (3 + 640) + 3
    assert len(blob) == 8 + header + 4 * values
    assert header < 8 * 64
    assert len(Payload(tensors).to_bytes()) > 4 * (40 * 90 + 40 + 3 * 640 + 3)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 30), st.integers(0, 12)), max_size=6))
def test_a_blob_is_never_larger_than_dense_but_for_its_notes(layers) -> None:
    tensors = {f"layer{i}.weight": of_rank(rank, rows, columns) for i, (rows, columns, rank) in enumerate(layers)}
    payload = Payload(tensors)
    for ctx in (FIRST, LAST):
        assert len(Svd().encode(payload, ctx, {}).to_bytes()) <= len(payload.to_bytes()) + 64


# what can go wrong


def test_a_decomposition_that_does_not_converge_is_done_in_full(monkeypatch) -> None:
    payload = Payload({"w": of_rank(2, 30, 40)})
    expected, _ = carried(Svd(), payload)
    monkeypatch.setattr(torch.linalg, "eigh", _diverge)
    back, encoded = carried(Svd(), payload)
    assert shapes(encoded) == {"w": [30, 40]}
    torch.testing.assert_close(back.tensors["w"], expected.tensors["w"], rtol=0, atol=1e-5)


def test_what_has_no_decomposition_travels_whole_and_is_named(monkeypatch) -> None:
    payload = Payload({"w": of_rank(2, 30, 40), "b": normal(3)}, {"owner": "1"})
    monkeypatch.setattr(torch.linalg, "eigh", _diverge)
    monkeypatch.setattr(torch.linalg, "svd", _diverge)
    back, encoded = carried(Svd(), payload)
    assert encoded.meta == {"owner": "1", NOTED: "svd found no decomposition of w at times and sent it whole."}
    assert back.to_bytes() == payload.to_bytes()


def _diverge(*_args, **_options):
    raise torch.linalg.LinAlgError("did not converge")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_refused_by_name(value) -> None:
    tensor = normal(8, 9)
    tensor[2, 3] = value
    with pytest.raises(RunError, match=r"'conv\.weight' holds NaN or infinity"):
        Svd().encode(Payload({"conv.weight": tensor}), FIRST, {})


@pytest.mark.parametrize("key", ["svd", NOTED])
def test_a_meta_entry_of_its_own_name_is_refused(key) -> None:
    with pytest.raises(RunError, match="Rename it"):
        Svd().encode(Payload({}, {key: "mine"}), FIRST, {})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"energy_start": 0.99}, r"energy_start=0.99 and energy_end=0.98; expected"),
        ({"energy_end": 0.5}, r"energy_start <= energy_end"),
        ({"energy_start": 0}, "energy_start"),
        ({"energy_end": 1.01}, "energy_end"),
        ({"rank_rule": "bic"}, "rank_rule"),
        ({"schedule": "cosine"}, "schedule"),
    ],
)
def test_options_out_of_range_are_refused(options, says) -> None:
    with pytest.raises(RequestError, match=says):
        registry().make("compressor", "svd", options)


@pytest.mark.parametrize("options", [{"energy_start": -0.1}, {"energy_end": 1.5}])
def test_options_out_of_range_are_refused_without_a_registry_too(options) -> None:
    with pytest.raises(ValueError, match="expected 0 < energy_start"):
        Svd(**options)
