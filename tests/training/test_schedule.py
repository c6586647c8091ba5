"""Factors of the learning rate, by hand."""

import pytest

from headtail.training.schedule import SCHEDULES, constant, cosine, linear


def test_schedules_by_hand():
    assert [linear(step, steps=6, warmup=2) for step in range(7)] == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25, 0])
    assert [constant(step, steps=6, warmup=2) for step in range(5)] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])
    half = 0.5**0.5    # cosine of 45 degrees
    expected = [1 / 3, 2 / 3, 1, (1 + half) / 2, 0.5, (1 - half) / 2, 0]
    assert [cosine(step, steps=6, warmup=2) for step in range(7)] == pytest.approx(expected)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (10, 0), (10, 3), (10, 10), (5, 50)])
def test_a_factor_lies_between_0_and_1_and_every_step_learns(name, steps, warmup):
    factors = [SCHEDULES[name](step, steps=steps, warmup=warmup) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
