"""Ledgers of runs that never ran: healthy, over-confident or over-fitting, with as much noise as one asks for."""

from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path

PARTS = {"embeddings": 5e-6, "encoder": 5e-5, "head": 2e-4}


def fake_run(
    fault: str = "",
    *,
    seed: int = 0,
    name: str = "fake",
    steps: int = 2000,
    log_every: int = 10,
    every: int = 100,
    lists: int = 4000,
    lists_per_step: int = 8,
    noise: float = 1.0,
    carried: float = 0.0,
    saw_tooth: float = 0.0,
    layers: int = 12,
    done: bool = True,
    with_advice: bool = False,
):
    """Records as the loop writes them.

    Args:
        fault: "" healthy, "over-confident", "over-fitting", "easy pairs".
        noise: 1: train loss .02 a log line, validation loss .004, measures .004.
        carried: share of the noise of a validation that the next one keeps, as when the model itself wanders.
        saw_tooth: what training loss drops by at each border of an epoch.
        done: whether the run has ended.
    """
    chance = random.Random(f"{fault} {seed}")

    def wobble(size: float) -> float:
        return chance.gauss(0, size * noise)

    records = [{"kind": "start", "step": 0, "name": name, "lists": lists, "lists_per_step": lists_per_step, "steps": steps,
                "best_by": "RR@10", "queries_without_positive": 3, "device": "cpu", "threads": 2}]    # fmt: skip
    wandering = dict.fromkeys(SIZES, 0.0)
    train_losses: list[float] = []
    before = 0
    for step in range(log_every, steps + 1, log_every):
        truth = curves(fault, step / 2000)
        truth["train"] -= saw_tooth * (step * lists_per_step // lists)
        measured = {key: truth[key] + wobble(size) for key, size in SIZES.items()}
        train_losses.append(measured["train"])
        records.append(train_record(step, steps, measured, lists_per_step, layers, chance))
        if step % every == 0 or step == steps:
            for key in SIZES:    # of the same size whatever is carried
                wandering[key] = carried * wandering[key] + math.sqrt(1 - carried**2) * (measured[key] - truth[key])
            measured = {key: truth[key] + wandering[key] for key in SIZES}
            gap = measured["loss"] - sum(train_losses[before:]) / len(train_losses[before:])
            before = len(train_losses)
            records.append(validation_record(step, measured, gap))
    if with_advice:
        from headtail.training.advice import advise

        records += [{"kind": "advice", "step": one.step, "about": one.kind, "text": one.text} for one in advise(records)]
    if done:
        best = max((r for r in records if r["kind"] == "validation"), key=lambda r: r["measures"]["RR@10"], default={"step": steps})
        records.append({"kind": "end", "step": steps, "seconds": steps * 0.9, "interrupted": False, "best_step": best["step"]})
    return records


SIZES = {"train": 0.02, "loss": 0.004, "tempered": 0.003, "separation": 0.03, "wrong": 0.004, "d_prime": 0.02, "RR@10": 0.004, "nDCG@5": 0.004}


def curves(fault: str, t: float) -> dict[str, float]:
    """What would be measured without noise at a time t, 1 after 2,000 steps."""
    learnt = 1 - math.exp(-5 * t)
    late = max(0.0, t - 0.3)
    truth = {
        "train": 0.75 - 0.31 * learnt, "loss": 0.76 - 0.30 * learnt, "tempered": 0.75 - 0.30 * learnt, "temperature": 1.05,
        "separation": 2.8 * learnt, "wrong": 0.24 - 0.16 * learnt, "d_prime": 2.1 * learnt,
        "RR@10": 0.20 + 0.20 * learnt, "nDCG@5": 0.18 + 0.19 * learnt,
    }    # fmt: skip
    if fault in ("over-confident", "over-fitting"):
        truth["train"] -= 0.35 * late
        truth["loss"] += 0.19 * late
        truth["separation"] += 3.2 * late
        truth["temperature"] += 1.9 * late
    if fault == "over-fitting":
        truth["tempered"] += 0.14 * late
        truth["RR@10"] -= 0.16 * late
        truth["nDCG@5"] -= 0.14 * late
        truth["d_prime"] -= 0.4 * late
        truth["wrong"] += 0.03 * late
    if fault == "easy pairs":
        truth["separation"] += 3.2 * late
    return truth


def train_record(step, steps, measured, lists_per_step, layers, chance):
    """One log step; norms and drift differ by layer and grow towards the head."""
    warm = min(1.0, step / 100) * (1 - 0.95 * max(0, step - 100) / steps)
    names = ["embeddings", *(f"layer_{number}" for number in range(layers)), "top", "head"]
    told = {}
    for place, name in enumerate(names):
        rate = PARTS.get(name, PARTS["encoder"]) * warm
        norm = (0.2 + place / len(names)) * math.exp(-step / 3000) * math.exp(chance.gauss(0, 0.15))
        drift = (0.4 if name == "head" else 0.004 * (1 + place)) * (1 - math.exp(-step / 900))
        told[name] = {"lr": rate, "norm": norm, "drift": drift}
    parts = {part: math.hypot(*(row["norm"] for name, row in told.items() if PARTS.get(name, 5e-5) == rate)) for part, rate in PARTS.items()}
    head = 0.42 + 0.2 * (1 - math.exp(-step / 600)) + chance.gauss(0, 0.015)
    return {
        "kind": "train", "step": step, "loss": measured["train"], "loss_head": measured["train"] * 0.9, "loss_whole": measured["train"] * 1.1,
        "gradient_norm": math.hypot(*parts.values()), "separation": measured["separation"] * 1.05, "d_prime": measured["d_prime"] * 1.05,
        "wrong_pairs": measured["wrong"] * 0.9, "tie_rate": 0.0, "lists_without_pair": 0.1,
        "gradient_1_5": head, "gradient_6_20": (1 - head) * 0.7, "gradient_21_up": (1 - head) * 0.3,
        **{f"lr_{part}": rate * warm for part, rate in PARTS.items()}, **{f"norm_{part}": norm for part, norm in parts.items()},
        "layers": told, "histogram": histogram(measured["separation"]),
        "lists_per_second": lists_per_step / 0.9, "tokens_per_second": 9000.0,
    }    # fmt: skip


def validation_record(step, measured, gap):
    late = max(0.0, step / 2000 - 0.3)
    temperature = 1.05 + (1.9 * late if measured["loss"] - measured["tempered"] > 0.03 else 0)
    return {
        "kind": "validation", "step": step, "loss": measured["loss"], "loss_tempered": min(measured["tempered"], measured["loss"]),
        "temperature": temperature, "separation": measured["separation"], "d_prime": measured["d_prime"], "wrong_pairs": measured["wrong"],
        "tie_rate": 0.0, "turnover": 0.5 * math.exp(-step / 500) + 0.05, "gap": gap,
        "measures": {"RR@10": measured["RR@10"], "nDCG@5": measured["nDCG@5"]}, "histogram": histogram(measured["separation"]),
    }    # fmt: skip


def histogram(apart):
    edges = [-4 + place * (8 + apart) / 20 for place in range(21)]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    return {
        "edges": edges,
        "positives": [round(80 * math.exp(-((x - apart) ** 2) / 2)) for x in middles],
        "negatives": [round(600 * math.exp(-(x**2) / 2)) for x in middles],
    }


OLD_TRAIN = ("kind", "step", "loss", "gradient_norm", "separation", "wrong_pairs", "lr_embeddings", "lr_encoder", "lr_head", "lists_per_second")
OLD_VALIDATION = ("kind", "step", "loss", "separation", "measures")


def old(records):
    """The same run as ledgers were before runs explained themselves."""
    keep = {"train": OLD_TRAIN, "validation": OLD_VALIDATION, "start": ("kind", "step", "name", "lists")}
    kept = [r for r in records if r["kind"] in ("start", "train", "validation", "end")]
    return [{key: value for key, value in r.items() if key in keep.get(r["kind"], tuple(r))} for r in kept]


def write_run(folder: Path, records, config: str = 'name = "fake"\n') -> Path:
    """A run folder with a config and a ledger."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(config)
    (folder / "ledger.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if records and records[-1]["kind"] == "end" and not records[-1]["interrupted"]:
        (folder / "finished").write_text("")
    return folder
