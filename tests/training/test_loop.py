"""The loop on a tiny T5: what is logged and kept, Ctrl-C and SIGTERM, and what stops it."""

import functools
import itertools
import json
import signal

import pytest
import torch
from tests.training.lists import LISTS, endless, ranked, stream, taught

from headtail.errors import CheckpointError, NotFiniteError, TrainingError
from headtail.losses import LOSSES, parts_of
from headtail.models.ranker import Ranker
from headtail.training.ledger import Ledger, read_ledger
from headtail.training.loop import Hooks, Plan, Validation, train

FAST = {"encoder_lr": 1e-2, "head_lr": 1e-2, "embedding_lr": 1e-2}
HYBRID = LOSSES["hybrid"]


def test_a_ranker_learns_the_margins_of_a_teacher(ranker, tmp_path):
    ledger, plan = Ledger(tmp_path / "ledger.jsonl"), Plan(steps=80, lists_per_step=3, log_every=20)
    hooks = Hooks(loss_parts=parts_of("margin_mse"))
    train(ranker, endless(taught(LISTS)), LOSSES["margin_mse"], plan, optimizer=FAST, hooks=hooks, ledger=ledger)
    records = read_ledger(ledger.path)
    assert records[-1]["loss"] < 0.3 * records[0]["loss"]
    assert [record["lists_without"] for record in records] == [1.0] * 4    # of three lists one has nothing relevant


@pytest.mark.parametrize("gradient_cache", [False, True])
@pytest.mark.parametrize("name", ["hybrid", "plackett_luce_head_tail"])
def test_the_parts_of_the_loss_that_was_trained_stand_in_the_ledger(name, gradient_cache, ranker, tmp_path):
    """plackett_luce_head_tail draws the order of ties: what is logged is drawn as what was trained."""
    ledger, loss = Ledger(tmp_path / "ledger.jsonl"), functools.partial(LOSSES[name], top_k=1)
    plan = Plan(steps=4, lists_per_step=3, log_every=1, gradient_cache=gradient_cache)
    lists = [ranked("cold water", 1, 1, 0, 1, 1), *LISTS[1:]]
    train(ranker, endless(lists), loss, plan, hooks=Hooks(loss_parts=functools.partial(parts_of(name), top_k=1)), ledger=ledger)
    for record in read_ledger(ledger.path):
        assert record["loss"] == pytest.approx(0.5 * record["loss_head"] + 0.5 * record["loss_whole"], rel=1e-5)
        assert record["lists_without_pair"] == 1.0


def test_logging_changes_no_training(encoder, tmp_path):
    ends = []
    for hooks, ledger in ((Hooks(), None), (Hooks(loss_parts=parts_of("list_mle")), Ledger(tmp_path / "ledger.jsonl"))):
        ranker = Ranker.from_encoder(encoder, max_length=32, dropout=0.1)
        train(ranker, stream, LOSSES["list_mle"], Plan(steps=3, lists_per_step=3, log_every=1), hooks=hooks, ledger=ledger)
        ends.append(ranker.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_learning_lowers_the_loss_and_the_ledger_tells(ranker, tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    result = train(ranker, stream, HYBRID, Plan(steps=60, lists_per_step=3, log_every=20), optimizer=FAST, ledger=ledger)
    records = read_ledger(ledger.path)
    assert [record["step"] for record in records] == [20, 40, 60]
    assert records[-1]["loss"] < 0.6 < records[0]["loss"]
    assert records[-1]["separation"] > records[0]["separation"]
    assert {"lr_encoder", "lr_head", "lr_embeddings", "lists_per_second", "tokens_per_second", "histogram"} <= set(records[0])
    assert (result.steps, result.interrupted) == (60, False)


def test_the_layers_of_the_ledger_add_up(ranker, tmp_path):
    """One step of one list: the norms of the layers make the norm of the whole, and drift is what was moved."""
    before = {name: [p.detach().clone() for p in members] for name, members in ranker.layers().items()}
    ledger = Ledger(tmp_path / "ledger.jsonl")
    train(ranker, stream, HYBRID, Plan(steps=1, lists_per_step=1), ledger=ledger)
    (record,) = read_ledger(ledger.path)
    layers = record["layers"]
    assert list(layers) == ["embeddings", "layer_0", "layer_1", "top", "head"]
    assert sum(row["norm"] ** 2 for row in layers.values()) ** 0.5 == pytest.approx(record["gradient_norm"], rel=1e-5)
    parts = (record["norm_embeddings"], record["norm_encoder"], record["norm_head"])
    assert sum(norm**2 for norm in parts) ** 0.5 == pytest.approx(record["gradient_norm"], rel=1e-5)
    for name, members in ranker.layers().items():
        moved = sum(float(((a - b) ** 2).sum()) for a, b in zip(members, before[name], strict=True)) ** 0.5
        start = sum(float((b**2).sum()) for b in before[name]) ** 0.5
        assert layers[name]["drift"] == pytest.approx(moved / start, rel=1e-4)
    assert record["gradient_1_5"] == pytest.approx(1.0)    # a list of five docs has no other ranks
    assert (layers["head"]["lr"], layers["layer_0"]["lr"], layers["embeddings"]["lr"]) == (2e-4, 5e-5, 5e-6)


def test_the_best_validation_is_kept_and_of_two_equals_the_earlier(ranker):
    values, saved = iter([0.3, 0.5, 0.5, 0.2]), []
    hooks = Hooks(
        validate=lambda: Validation({"RR@10": next(values)}), save_best=lambda step, measures: saved.append((step, dict(measures)))
    )
    plan = Plan(steps=8, lists_per_step=1, validate_every=2, best_by="RR@10")
    result = train(ranker, stream, LOSSES["softmax"], plan, hooks=hooks)
    assert saved == [(2, {"RR@10": 0.3}), (4, {"RR@10": 0.5})]
    assert (result.best_step, result.best) == (4, {"RR@10": 0.5})


def test_it_stops_early_when_the_measure_has_not_grown_for_so_many_validations(ranker, tmp_path):
    values, ledger = iter([0.3, 0.5, 0.5, 0.2, 0.9]), Ledger(tmp_path / "ledger.jsonl")
    plan = Plan(steps=10, lists_per_step=1, validate_every=2, best_by="x", patience=2)
    result = train(ranker, stream, HYBRID, plan, hooks=Hooks(validate=lambda: Validation({"x": next(values)})), ledger=ledger)
    assert (result.steps, result.stopped_by, result.best_step, result.interrupted) == (8, "patience", 4, False)
    assert read_ledger(ledger.path)[-1]["text"] == "x has not grown for 2 validations: stopping early"


def test_a_best_that_cannot_be_saved_leaves_the_one_before(ranker):
    values, said = iter([0.3, 0.5]), []

    def save_best(step, measures):
        if step == 4:
            raise CheckpointError("no room on disk")

    plan = Plan(steps=4, lists_per_step=1, validate_every=2, best_by="x")
    hooks = Hooks(validate=lambda: Validation({"x": next(values)}), save_best=save_best, say=said.append)
    assert train(ranker, stream, HYBRID, plan, hooks=hooks).best_step == 2
    assert said == ["no room on disk"]


def test_turnover_and_gap_stand_beside_a_validation(ranker, tmp_path):
    heads, ledger = iter([["a", "b"], ["b", "c"]]), Ledger(tmp_path / "ledger.jsonl")
    plan = Plan(steps=4, lists_per_step=3, log_every=2, validate_every=2, best_by="x")
    hooks = Hooks(validate=lambda: Validation({"x": 1.0}, 2.0, {"temperature": 3.0}, {"q": next(heads)}))
    train(ranker, stream, HYBRID, plan, hooks=hooks, ledger=ledger)
    records = read_ledger(ledger.path)
    trained = [record["loss"] for record in records if record["kind"] == "train"]
    first, second = (record for record in records if record["kind"] == "validation")
    assert (first["turnover"], second["turnover"], first["temperature"]) == (None, 0.5, 3.0)
    assert [first["gap"], second["gap"]] == pytest.approx([2.0 - loss for loss in trained])


def test_without_validation_the_last_model_is_saved(ranker):
    saved = []
    hooks = Hooks(save_best=lambda step, measures: saved.append((step, measures)))
    train(ranker, stream, LOSSES["bce"], Plan(steps=2, lists_per_step=1), hooks=hooks)
    assert saved == [(2, {})]


def test_with_a_running_mean_it_is_the_mean_that_is_validated_and_saved(encoder):
    def ends(ema):
        ranker, seen = Ranker.from_encoder(encoder, max_length=32), []
        hooks = Hooks(validate=lambda: seen.append(ranker.head.weight.detach().clone()) or Validation({"x": 1.0}))
        plan = Plan(steps=4, lists_per_step=3, validate_every=2, best_by="x", ema=ema)
        train(ranker, stream, HYBRID, plan, hooks=hooks, optimizer=FAST)
        return seen, ranker.head.weight.detach()

    (live, last), (mean, last_beside) = ends(0.0), ends(0.9)
    assert torch.equal(last, last_beside)    # training itself is not touched
    assert torch.equal(live[1], last)
    assert not torch.equal(mean[1], last)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_finishes_the_step_and_leaves(number, name, ranker, signals, capsys):
    before = signal.getsignal(number)
    hooks = Hooks(on_step=lambda now: signals(number) if now["step"] == 3 else None)
    result = train(ranker, stream, HYBRID, Plan(steps=100, lists_per_step=1), hooks=hooks)
    assert (result.steps, result.interrupted, result.stopped_by) == (3, True, name)
    assert signal.getsignal(number) is before
    assert f"{name}: finishing this step, then saving; {name} again stops at once" in capsys.readouterr().err


def test_loss_and_backward_stand_outside_autocast(ranker):
    def loss_fn(scores, labels, mask):
        assert not torch.is_autocast_enabled("cpu")
        return LOSSES["softmax"](scores, labels, mask)

    for cached in (False, True):
        train(ranker, stream, loss_fn, Plan(steps=1, lists_per_step=2, dtype=torch.bfloat16, gradient_cache=cached))


def test_an_ignored_ctrl_c_stays_ignored(ranker, signals):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hooks = Hooks(on_step=lambda now: signals(signal.SIGINT))
    result = train(ranker, stream, HYBRID, Plan(steps=2, lists_per_step=1), hooks=hooks)
    assert (result.steps, result.interrupted) == (2, False)


def test_a_second_ctrl_c_stops_at_once(ranker, signals):
    def on_step(now):
        signals(signal.SIGINT)
        signals(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(ranker, stream, HYBRID, Plan(steps=9, lists_per_step=1), hooks=Hooks(on_step=on_step))


def test_an_unknown_measure_stops_with_one_line(ranker):
    hooks = Hooks(validate=lambda: Validation({"RR@10": 1.0}))
    with pytest.raises(TrainingError, match="unknown measure to choose the best by 'RR@1', did you mean 'RR@10'"):
        train(ranker, stream, LOSSES["bce"], Plan(steps=1, best_by="RR@1"), hooks=hooks)


def test_each_part_has_its_own_learning_rate(ranker):
    start = {name: [p.detach().clone() for p in members] for name, members in ranker.parts().items()}
    rates = {"embedding_lr": 0.0, "encoder_lr": 1e-3, "head_lr": 1e-3}
    train(ranker, stream, HYBRID, Plan(steps=2, lists_per_step=3), optimizer=rates)
    moved = {
        name: any(not torch.equal(a, b) for a, b in zip(start[name], members, strict=True))
        for name, members in ranker.parts().items()
    }
    assert moved == {"embeddings": False, "encoder": True, "head": True}


def test_new_negatives_are_asked_for_when_they_are_due(ranker):
    asked = []
    plan = Plan(steps=7, lists_per_step=1, refresh_every=3)
    train(ranker, stream, HYBRID, plan, hooks=Hooks(refresh=lambda made_at, now: asked.append((made_at, now))))
    assert asked == [(3, 3), (6, 6)]


def test_what_is_drawn_in_a_step_depends_on_seed_and_step_alone(encoder):
    def losses(before, **options):
        torch.manual_seed(before)
        ranker, seen = Ranker.from_encoder(encoder, max_length=32, dropout=0.3), []
        hooks = Hooks(on_step=lambda now: (seen.append(now["loss"]), torch.rand(3)))    # others may draw in between
        train(ranker, stream, HYBRID, Plan(steps=3, lists_per_step=3, **options), hooks=hooks)
        return seen

    assert losses(1) == losses(2)
    assert losses(1) != losses(1, seed=5)


# Not finite: the step stops before the weights change.


def planted(ranker, at):
    """A loss that is NaN in the steps `at`, counted from 1."""
    counter = itertools.count(1)
    return lambda scores, labels, mask: scores.sum() * (float("nan") if next(counter) in at else 1.0)


def test_a_loss_that_is_nan_stops_before_the_weights_change(ranker, tmp_path):
    ledger, before = Ledger(tmp_path / "ledger.jsonl"), {k: v.clone() for k, v in ranker.state_dict().items()}
    with pytest.raises(NotFiniteError, match="step 1: the loss is nan on 2 lists: 'cold water', 'apple'; the weights are those"):
        train(ranker, stream, planted(ranker, {1}), Plan(steps=2, lists_per_step=2), ledger=ledger)
    assert all(torch.equal(before[name], tensor) for name, tensor in ranker.state_dict().items())
    (record,) = read_ledger(ledger.path)
    assert (record["kind"], record["step"]) == ("not_finite", 1)
    assert record["lists"] == {"cold water": ["apple", "bread", "cat", "dog", "egg"], "apple": ["apple", "bread"]}


def test_skipping_counts_and_has_a_limit(ranker, tmp_path):
    ledger, said = Ledger(tmp_path / "ledger.jsonl"), []
    plan = Plan(steps=5, lists_per_step=1, log_every=1, on_nonfinite="skip", nonfinite_limit=2)
    result = train(ranker, stream, planted(ranker, {2, 4}), plan, ledger=ledger, hooks=Hooks(say=said.append))
    assert (result.steps, result.skipped) == (5, 2)
    assert [(r["kind"], r["step"]) for r in read_ledger(ledger.path)] == [
        ("train", 1), ("skipped", 2), ("train", 3), ("skipped", 4), ("train", 5)
    ]
    assert said[0].startswith("step 2 skipped: the loss is nan on 1 lists: 'apple'")
    with pytest.raises(NotFiniteError, match="step 4 after 2 steps that were skipped: the loss is nan"):
        train(ranker, stream, planted(ranker, {1, 2, 4}), plan)


# The ledger.


def test_the_ledger_keeps_lines_writes_nan_as_null_and_forgives_a_cut_last_line(tmp_path):
    ledger = Ledger(tmp_path / "deep" / "ledger.jsonl")
    ledger.write("train", 1, loss=float("nan"), parts={"head": float("inf")})
    Ledger(ledger.path).write("train", 2, loss=0.5)
    assert read_ledger(ledger.path) == [
        {"kind": "train", "step": 1, "loss": None, "parts": {"head": None}},
        {"kind": "train", "step": 2, "loss": 0.5},
    ]
    with ledger.path.open("a") as file:
        file.write(json.dumps({"kind": "train"})[:-3])
    assert len(read_ledger(ledger.path)) == 2
    assert read_ledger(tmp_path / "none.jsonl") == []
