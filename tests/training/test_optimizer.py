"""Groups, rates and updates that can be checked by hand, on a ranker of eight numbers and on tiny encoders."""

import math

import pytest
import torch
from tests.models import tiny
from torch import nn

from headtail.errors import ConfigError
from headtail.models.ranker import Ranker
from headtail.training.optimizer import OPTIMIZERS, build_optimizer


class Handmade:
    """Two layers of one matrix and one norm each, an embedding beside a learned position, a last norm and a head."""

    def __init__(self):
        shapes = {
            "embeddings": [(3, 2), (4, 2), (2,)],
            "layer_0": [(2, 2), (2,)],
            "layer_1": [(2, 2), (2,)],
            "top": [(2,)],
            "head": [(1, 2), (1,)],
        }
        self._layers = {name: [nn.Parameter(torch.ones(shape)) for shape in found] for name, found in shapes.items()}

    def layers(self):
        return self._layers

    def parts(self):
        embedding, *rest = self._layers["embeddings"]
        encoder = rest + [p for name in ("layer_0", "layer_1", "top") for p in self._layers[name]]
        return {"embeddings": [embedding], "encoder": encoder, "head": self._layers["head"]}


def rates(optimizer):
    return [(group["layer"], group["part"], group["params"][0].ndim, group["lr"]) for group in optimizer.param_groups]


def test_every_part_of_every_layer_has_its_rate():
    optimizer = build_optimizer(Handmade(), embedding_lr=1.0, encoder_lr=10.0, head_lr=100.0, layer_decay=0.5)
    assert rates(optimizer) == [
        ("embeddings", "embeddings", 2, 0.25),    # two layers above
        ("embeddings", "encoder", 2, 2.5),
        ("embeddings", "encoder", 1, 2.5),
        ("layer_0", "encoder", 2, 5.0),
        ("layer_0", "encoder", 1, 5.0),
        ("layer_1", "encoder", 2, 10.0),
        ("layer_1", "encoder", 1, 10.0),
        ("top", "encoder", 1, 10.0),
        ("head", "head", 2, 100.0),
        ("head", "head", 1, 100.0),
    ]


def test_without_layer_decay_the_rates_are_those_of_the_parts():
    found = {(part, rate) for _, part, _, rate in rates(build_optimizer(Handmade()))}
    assert found == {("embeddings", 5e-6), ("encoder", 5e-5), ("head", 2e-4)}


@pytest.mark.parametrize("name", tiny.BUILDERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_trainable_weight_stands_in_one_group_and_norms_and_biases_are_not_decayed(name, optimizer, checkpoint):
    ranker = Ranker.from_encoder(checkpoint(name))
    groups = build_optimizer(ranker, name=optimizer, weight_decay=0.1, layer_decay=0.9).param_groups
    every = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(every) == sorted(id(parameter) for parameter in ranker.parameters() if parameter.requires_grad)
    for group in groups:
        assert all(group["weight_decay"] == (0.1 if p.ndim >= 2 else 0.0) for p in group["params"])
    layers = [group["layer"] for group in groups]
    assert list(dict.fromkeys(layers)) == list(ranker.layers())
    encoder = [group["lr"] for group in groups if group["part"] == "encoder"]
    assert encoder == sorted(encoder)    # never faster below
    assert encoder[-1] == 5e-5


def test_the_same_ranker_built_again_takes_the_saved_state(checkpoint):
    one, two = (Ranker.from_encoder(checkpoint("t5")) for _ in range(2))
    options = {"layer_decay": 0.5}
    first, second = build_optimizer(one, **options), build_optimizer(two, **options)
    for parameter in one.parameters():
        parameter.grad = torch.ones_like(parameter)
    first.step()
    second.load_state_dict(first.state_dict())
    names = {id(parameter): name for ranker in (one, two) for name, parameter in ranker.named_parameters()}
    told = [[(group["layer"], *(names[id(p)] for p in group["params"])) for group in found.param_groups] for found in (first, second)]
    assert told[0] == told[1]


def test_adamw_by_hand():
    """The first step of Adam is the rate times the sign; beta2 shows in the second: 2 after 1, and weight decay in both."""
    weight = nn.Parameter(torch.tensor([[1.0]]))
    ranker = type("", (), {"parts": lambda _: {"head": [weight]}, "layers": lambda _: {"head": [weight]}})()
    optimizer = build_optimizer(ranker, head_lr=0.1, weight_decay=0.5)
    expected, mean, square = 1.0, 0.0, 0.0
    for step, gradient in enumerate((1.0, 2.0), 1):
        weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        mean, square = 0.9 * mean + 0.1 * gradient, 0.97 * square + 0.03 * gradient**2
        update = mean / (1 - 0.9**step) / (math.sqrt(square / (1 - 0.97**step)) + 1e-8)
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * update
        assert weight.item() == pytest.approx(expected, rel=1e-6)


def adafactor(weight, gradients, lr, weight_decay=0.0):
    """Shazeer & Stern's algorithms 4 and 6 with T5X's external rate, in float64."""
    weight, rows, columns = weight.double().clone(), 0.0, 0.0
    for step, gradient in enumerate(gradients, 1):
        square, kept = gradient.double() ** 2, 1 - step**-0.8
        rows = kept * rows + (1 - kept) * square.mean(1)
        columns = kept * columns + (1 - kept) * square.mean(0)
        update = gradient.double() / (torch.outer(rows, columns) / rows.mean()).sqrt()
        update /= max(1.0, update.square().mean().sqrt().item())
        scale = max(1e-3, weight.square().mean().sqrt().item())
        weight = weight * (1 - lr * weight_decay) - lr * scale * update
    return weight


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-6])    # of the gradients: the second is that of 100 M weights clipped to 1
def test_adafactor_is_the_papers_at_any_size_of_gradient(size):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 3, generator=generator)
    gradients = [size * scale * torch.randn(4, 3, generator=generator) for scale in (3, 1, 0.2, 0.1)]
    weight = nn.Parameter(start.clone())
    ranker = type("", (), {"parts": lambda _: {"head": [weight]}, "layers": lambda _: {"head": [weight]}})()
    optimizer = build_optimizer(ranker, name="adafactor", head_lr=0.01, weight_decay=0.1)
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
    torch.testing.assert_close(weight.double(), adafactor(start, gradients, 0.01, 0.1), rtol=1e-5, atol=1e-6)
    assert (weight - start).abs().max() > 0.01


def test_adafactor_leaves_the_rows_of_unseen_tokens_alone():
    weight = nn.Parameter(torch.ones(3, 2))
    ranker = type("", (), {"parts": lambda _: {"head": [weight]}, "layers": lambda _: {"head": [weight]}})()
    optimizer = build_optimizer(ranker, name="adafactor", head_lr=0.01, weight_decay=0.0)
    weight.grad = torch.tensor([[0.0, 0.0], [1e-4, 2e-4], [0.0, 0.0]])
    optimizer.step()
    assert weight[0].tolist() == weight[2].tolist() == [1.0, 1.0]
    assert (weight[1] < 1).all()


def test_an_unknown_optimizer_is_one_line():
    with pytest.raises(ConfigError, match="unknown optimizer 'adamv', did you mean 'adamw'"):
        build_optimizer(Handmade(), name="adamv")
