"""A running mean of two numbers by hand, swapped in and out."""

import pytest
import torch
from torch import nn

from headtail.errors import ConfigError, TrainingError
from headtail.training.ema import Ema


@pytest.fixture
def weights():
    return {"a": nn.Parameter(torch.tensor([0.0, 10.0])), "b": nn.Parameter(torch.tensor([[1.0]]))}


def put(weights, *values):
    with torch.no_grad():
        weights["a"].copy_(torch.tensor(values))


def test_the_first_steps_and_then_the_decay_by_hand(weights):
    ema = Ema(weights, decay=0.2)
    put(weights, 11.0, 21.0)
    ema.update(1)    # (1 + 1) / (10 + 1) = 2 / 11 is less than .2
    assert ema.state()["a"].tolist() == pytest.approx([9.0, 19.0])    # 0 * 2/11 + 11 * 9/11; 10 * 2/11 + 21 * 9/11
    put(weights, 19.0, 29.0)
    ema.update(2)    # 3 / 12 is more
    assert ema.state()["a"].tolist() == pytest.approx([17.0, 27.0])
    assert ema.state()["b"].tolist() == [[1.0]]


def test_weights_that_stand_still_are_their_own_mean_and_without_decay_the_mean_is_the_weights(weights):
    still, none = Ema(weights, decay=0.999), Ema(weights, decay=0.0)
    for step in range(1, 30):
        still.update(step)
    assert still.state()["a"].tolist() == [0.0, 10.0]
    put(weights, 3.0, 4.0)
    none.update(30)
    assert none.state()["a"].tolist() == [3.0, 4.0]


def test_the_mean_stands_in_the_weights_and_the_weights_come_back_bit_for_bit(weights):
    ema = Ema(weights, decay=0.5)
    put(weights, 0.1, 1 / 3)
    ema.update(100)
    live, mean = weights["a"].detach().clone(), ema.state()["a"].clone()
    with ema.swapped():
        assert torch.equal(weights["a"].detach(), mean)
        assert not torch.equal(mean, live)
    assert torch.equal(weights["a"].detach(), live)
    assert torch.equal(ema.state()["a"], mean)
    with pytest.raises(RuntimeError, match="full disk"), ema.swapped():
        raise RuntimeError("full disk")
    assert torch.equal(weights["a"].detach(), live)


def test_the_weights_go_on_learning_after_a_swap(weights):
    ema = Ema(weights, decay=0.5)
    optimizer = torch.optim.SGD(weights.values(), lr=1.0)
    with ema.swapped():
        pass
    (weights["a"].sum() + weights["b"].sum()).backward()
    optimizer.step()
    assert weights["a"].tolist() == [-1.0, 9.0]


def test_the_mean_of_bf16_weights_is_kept_in_fp32():
    weights = {"a": torch.ones(3, dtype=torch.bfloat16)}
    ema = Ema(weights, decay=0.9)
    weights["a"].fill_(1.0078125)    # the next number of bf16
    ema.update(1000)
    assert ema.state()["a"].dtype == torch.float32
    assert ema.state()["a"].tolist() == pytest.approx([1.00078125] * 3)
    with ema.swapped():
        assert weights["a"].tolist() == [1.0] * 3
    assert weights["a"].tolist() == [1.0078125] * 3


def test_a_saved_mean_goes_on_as_if_nothing_had_happened(weights):
    one = Ema(weights, decay=0.5)
    put(weights, 5.0, 5.0)
    one.update(50)
    saved = {name: tensor.clone() for name, tensor in one.state().items()}
    other = Ema(weights, decay=0.5)
    other.load(saved)
    put(weights, 7.0, 1.0)
    for ema in (one, other):
        ema.update(51)
    assert torch.equal(one.state()["a"], other.state()["a"])
    assert not torch.equal(saved["a"], other.state()["a"])    # what was loaded is a copy


def test_a_mean_of_other_weights_and_a_decay_out_of_range_are_one_line(weights):
    ema = Ema(weights, decay=0.5)
    with pytest.raises(TrainingError, match=r"fits another ranker: 1 tensors differ \(b"):
        ema.load({"a": torch.zeros(2)})
    with pytest.raises(TrainingError, match=r"2 tensors differ \(a"):
        ema.load({"a": torch.zeros(3), "b": torch.zeros(1, 1), "c": torch.zeros(1)})
    with pytest.raises(TrainingError, match=r"1 tensors differ \(a"):
        ema.load({"a": torch.zeros(1), "b": torch.zeros(1, 1)})    # which torch would spread over both
    for decay in (1.0, -0.1):
        with pytest.raises(ConfigError, match="expected a decay from 0 to below 1"):
            Ema(weights, decay=decay)
