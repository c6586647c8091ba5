"""Each loss forward and backward, side by side with sentence-transformers' loss of the same kind, on scores alone.

    python benchmarks/losses.py

Both sides get the same scores; the encoder is a stub that hands them out. `loss` is ours as the training loop calls it,
on [B, L]; `in its place` is ours inside sentence-transformers, through the same columns, stub and padding as its own
loss, so that the ratio beside it compares like with like. `list_mle` breaks ties at random, as its peer does not.

Rounds are interleaved; times are medians over the rounds, ratios the median of each round's ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import losses as st
from torch import Tensor, nn

from headtail.integrations.sentence_transformers import RankingLoss
from headtail.losses import LOSSES, takes_teacher

SHAPES = ((16, 36), (4, 1000))
POSITIVES = (1, 10)    # in a list


class Scores(CrossEncoder):
    """An encoder whose scores are there already: what is timed is the loss."""

    def __init__(self, scores: Tensor) -> None:
        nn.Module.__init__(self)
        self.scores = scores    # [N], a leaf

    num_labels = 1
    device = torch.device("cpu")

    def preprocess(self, pairs: Any, **_: Any) -> dict[str, Any]:
        return {}

    def forward(self, tokens: Any) -> dict[str, Tensor]:
        return {"scores": self.scores}


Run = Callable[[], Tensor]

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *[(name, {}) for name in LOSSES if name != "lambda_loss"],
    *[("lambda_loss", {"weights": weights}) for weights in ("lambdarank", "ndcg_loss2", "ndcg_loss2++")],
    *[("lambda_loss", {"weights": weights, "top_k": 5}) for weights in ("lambdarank", "ndcg_loss2", "ndcg_loss2++")],
    ("hybrid", {"head_by": "scores"}),
]
SCHEMES = {"lambdarank": st.LambdaRankScheme, "ndcg_loss2": st.NDCGLoss2Scheme, "ndcg_loss2++": st.NDCGLoss2PPScheme}


def peer(name: str, options: dict[str, Any], model: Any) -> nn.Module | None:
    """Their loss of the same kind, if there is one, in one pass over the pairs."""
    if name == "lambda_loss":
        return st.LambdaLoss(model, SCHEMES[options["weights"]](), k=options.get("top_k"), mini_batch_size=-1)
    found: dict[str, Callable[[], nn.Module]] = {
        "bce": lambda: st.BinaryCrossEntropyLoss(model),
        "mse": lambda: st.MSELoss(model),
        "pairwise_logistic": lambda: st.RankNetLoss(model, mini_batch_size=-1),
        "listnet": lambda: st.ListNetLoss(model, mini_batch_size=-1),
        "list_mle": lambda: st.ListMLELoss(model, mini_batch_size=-1, respect_input_order=False),
    }
    return found[name]() if name in found else None


def sides(name: str, options: dict[str, Any], scores: Tensor, labels: Tensor) -> tuple[dict[str, Run], Tensor]:
    """What is timed, and the leaf whose gradient each leaves."""
    lists, docs = labels.shape
    leaf = scores.flatten().clone().requires_grad_()
    mask, rows = torch.ones(lists, docs, dtype=torch.bool), list(labels)
    queries, columns = ["query"] * lists, [["doc"] * docs] * lists
    teacher = {"teacher": labels * 3} if takes_teacher(name) else {}
    ours = RankingLoss(Scores(leaf), name, **options)
    inputs = [queries, columns, *([list(teacher["teacher"])] if teacher else [])]
    made: dict[str, Run] = {
        "loss": lambda: LOSSES[name](leaf.view(lists, docs), labels, mask, **options, **teacher),
        "in its place": lambda: ours(inputs, rows),
    }
    theirs = peer(name, options, Scores(leaf))
    if theirs is not None and name in ("bce", "mse"):
        flat = [["query"] * (lists * docs), ["doc"] * (lists * docs)], labels.flatten()
        made["theirs"] = lambda: theirs(*flat)
    elif theirs is not None:
        made["theirs"] = lambda: theirs([queries, columns], rows)
    return made, leaf


def seconds(run: Run, leaf: Tensor, repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        leaf.grad = None
        run().backward()
    return (time.perf_counter() - started) / repeats


def measure(name: str, options: dict[str, Any], lists: int, docs: int, positives: int, rounds: int) -> str:
    drawn = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(lists, docs, generator=drawn), torch.zeros(lists, docs)
    labels.scatter_(1, torch.rand(lists, docs, generator=drawn).argsort(1)[:, :positives], 1.0)
    made, leaf = sides(name, options, scores, labels)
    repeats = {side: max(1, int(0.02 / seconds(run, leaf, 2))) for side, run in made.items()}    # about 20 ms a round
    times: dict[str, list[float]] = {side: [] for side in made}
    for _ in range(rounds):
        for side, run in made.items():
            times[side].append(seconds(run, leaf, repeats[side]))
    told = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
    cells = [f"{statistics.median(times[side]) * 1e3:.3f}" if side in times else "" for side in ("loss", "in its place", "theirs")]
    for side in ("loss", "in its place"):
        both = zip(times.get("theirs", []), times[side], strict=False)
        ratios = [theirs / ours for theirs, ours in both]
        cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
    return f"| {told} | {lists} x {docs}, {positives} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; milliseconds, forward and backward\n")
    print("| loss | lists x docs, positives | loss | in its place | theirs | theirs / loss | theirs / in its place |")
    print("|---|---|---|---|---|---|---|")
    for lists, docs in SHAPES:
        for positives in POSITIVES:
            for name, options in OPTIONS:
                print(measure(name, options, lists, docs, positives, rounds), flush=True)


if __name__ == "__main__":
    main()
