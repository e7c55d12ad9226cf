from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api import Training
from fedbench_core.api.training import Schedule
from fedbench_core.testing.examples import moment

KINDS = Schedule.__args__


@pytest.mark.parametrize(
    ("schedule", "warmup", "factors"),
    [
        ("constant", 0, [1, 1, 1, 1]),
        ("constant", 3, [1 / 4, 2 / 4, 3 / 4, 1]),
        ("cosine", 0, [1, (1 + 2**-0.5) / 2, 1 / 2, (1 - 2**-0.5) / 2]),  # cos of 0, 45, 90 and 135 degrees
        ("cosine", 1, [1 / 2, 1, 3 / 4, 1 / 4]),  # cos of 0, 60 and 120 degrees
        ("step", 0, [1, 1, 0.1, 0.01]),
        ("step", 2, [1 / 3, 2 / 3, 1, 0.1]),
    ],
)
def test_schedule_over_four_rounds(schedule, warmup, factors) -> None:
    training = Training(schedule=schedule, warmup=warmup)
    assert [training.factor(round_, 4) for round_ in range(4)] == pytest.approx(factors)


@given(st.sampled_from(KINDS), st.integers(1, 300), st.data())
def test_factor_is_at_most_one_and_never_zero(schedule, rounds, data) -> None:
    training = Training(schedule=schedule, warmup=data.draw(st.integers(0, rounds - 1)))
    factors = [training.factor(round_, rounds) for round_ in range(rounds)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1
    after = factors[training.warmup :]
    assert after == sorted(after, reverse=True)


def test_context_has_the_scheduled_rate_and_a_changed_rate_is_scheduled_too() -> None:
    ctx = replace(moment(2, rounds=4), training=Training(lr=0.4, schedule="cosine"))
    assert ctx.lr == pytest.approx(0.2)
    assert ctx.with_training(lr=0.1).lr == pytest.approx(0.05)
    assert ctx.with_training(lr=0.1, schedule="constant").lr == 0.1


def test_changed_recipe_changes_the_loss_of_the_task() -> None:
    ctx = replace(moment(), training=Training(class_weights="balanced"))
    ctx = replace(ctx, task=replace(ctx.task, weights=(1.0, 2.0, 3.0)))
    assert ctx.with_training(label_smoothing=0.1).task == replace(ctx.task, smoothing=0.1)
    assert ctx.with_training(class_weights="none").task.weights == ()
