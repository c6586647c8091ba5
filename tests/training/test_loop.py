"""The loop on a tiny T5: exact gradients, the best model kept, Ctrl-C, and what stops it."""

import dataclasses
import functools
import itertools
import json
import math
import signal

import pytest
import torch
from tests.world import DOCS, write_t5

from headtail.errors import TrainingError
from headtail.losses import LOSSES, parts_of, takes_teacher
from headtail.models.ranker import Ranker
from headtail.records import Doc, Query, RankedList
from headtail.training.gradient_cache import cached_backward, joint_backward
from headtail.training.ledger import Ledger, read_ledger
from headtail.training.loop import Validation, build_batch, stack_lists, train
from headtail.training.optimizer import build_optimizer
from headtail.training.schedule import constant, linear


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_t5(tmp_path_factory.mktemp("encoder") / "t5")


@pytest.fixture
def ranker(encoder):
    return Ranker.from_encoder(encoder, max_length=32, dropout=0.1)


@pytest.fixture
def ctrl_c():
    """Ctrl-C in this thread, as at a terminal: a test run in the background inherits an ignored one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def ranked(query, *labels):
    docs = tuple(Doc(doc_id, text) for doc_id, text in list(DOCS.items())[: len(labels)])
    return RankedList(Query(query, query), docs, tuple(map(float, labels)))


def taught(lists):
    """The same lists with a teacher that scores the k-th doc k / 2."""
    return [dataclasses.replace(one, teacher=tuple(place / 2 for place in range(len(one.docs)))) for one in lists]


LISTS = [ranked("cold water", 0, 1, 0, 0, 2), ranked("apple", 1, 0), ranked("the cat", 0, 0, 0)]    # the last: nothing relevant


def stream():
    return itertools.cycle(LISTS)


def gradients(ranker, backward, loss_fn, budget, lists=LISTS):
    batch = build_batch(ranker, lists, budget)
    ranker.zero_grad()
    torch.manual_seed(1)
    loss, parts = backward(
        lambda number: ranker(**batch.pairs[number].inputs),
        len(batch.pairs),
        lambda parts: loss_fn(batch.scores(parts), batch.labels, batch.mask, **batch.more),
    )
    return loss, batch.scores(parts), [p.grad.clone() for p in ranker.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", LOSSES)
def test_the_cached_gradient_is_the_joint_one_with_dropout_on(name, ranker):
    ranker.double().train()
    lists = taught(LISTS) if takes_teacher(name) else LISTS
    joint = gradients(ranker, joint_backward, LOSSES[name], 40, lists)
    cached = gradients(ranker, cached_backward, LOSSES[name], 40, lists)
    assert joint[0].dtype == torch.float64
    assert math.isclose(joint[0], cached[0], rel_tol=1e-12)
    for a, b in zip(joint[2], cached[2], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_gradient_of_small_batches_is_that_of_one_large_batch(ranker):
    ranker.double().eval()
    large = gradients(ranker, joint_backward, LOSSES["hybrid"], 10_000)
    small = gradients(ranker, cached_backward, LOSSES["hybrid"], 1)
    assert len(build_batch(ranker, LISTS, 1).pairs) == 10
    for a, b in zip(large[2], small[2], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_batch_that_the_loss_does_not_look_at_gets_no_gradient_either_way():
    weight, inputs = torch.tensor([2.0], requires_grad=True), [torch.tensor([1.0]), torch.tensor([3.0])]
    for backward in (joint_backward, cached_backward):
        weight.grad = None
        backward(lambda number: weight * inputs[number], 2, lambda parts: parts[0].sum())
        assert weight.grad.tolist() == [1.0]


def test_a_planted_fault_in_the_cache_is_seen(ranker):
    """Without the random state of each batch put back, dropout drops other units and the gradient differs."""
    ranker.double().train()

    def forgetful(score_batch, batches, loss_of):
        with torch.no_grad():
            scores = [score_batch(number) for number in range(batches)]
        leaves = [part.detach().requires_grad_(True) for part in scores]
        loss = loss_of(leaves)
        loss.backward()
        for number, leaf in enumerate(leaves):
            score_batch(number).backward(leaf.grad)
        return loss.detach(), scores

    joint = gradients(ranker, joint_backward, LOSSES["hybrid"], 40)
    wrong = gradients(ranker, forgetful, LOSSES["hybrid"], 40)
    assert max((a - b).abs().max() for a, b in zip(joint[2], wrong[2], strict=True)) > 1e-6


def test_scores_of_lists_of_different_length_stand_in_their_places(ranker):
    ranker.eval()
    batch = build_batch(ranker, LISTS, 40)
    with torch.no_grad():
        scores = batch.scores([ranker(**pairs.inputs) for pairs in batch.pairs])    # [3, 5]
    assert batch.mask.tolist() == [[True] * 5, [True] * 2 + [False] * 3, [True] * 3 + [False] * 2]
    assert scores[~batch.mask].abs().sum() == 0
    for row, one in enumerate(LISTS):
        alone = ranker.score([(one.query.text, doc.text) for doc in one.docs], precision="fp32")
        assert scores[row, : len(alone)].tolist() == pytest.approx(alone.tolist(), abs=1e-5)


def test_lists_are_stacked_with_their_teacher():
    labels, mask, more = stack_lists(taught(LISTS))
    assert labels.tolist() == [[0, 1, 0, 0, 2], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert mask.tolist() == [[True] * 5, [True] * 2 + [False] * 3, [True] * 3 + [False] * 2]
    assert more["teacher"].tolist() == [[0, 0.5, 1, 1.5, 2], [0, 0.5, 0, 0, 0], [0, 0.5, 1, 0, 0]]
    assert stack_lists(LISTS)[2] == {}
    with pytest.raises(ValueError, match="query 'apple': 2 docs but 1 scores of the teacher"):
        dataclasses.replace(LISTS[1], teacher=(1.0,))


def test_a_ranker_learns_the_margins_of_a_teacher(ranker, tmp_path):
    rates = {"encoder_lr": 1e-2, "head_lr": 1e-2, "embedding_lr": 1e-2}
    ledger, lists = Ledger(tmp_path / "ledger.jsonl"), itertools.cycle(taught(LISTS))
    options = {"steps": 80, "lists_per_step": 3, "optimizer": rates, "ledger": ledger, "log_every": 20}
    train(ranker, lists, LOSSES["margin_mse"], loss_parts=parts_of("margin_mse"), **options)
    records = read_ledger(ledger.path)
    assert records[-1]["loss"] < 0.3 * records[0]["loss"]
    assert [record["lists_without"] for record in records] == [1.0] * 4    # of three lists one has nothing relevant


@pytest.mark.parametrize("gradient_cache", [False, True])
@pytest.mark.parametrize("name", ["hybrid", "plackett_luce_head_tail"])
def test_the_parts_of_the_loss_that_was_trained_stand_in_the_ledger(name, gradient_cache, ranker, tmp_path):
    """plackett_luce_head_tail draws the order of ties: what is logged is drawn as what was trained."""
    ledger, loss = Ledger(tmp_path / "ledger.jsonl"), functools.partial(LOSSES[name], top_k=1)
    options = {"steps": 4, "lists_per_step": 3, "ledger": ledger, "log_every": 1, "gradient_cache": gradient_cache}
    lists = [ranked("cold water", 1, 1, 0, 1, 1), *LISTS[1:]]
    train(ranker, itertools.cycle(lists), loss, loss_parts=functools.partial(parts_of(name), top_k=1), **options)
    for record in read_ledger(ledger.path):
        assert record["loss"] == pytest.approx(0.5 * record["loss_head"] + 0.5 * record["loss_whole"], rel=1e-5)
        assert record["lists_without_pair"] == 1.0


def test_logging_the_parts_changes_no_training(encoder):
    ends = []
    for loss_parts in (None, parts_of("list_mle")):
        ranker = Ranker.from_encoder(encoder, max_length=32, dropout=0.1)
        train(ranker, stream(), LOSSES["list_mle"], loss_parts=loss_parts, steps=3, lists_per_step=3)
        ends.append(ranker.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_learning_lowers_the_loss_and_the_ledger_tells(ranker, tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    rates = {"encoder_lr": 1e-2, "head_lr": 1e-2, "embedding_lr": 1e-2}
    result = train(ranker, stream(), LOSSES["hybrid"], steps=60, lists_per_step=3, optimizer=rates, ledger=ledger, log_every=20)
    records = read_ledger(ledger.path)
    assert [record["step"] for record in records] == [20, 40, 60]
    assert records[-1]["loss"] < 0.6 < records[0]["loss"]
    assert records[-1]["separation"] > records[0]["separation"]
    assert {"gradient_norm", "lr_encoder", "lr_head", "lr_embeddings", "lists_per_second"} <= set(records[0])
    assert (result.steps, result.interrupted) == (60, False)


def test_the_best_validation_is_kept_and_of_two_equals_the_earlier(ranker):
    values, saved = iter([0.3, 0.5, 0.5, 0.2]), []
    result = train(
        ranker, stream(), LOSSES["softmax"], steps=8, lists_per_step=1, validate_every=2, best_by="RR@10",
        validate=lambda: Validation({"RR@10": next(values)}), save_best=lambda step, found: saved.append((step, found.measures)),
    )
    assert saved == [(2, {"RR@10": 0.3}), (4, {"RR@10": 0.5})]
    assert (result.best_step, result.best.measures["RR@10"]) == (4, 0.5)


def test_without_validation_the_last_model_is_saved(ranker):
    saved = []
    train(ranker, stream(), LOSSES["bce"], steps=2, lists_per_step=1, save_best=lambda step, found: saved.append((step, found)))
    assert saved == [(2, None)]


def test_ctrl_c_finishes_the_step_validates_and_keeps_the_best(ranker, ctrl_c):
    before, saved = signal.getsignal(signal.SIGINT), []

    def on_step(now):
        if now["step"] == 3:
            ctrl_c()

    result = train(
        ranker, stream(), LOSSES["hybrid"], steps=100, lists_per_step=1, on_step=on_step, best_by="x",
        validate=lambda: Validation({"x": 1.0}), save_best=lambda step, found: saved.append(step),
    )
    assert (result.steps, result.interrupted, saved) == (3, True, [3])
    assert signal.getsignal(signal.SIGINT) is before


def test_loss_and_backward_stand_outside_autocast(ranker):
    def loss_fn(scores, labels, mask):
        assert not torch.is_autocast_enabled("cpu")
        return LOSSES["softmax"](scores, labels, mask)

    for gradient_cache in (False, True):
        train(ranker, stream(), loss_fn, steps=1, lists_per_step=2, dtype=torch.bfloat16, gradient_cache=gradient_cache)


def test_an_ignored_ctrl_c_stays_ignored(ranker, ctrl_c):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    result = train(ranker, stream(), LOSSES["hybrid"], steps=2, lists_per_step=1, on_step=lambda now: ctrl_c())
    assert (result.steps, result.interrupted) == (2, False)


def test_a_second_ctrl_c_stops_at_once(ranker, ctrl_c):
    def on_step(now):
        ctrl_c()
        ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        train(ranker, stream(), LOSSES["hybrid"], steps=9, lists_per_step=1, on_step=on_step)


def test_a_loss_that_is_nan_and_an_unknown_measure_stop_with_one_line(ranker):
    with pytest.raises(TrainingError, match="the loss is nan at step 1; lower the learning rates"):
        train(ranker, stream(), lambda s, y, m: s.sum() * float("nan"), steps=2)
    with pytest.raises(TrainingError, match="unknown measure to choose the best by 'RR@1', did you mean 'RR@10'"):
        train(ranker, stream(), LOSSES["bce"], steps=1, validate=lambda: Validation({"RR@10": 1.0}), best_by="RR@1")


def test_each_part_has_its_own_learning_rate(ranker):
    start = {name: [p.detach().clone() for p in members] for name, members in ranker.parts().items()}
    rates = {"embedding_lr": 0.0, "encoder_lr": 1e-3, "head_lr": 1e-3}
    train(ranker, stream(), LOSSES["hybrid"], steps=2, lists_per_step=3, optimizer=rates)
    moved = {
        name: any(not torch.equal(a, b) for a, b in zip(start[name], members, strict=True))
        for name, members in ranker.parts().items()
    }
    assert moved == {"embeddings": False, "encoder": True, "head": True}


def test_norms_and_biases_are_not_decayed(ranker):
    groups = build_optimizer(ranker.parts(), weight_decay=0.1).param_groups
    for group in groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] == 0.1) for p in group["params"])
    assert sum(len(group["params"]) for group in groups) == sum(map(len, ranker.parts().values()))
    assert {group["betas"] for group in groups} == {(0.9, 0.97)}


def test_schedules_by_hand():
    assert [linear(step, steps=6, warmup=2) for step in range(7)] == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25, 0])
    assert [constant(step, steps=6, warmup=2) for step in range(5)] == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])


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
