"""Our losses inside sentence-transformers: the same numbers as by hand, ten real steps of its trainer, and bad columns."""

import pytest
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from tests.world import DOCS, write_t5

from headtail.errors import ConfigError, HeadtailError, ModelError
from headtail.integrations.sentence_transformers import RankingLoss
from headtail.losses import LOSSES, takes_teacher
from headtail.models.ranker import Ranker

TEXTS = list(DOCS.values())
QUERIES = ["who sleeps on the stove", "what is cold water", "what is baked from flour"]
LISTS = [TEXTS[:5], TEXTS[5:8], TEXTS[1:3]]    # 5, 3 and 2 docs
LABELS = [[0.0, 0.0, 1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0]]    # the last: nothing relevant
TEACHER = [[0.0, 1.0, 4.0, 2.0, 5.0], [0.0, 3.0, 1.0], [1.0, 2.0]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("ranker")
    Ranker.from_encoder(write_t5(base / "t5"), max_length=32, dropout=0.0).save(base / "saved")
    return base / "saved"


@pytest.fixture
def model(folder):
    return CrossEncoder(str(folder), device="cpu")


def columns(name):
    return [QUERIES, LISTS, *([TEACHER] if takes_teacher(name) else [])]


def gradients(loss, model):
    model.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def by_hand(model, name, **options):
    """Logits of one forward pass, put into [B, L] doc by doc."""
    pairs = [(query, doc) for query, docs in zip(QUERIES, LISTS, strict=True) for doc in docs]
    logits = iter(model(model.preprocess(pairs))["scores"].view(-1))
    zero = torch.zeros(())
    scores = torch.stack([torch.stack([next(logits) if place < len(docs) else zero for place in range(5)]) for docs in LISTS])
    padded = {"labels": LABELS, "teacher": TEACHER}
    per_doc = {key: torch.tensor([[*row, *[0.0] * (5 - len(row))] for row in rows]) for key, rows in padded.items()}
    mask = torch.tensor([[place < len(docs) for place in range(5)] for docs in LISTS])
    more = {"teacher": per_doc["teacher"]} if takes_teacher(name) else {}
    return LOSSES[name](scores, per_doc["labels"], mask, **options, **more)


@pytest.mark.parametrize("mini_batch_size", [None, 3])
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("list_mle", "plackett_luce_head_tail")])
def test_value_and_gradient_are_those_of_the_loss_on_the_logits(name, mini_batch_size, model):
    model.train()
    wrapped = RankingLoss(model, name, mini_batch_size=mini_batch_size)([*columns(name)], [torch.tensor(row) for row in LABELS])
    alone = by_hand(model, name)
    assert wrapped.item() == pytest.approx(alone.item(), rel=1e-5)
    for ours, theirs in zip(gradients(wrapped, model), gradients(alone, model), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_a_wrapper_that_shuffled_the_docs_would_be_seen(model):
    turned = [docs[::-1] for docs in LISTS]
    wrapped = RankingLoss(model, "softmax")([QUERIES, turned], [torch.tensor(row) for row in LABELS])
    assert wrapped.item() != pytest.approx(by_hand(model, "softmax").item(), rel=1e-5)


@pytest.mark.parametrize("name", ["list_mle", "plackett_luce_head_tail"])
def test_losses_that_draw_the_order_of_ties_run_too(name, model):
    loss = RankingLoss(model, name)([QUERIES, LISTS], LABELS)
    assert loss.item() > 0
    assert any(gradient.any() for gradient in gradients(loss, model))


def test_options_are_passed_on(model):
    loss = RankingLoss(model, "hybrid", alpha=1.0, top_k=1, head_by="scores")([QUERIES, LISTS], LABELS)
    assert loss.item() == pytest.approx(by_hand(model, "hybrid", alpha=1.0, top_k=1, head_by="scores").item(), rel=1e-5)
    assert loss.item() != pytest.approx(by_hand(model, "hybrid").item(), rel=1e-5)


@pytest.mark.parametrize(("name", "options"), [("hybrid", {"alpha": 0.5, "top_k": 2}), ("softmax", {}), ("margin_mse", {})])
def test_ten_steps_of_the_trainer(name, options, model, tmp_path):
    data = {"query": QUERIES, "docs": LISTS} | ({"teacher": TEACHER} if takes_teacher(name) else {}) | {"labels": LABELS}
    losses = []

    class Watched(RankingLoss):
        def forward(self, *given, **more):
            loss = super().forward(*given, **more)
            losses.append(loss.item())
            return loss

    arguments = CrossEncoderTrainingArguments(
        output_dir=str(tmp_path), max_steps=10, per_device_train_batch_size=3, learning_rate=0.02, report_to="none",
        save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=True, seed=0,
    )
    loss = Watched(model, name, **options)
    trainer = CrossEncoderTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(data), loss=loss)
    trainer.train()
    assert trainer.state.global_step == len(losses) == 10
    assert losses[-1] < 0.8 * losses[0]
    scores = model.predict([(QUERIES[0], doc) for doc in LISTS[0]], show_progress_bar=False)
    if name != "margin_mse":
        assert scores[4] > max(scores[doc] for doc in (0, 1, 3))    # the doc of label 2


def test_the_card_is_told_the_loss_and_its_options(model):
    loss = RankingLoss(model, "hybrid", alpha=0.25)
    told = loss.get_config_dict()
    assert (told["loss"], told["alpha"], told["top_k"], told["mini_batch_size"]) == ("hybrid", 0.25, 5, None)
    for name in LOSSES:
        citation = RankingLoss(model, name).citation
        assert citation.startswith("@")
        assert citation.count("{") == citation.count("}")


BAD_ARGUMENTS = [
    (("softmx",), {}, ConfigError, "unknown loss 'softmx', did you mean 'softmax'?"),
    (("hybrid",), {"alfa": 1}, ConfigError, "unknown option of loss 'hybrid' 'alfa', did you mean 'alpha'?"),
    (("hybrid",), {"alpha": 2.0}, ConfigError, "expected 0 <= alpha <= 1"),
    (("hybrid",), {"alpha": "high"}, ConfigError, "loss 'hybrid': option 'alpha': expected a number, found 'high'"),
    (("poly1",), {"epsilon": float("nan")}, ConfigError, "loss 'poly1' gives nan on a list of three docs"),
    (("softmax",), {"mini_batch_size": 0}, ConfigError, "expected mini_batch_size >= 1"),
    (("margin_mse",), {"teacher": torch.zeros(1, 3)}, ConfigError, "give the dataset a column of its scores"),
    (("list_mle",), {"ties": torch.zeros(1, 3)}, ConfigError, "option 'ties' differs from batch to batch"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "line"), BAD_ARGUMENTS, ids=str)
def test_what_cannot_work_is_said_before_training(arguments, options, error, line, model):
    with pytest.raises(error) as caught:
        RankingLoss(model, *arguments, **options)
    assert line in str(caught.value)


def test_a_model_that_is_no_cross_encoder_or_has_two_outputs_is_refused(model):
    with pytest.raises(ModelError, match="expected a CrossEncoder, found a Linear; open a saved ranker by CrossEncoder"):
        RankingLoss(torch.nn.Linear(2, 1))

    class TwoOutputs(CrossEncoder):
        num_labels = 2

        def __init__(self):
            torch.nn.Module.__init__(self)

    with pytest.raises(ModelError, match="expected a CrossEncoder with one output, found 2"):
        RankingLoss(TwoOutputs())


BAD_COLUMNS = [
    ([QUERIES, LISTS], None, "found no labels; call that column label, labels, score or scores"),
    ([QUERIES], LABELS, "expected the columns query, docs and labels, found 1 columns besides the labels"),
    ([QUERIES, LISTS, LISTS], LABELS, "found 3 columns besides the labels"),
    ([QUERIES, LISTS[:2]], LABELS, "of equal length, found [3, 2, 3]"),
    ([QUERIES, TEXTS[:3]], LABELS, "query 'who sleeps on the stove': expected a list of docs, found 'a red apple"),
    ([QUERIES, LISTS], torch.tensor([1.0, 0.0, 1.0]), "query 'who sleeps on the stove': expected a list of labels"),
    ([QUERIES, LISTS], [LABELS[0], [1.0], LABELS[2]], "query 'what is cold water': expected as many labels as docs, found 1 for 3 docs"),
    ([QUERIES, LISTS], [LABELS[0], ["a", "b", "c"], LABELS[2]], "query 'what is cold water': expected a list of labels"),
]


@pytest.mark.parametrize(("inputs", "labels", "line"), BAD_COLUMNS)
def test_columns_of_another_shape_are_one_line_that_names_the_query(inputs, labels, line, model):
    with pytest.raises(HeadtailError) as caught:
        RankingLoss(model, "softmax")(inputs, labels)
    assert line in str(caught.value)


def test_lists_without_docs_cost_nothing(model):
    loss = RankingLoss(model, "hybrid")([QUERIES[:1], [[]]], [[]])
    loss.backward()
    assert loss.item() == 0
    both = RankingLoss(model, "softmax")([QUERIES[:2], [[], LISTS[1]]], [[], LABELS[1]])
    assert both.item() > 0
