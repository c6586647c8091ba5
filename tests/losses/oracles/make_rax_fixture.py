"""rax.json: values and gradients of 50 lists by rax (JAX), which the losses of headtail are compared with.

    python make_rax_fixture.py             write rax.json beside this script
    python make_rax_fixture.py --check     compute again and compare; exit status 1 if a number differs

Needs the packages of requirements.txt and nothing of headtail. rax is called on one list at a time, without padding.
Its losses are sums over docs or pairs, or weighed by the list's length; what each is divided by so that it is the
definition in docs/losses.md stands beside it in ORACLES. Where rax defines something else, or nothing:

- focal, margin_mse, listnet, hybrid, plackett_luce_head_tail: not in rax.
- pairwise_mse_loss of rax takes the labels for the teacher and every ordered pair; margin_mse takes a teacher.
- ListMLE of rax sums the factors, stops nowhere and breaks ties by a key: it is given the labels with the ties settled.
- NDCG-Loss2++ is not in rax as one: its two weights are added here as the paper adds them.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rax

jax.config.update("jax_enable_x64", True)

FIXTURE = Path(__file__).with_name("rax.json")
LISTS, SEED = 50, 0
LENGTHS = (1, 2, 3, 5, 8, 13, 21, 30)    # few, since JAX compiles each loss once for each
Loss = Callable[[Any, Any, Any], Any]    # scores, labels, ties [n] -> scalar


def random_lists() -> list[dict[str, list[float]]]:
    """Lists of 1 to 30 docs; no two scores tie, every fifth list has nothing relevant."""
    random = np.random.default_rng(SEED)
    made = []
    for number in range(LISTS):
        n = LENGTHS[number % len(LENGTHS)]
        scores = random.choice(np.arange(-4000, 4001), n, replace=False) / 1000
        labels = np.zeros(n) if number % 5 == 0 else random.integers(0, 4, n) * (random.random(n) < random.choice([0.2, 1.0]))
        ties = random.permutation(n)
        made.append({"scores": scores.tolist(), "labels": [float(y) for y in labels], "ties": [float(t) for t in ties]})
    return made


def shares(labels: Any) -> Any:
    return labels / jnp.maximum(labels.sum(), 1e-9)


def pairs(labels: Any) -> Any:
    return jnp.maximum((labels[:, None] > labels[None, :]).sum(), 1)


def pairwise(loss: Callable[..., Any], scores: Any, labels: Any, **options: Any) -> Any:
    return loss(scores, labels, reduce_fn=jnp.sum, **options)


def weighed(*weights: tuple[float, Callable[..., Any]], topn: int | None = None) -> Loss:
    """Logistic pairs under rax's weights for nDCG; it multiplies them by the length of the list, which is taken back."""
    def loss(scores: Any, labels: Any, ties: Any) -> Any:
        def lambdaweight(*given: Any, **more: Any) -> Any:
            made = [share * weight(*given, normalize=True, topn=topn, **more) for share, weight in weights]
            return jax.lax.stop_gradient(sum(made)) / len(scores)

        return pairwise(rax.pairwise_logistic_loss, scores, labels, lambdaweight_fn=lambdaweight)

    return loss


def approximate(temperature: float) -> Loss:
    """What rax.approx_t12n(rax.ndcg_metric) does; that function itself needs a JAX that still has `jax.util`."""
    rank_fn = functools.partial(rax.utils.approx_ranks, step_fn=lambda x: jax.nn.sigmoid(x / temperature))
    return lambda s, y, ties: -rax.ndcg_metric(s, y, rank_fn=rank_fn, reduce_fn=None)


# name, options of headtail -> rax's loss of one list, divided by what makes it a mean as in docs/losses.md
ORACLES: list[tuple[str, dict[str, Any], Loss]] = [
    ("bce", {}, lambda s, y, ties: rax.pointwise_sigmoid_loss(s, y, reduce_fn=jnp.sum) / len(s)),    # clips labels to 0 or 1
    ("mse", {}, lambda s, y, ties: rax.pointwise_mse_loss(s, y, reduce_fn=jnp.sum) / len(s)),
    ("softmax", {}, lambda s, y, ties: rax.softmax_loss(s, shares(y), reduce_fn=None)),    # does not scale labels itself
    ("poly1", {}, lambda s, y, ties: rax.poly1_softmax_loss(s, shares(y), reduce_fn=None)),
    ("poly1", {"epsilon": 0.3}, lambda s, y, ties: rax.poly1_softmax_loss(s, shares(y), epsilon=0.3, reduce_fn=None)),
    ("pairwise_logistic", {}, lambda s, y, ties: pairwise(rax.pairwise_logistic_loss, s, y) / pairs(y)),
    ("hinge", {}, lambda s, y, ties: pairwise(rax.pairwise_hinge_loss, s, y) / pairs(y)),
    ("list_mle", {}, lambda s, y, ties: rax.listmle_loss(s, y - ties / 1000, reduce_fn=None) / len(s)),
    ("lambda_loss", {}, weighed((1.0, rax.dcg_lambdaweight))),
    ("lambda_loss", {"top_k": 5}, weighed((1.0, rax.dcg_lambdaweight), topn=5)),
    ("lambda_loss", {"weights": "ndcg_loss2"}, weighed((1.0, rax.dcg2_lambdaweight))),
    ("lambda_loss", {"weights": "ndcg_loss2", "top_k": 5}, weighed((1.0, rax.dcg2_lambdaweight), topn=5)),
    ("lambda_loss", {"weights": "ndcg_loss2++"}, weighed((1.0, rax.dcg_lambdaweight), (10.0, rax.dcg2_lambdaweight))),
    ("approx_ndcg", {}, approximate(0.1)),
    ("approx_ndcg", {"temperature": 1.0}, approximate(1.0)),
]


def made_by_rax() -> dict[str, Any]:
    lists = random_lists()
    found = []
    for name, options, loss in ORACLES:
        rows, both = [], jax.jit(jax.value_and_grad(loss))
        for one in lists:
            scores, labels, ties = (jnp.array(one[key], dtype=jnp.float64) for key in ("scores", "labels", "ties"))
            value, gradient = both(scores, labels, ties)
            rows.append({"value": rounded(value), "gradient": [rounded(slope) for slope in gradient]})
        found.append({"loss": name, "options": options, "lists": rows})
    return {"rax": rax.__version__, "jax": jax.__version__, "seed": SEED, "lists": lists, "losses": found}


def rounded(number: Any) -> float:
    """To 10 digits, and what is smaller than 1e-14 to 0."""
    return float(f"{float(number):.10g}") if abs(float(number)) > 1e-14 else 0.0


def differences(stored: Any, made: Any, where: str = "") -> list[str]:
    """Where two trees of numbers differ by more than 1e-9 relative or 1e-12."""
    if isinstance(stored, dict) and isinstance(made, dict) and stored.keys() == made.keys():
        return [line for key in stored for line in differences(stored[key], made[key], f"{where}.{key}")]
    if isinstance(stored, list) and isinstance(made, list) and len(stored) == len(made):
        return [line for i, (a, b) in enumerate(zip(stored, made, strict=True)) for line in differences(a, b, f"{where}[{i}]")]
    if isinstance(stored, float) and isinstance(made, float):
        return [] if abs(stored - made) <= 1e-12 + 1e-9 * abs(stored) else [f"{where}: {stored} stored, {made} made"]
    return [] if stored == made else [f"{where}: {str(stored)[:60]} stored, {str(made)[:60]} made"]


def main() -> None:
    made = made_by_rax()
    if "--check" not in sys.argv[1:]:
        FIXTURE.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")
        print(f"{FIXTURE}: {len(made['losses'])} losses on {LISTS} lists, {FIXTURE.stat().st_size / 1000:.0f} kB")
        return
    lines = differences(json.loads(FIXTURE.read_text(encoding="utf-8")), json.loads(json.dumps(made)))
    print("\n".join(lines[:20]) or f"{FIXTURE.name}: rax {made['rax']} gives the stored numbers")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
