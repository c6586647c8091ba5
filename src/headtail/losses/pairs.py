"""Which docs of a list are compared, laid out so that no pair is formed which cannot count.

One positive among 1,000 docs makes 999 pairs, not a million; a head of 5 docs meets 5,000.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """Pairs of docs whose labels differ, [B, M, L]: M chosen docs of each list against its L docs."""

    places: Tensor          # [B, M], where the chosen docs stand in their list
    weights: Tensor         # [B, M, L] >= 0: 0 where there is no pair, half where the same pair stands here twice
    signs: Tensor | None    # [B, M, L], -1 where the chosen doc is the worse of the two; None where it never is

    @classmethod
    def better(cls, labels: Tensor, mask: Tensor) -> Pairs:
        """Every pair once: the docs above the lowest label of their list against the docs of a lower label."""
        lowest = labels.masked_fill(~mask, float("inf")).amin(1, keepdim=True)
        above = mask & (labels > lowest)
        places = places_of(above)                                                            # [B, M]
        chosen = labels.masked_fill(~above, float("-inf")).gather(1, places)[:, :, None]
        others = labels.masked_fill(~mask, float("inf"))[:, None, :]
        return cls(places, (chosen > others).to(labels.dtype), None)

    @classmethod
    def touching(cls, head: Tensor, labels: Tensor, partners: Tensor) -> Pairs:
        """Pairs of a doc of `head` [B, L] with a doc of `partners` [B, L]."""
        places = places_of(head)                                                             # [B, M]
        signs = torch.sign(labels.gather(1, places)[:, :, None] - labels[:, None, :])        # [B, M, L]
        once = 1 - 0.5 * head.to(labels.dtype)    # two docs of the head meet twice
        chosen = head.gather(1, places)[:, :, None] & partners[:, None, :]
        return cls(places, chosen * signs.abs() * once[:, None, :], signs)

    def differences(self, values: Tensor) -> Tensor:
        """[B, L] -> [B, M, L], value of the chosen doc minus that of the other."""
        return values.gather(1, self.places)[:, :, None] - values[:, None, :]

    def margins(self, scores: Tensor) -> Tensor:
        """[B, L] -> [B, M, L], score of the better doc minus that of the worse."""
        differences = self.differences(scores)
        return differences if self.signs is None else differences * self.signs


def places_of(chosen: Tensor) -> Tensor:
    """[B, L] bool -> [B, M], the places of the chosen docs first; M is the largest number of them, at least 1."""
    most = max([1, *chosen.sum(1).tolist()])
    return chosen.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
