"""Scores off cross-evaluation matrices: those of many are those of each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.federation.matrix import DECILE_FROM, read_matrices, read_matrix


@given(
    clients=st.sampled_from([1, 2, 5, DECILE_FROM, 2 * DECILE_FROM + 1]),
    runs=st.integers(0, 3),
    gaps=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_scores_of_many_matrices_are_those_of_each(clients, runs, gaps, seed) -> None:
    rng = np.random.default_rng(seed)
    matrices = rng.random((runs, clients, clients))
    matrices[rng.random(matrices.shape) < gaps] = np.nan
    matrices[:, rng.random(clients) < gaps / 2] = np.nan  # clients without a model
    metrics, undefined = read_matrices(matrices)
    for at, matrix in enumerate(matrices):
        expected, missing = read_matrix(matrix)
        found = {name: values[at] for name, values in metrics.items() if values[at] is not None}
        assert found == pytest.approx({name: value for name, value in expected.items() if value is not None})
        assert {name: values[at] for name, values in undefined.items()} == missing
