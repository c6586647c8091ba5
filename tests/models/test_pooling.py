import pytest
import torch
from torch import tensor

from headtail.models.pooling import POOLINGS

# Two texts of two lengths; every hidden unit counts its real tokens, and padding is far away.
JUNK = 1000.0
RIGHT = tensor([[[1.0], [2.0], [6.0]], [[4.0], [8.0], [JUNK]]]), tensor([[1, 1, 1], [1, 1, 0]])
LEFT = tensor([[[1.0], [2.0], [6.0]], [[JUNK], [4.0], [8.0]]]), tensor([[1, 1, 1], [0, 1, 1]])
BY_HAND = {"first": [1.0, 4.0], "last": [6.0, 8.0], "masked_mean": [3.0, 6.0]}


@pytest.mark.parametrize(("hidden", "attention_mask"), [RIGHT, LEFT], ids=["padded right", "padded left"])
@pytest.mark.parametrize("pooling", BY_HAND)
def test_by_hand(pooling, hidden, attention_mask):
    assert POOLINGS[pooling](hidden, attention_mask).flatten().tolist() == BY_HAND[pooling]


def test_the_plain_mean_averages_the_padding_in():
    assert POOLINGS["mean"](*RIGHT).flatten().tolist() == pytest.approx([3.0, (4 + 8 + JUNK) / 3])


@pytest.mark.parametrize("pooling", [name for name in POOLINGS if name != "mean"])
def test_more_padding_on_either_side_changes_nothing(pooling):
    hidden, attention_mask = torch.randn(2, 5, 3), tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])
    expected = POOLINGS[pooling](hidden, attention_mask)
    for sides in ((4, 0), (0, 4), (1, 2)):
        wide = torch.nn.functional.pad(hidden, (0, 0, *sides), value=JUNK)
        padded = POOLINGS[pooling](wide, torch.nn.functional.pad(attention_mask, sides))
        torch.testing.assert_close(padded, expected)    # a mean adds the same numbers in another order


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("dtype", [torch.bool, torch.long])
def test_a_mask_of_either_kind_and_a_gradient_for_real_tokens_only(pooling, dtype):
    hidden = RIGHT[0].clone().requires_grad_()
    POOLINGS[pooling](hidden, RIGHT[1].to(dtype)).sum().backward()
    assert hidden.grad.sum().item() == pytest.approx(2)
    assert (hidden.grad[1, 2] != 0).item() == (pooling == "mean")
