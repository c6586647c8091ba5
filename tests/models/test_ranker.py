import copy
import json
import time

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from sentence_transformers import CrossEncoder
from tests.models import tiny

from headtail.data.batching import pair_batches, tokenize_pairs
from headtail.errors import ModelError
from headtail.models import ranker as module
from headtail.models.pooling import POOLINGS
from headtail.models.ranker import STOCK_POOLINGS, Ranker

# Each doc is the beginning of the next longer one, so that characters, by which stock code sorts, and tokens, by which
# ours does, agree: one batch with the same rows in the same places, where "to the bit" means something.
LONGEST = tiny.text(13, seed=1).split()
PAIRS = [(tiny.text(2), " ".join(LONGEST[:words])) for words in (7, 1, 11, 3, 13, 5, 9)]


def stock(folder, pairs=PAIRS):
    return CrossEncoder(str(folder), device="cpu").predict(pairs)


@pytest.mark.parametrize("pooling", STOCK_POOLINGS)
@pytest.mark.parametrize("name", ["t5", "t5_v1_1", "mt5", "umt5", "t5gemma", "t5gemma2", "bert"])
def test_a_saved_ranker_is_a_stock_cross_encoder_that_gives_the_same_scores_to_the_bit(name, pooling, saved):
    ranker, folder = saved(name, pooling)
    scores = ranker.score(PAIRS, precision="fp32", token_budget=100_000)    # one batch, as there
    assert scores.dtype == np.float32
    assert len(set(scores.tolist())) == len(PAIRS)
    assert stock(folder).tolist() == scores.tolist()
    again = Ranker.from_pretrained(folder).score(PAIRS, precision="fp32", token_budget=100_000)
    assert again.tolist() == scores.tolist()


@pytest.mark.parametrize("name", ["distilbert", "roberta", "modernbert"])
def test_other_bert_like_rankers_load_as_well(name, saved):
    ranker, folder = saved(name)
    scores = ranker.score(PAIRS, precision="fp32")
    np.testing.assert_allclose(stock(folder), scores, atol=1e-6)
    assert Ranker.from_pretrained(folder).score(PAIRS, precision="fp32").tolist() == scores.tolist()


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_the_template_reaches_the_stock_cross_encoder(name, saved):
    ranker, folder = saved(name)
    ours = ranker.tokenizer("how to sort", "the list")
    for tokenizer in (CrossEncoder(str(folder), device="cpu").tokenizer, Ranker.from_pretrained(folder).tokenizer):
        assert tokenizer("how to sort", "the list").data == ours.data
    text = ranker.tokenizer.decode(ours["input_ids"])
    if "gemma" in name:
        assert text.startswith("<bos>")
    if "t5" in name:
        assert "Query: how to sort Document: the list" in text


@pytest.mark.parametrize("name", ["t5gemma", "t5gemma2", "modernbert"])
def test_a_bf16_body_keeps_the_frequencies_of_rotary_positions_in_fp32(name, saved):
    ranker, _ = saved(name)
    body = ranker._body(torch.bfloat16)
    frequencies = [buffer for key, buffer in body.named_buffers() if "inv_freq" in key]
    assert frequencies
    assert {buffer.dtype for buffer in frequencies} == {torch.float32}
    assert {parameter.dtype for parameter in body.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in ranker.parameters()} == {torch.float32}


def test_a_saved_ranker_trained_further_is_not_held_to_its_old_length(saved, tmp_path):
    ranker, _ = saved("bert")
    ranker = copy.deepcopy(ranker)
    ranker.max_length = ranker.tokenizer.model_max_length = 20
    ranker.save(tmp_path / "short")
    assert Ranker.from_pretrained(tmp_path / "short").max_length == 20
    assert Ranker.from_encoder(tmp_path / "short", max_length=30).max_length == 30
    positions = ranker.encoder.config.max_position_embeddings
    assert Ranker.from_encoder(tmp_path / "short", max_length=10**6).max_length == positions


def test_nothing_in_the_folder_names_custom_code(saved):
    for name in ("t5", "t5gemma2", "bert"):
        _, folder = saved(name)
        types = [part["type"] for part in json.loads((folder / "modules.json").read_text())]
        assert [kind.split(".")[0] for kind in types] == ["sentence_transformers"] * 3
        assert not list(folder.rglob("*.py")) + list(folder.rglob("*.bin")) + list(folder.rglob("*.pkl"))
        for file in folder.rglob("*.json"):
            assert "auto_map" not in file.read_text()


def test_the_longer_text_is_cut_and_the_template_never(saved):
    ranker, _ = saved("t5")
    frame = ranker.tokenizer("", "")["input_ids"]
    for query, doc in ((tiny.text(3), tiny.text(300)), (tiny.text(300), tiny.text(3)), (tiny.text(300), tiny.text(300))):
        (ids,) = tokenize_pairs(ranker.tokenizer, [query], [doc], max_length=48)["input_ids"]
        text = ranker.tokenizer.decode(ids, skip_special_tokens=True)
        assert len(ids) == 48
        assert text.startswith("Query: ")
        assert ids[-1] == frame[-1] == ranker.tokenizer.eos_token_id
        assert "Document:" in text
        for short in (query, doc):
            if len(short.split()) == 3:
                assert short in text


def test_long_texts_score_as_the_stock_cross_encoder_scores_them(saved):
    pairs = [(tiny.text(40, i), tiny.text(60, i)) for i in range(3)]
    for name in ("t5", "t5gemma2"):
        ranker, folder = saved(name)
        np.testing.assert_allclose(stock(folder, pairs), ranker.score(pairs, precision="fp32"), atol=1e-6)


def test_an_empty_doc_and_one_of_200_000_words_are_scored_at_once(saved):
    ranker, _ = saved("t5")
    began = time.monotonic()
    scores = ranker.score([("how to sort", ""), ("", ""), ("how to sort", "list " * 200_000)], precision="fp32")
    assert np.isfinite(scores).all()
    assert time.monotonic() - began < 2
    assert scores[2] == pytest.approx(ranker.score([("how to sort", "list " * 1000)], precision="fp32")[0], abs=1e-6)


def test_no_pairs_have_no_scores(saved):
    assert saved("t5")[0].score([]).tolist() == []


@pytest.mark.parametrize("name", ["t5", "t5gemma", "t5gemma2", "bert"])
@pytest.mark.parametrize("pooling", STOCK_POOLINGS)
def test_scores_do_not_depend_on_the_batch_they_were_computed_in(name, pooling, saved):
    ranker, _ = saved(name, pooling)
    alone = ranker.score(PAIRS, token_budget=1, precision="fp32")
    for budget in (60, 150, 10_000):
        np.testing.assert_allclose(ranker.score(PAIRS, token_budget=budget, precision="fp32"), alone, atol=1e-5)


def test_the_plain_mean_does_depend_on_it(checkpoint):
    ranker = Ranker.from_encoder(checkpoint("t5"), pooling="mean").eval()
    alone = ranker.score(PAIRS, token_budget=1, precision="fp32")
    assert np.abs(ranker.score(PAIRS, token_budget=10_000, precision="fp32") - alone).max() > 1e-3


def test_scores_come_in_the_order_of_the_pairs_in_chunks_as_well(saved, monkeypatch):
    ranker, _ = saved("t5")
    expected = [ranker.score([pair], precision="fp32")[0] for pair in PAIRS]
    monkeypatch.setattr(module, "CHUNK", 3)
    done = []
    scores = ranker.score(PAIRS, token_budget=60, precision="fp32", on_batch=done.append)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert sum(done) == len(PAIRS)


def test_rank_puts_the_best_doc_first_and_keeps_ties_in_order(saved):
    ranker, _ = saved("t5")
    docs = [doc for _, doc in PAIRS] + [PAIRS[0][1]]
    ranked = ranker.rank("how to sort", docs)
    assert [line.score for line in ranked] == sorted((line.score for line in ranked), reverse=True)
    assert sorted(line.position for line in ranked) == list(range(len(docs)))
    assert all(line.text == docs[line.position] for line in ranked)
    constant = Ranker.from_pretrained(saved("t5")[1])
    torch.nn.init.zeros_(constant.head.weight)
    assert [line.position for line in constant.rank("how", docs)] == list(range(len(docs)))


def test_scoring_leaves_training_mode_as_it_was_and_runs_without_dropout(checkpoint):
    ranker = Ranker.from_encoder(checkpoint("t5"), dropout=0.5).train()
    assert ranker.score(PAIRS, precision="fp32").tolist() == ranker.score(PAIRS, precision="fp32").tolist()
    assert ranker.training
    assert ranker.encoder.training


def test_bf16_is_close_and_its_scores_are_fp32(saved):
    ranker, _ = saved("t5")
    scores = ranker.score(PAIRS, precision="bf16")
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, ranker.score(PAIRS, precision="fp32"), atol=0.05)
    assert next(ranker.encoder.parameters()).dtype == torch.float32


def test_fp16_is_refused(saved):
    with pytest.raises(ModelError, match="fp16 is refused"):
        saved("t5")[0].score(PAIRS, precision="fp16")


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_the_gradient_reaches_every_trainable_parameter(name, checkpoint):
    ranker = Ranker.from_encoder(checkpoint(name), dropout=0.0, max_length=48)
    queries, docs = zip(*PAIRS, strict=True)
    (batch,) = pair_batches(ranker.tokenizer, queries, docs, max_length=48, token_budget=10_000)
    (ranker(**batch.inputs) * torch.arange(1.0, 1 + len(PAIRS))).sum().backward()
    for key, parameter in ranker.named_parameters():
        unused = "pooler" in key or not parameter.requires_grad
        assert unused or (parameter.grad is not None and parameter.grad.any()), key


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_parts_hold_every_trainable_parameter_once(name, checkpoint):
    ranker = Ranker.from_encoder(checkpoint(name))
    parts = ranker.parts()
    every = [parameter for group in parts.values() for parameter in group]
    trainable = [parameter for parameter in ranker.parameters() if parameter.requires_grad]
    assert len({id(parameter) for parameter in every}) == len(every) == len(trainable)
    assert max(parts["embeddings"], key=torch.numel) is ranker.encoder.get_input_embeddings().weight
    assert [tuple(parameter.shape) for parameter in parts["head"]] == [(1, 16), (1,)]


def test_the_embedding_that_t5_keeps_under_two_names_is_saved_once(saved):
    from safetensors.torch import load_file

    weights = load_file(saved("t5")[1] / "model.safetensors")
    assert [key for key in weights if "shared" in key or "embed_tokens" in key] == ["shared.weight"]


def test_the_head_is_drawn_from_the_seed_and_leaves_the_global_generator_alone(checkpoint):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    heads = [Ranker.from_encoder(checkpoint("t5"), seed=seed).head.weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_pooling_is_named(checkpoint):
    with pytest.raises(ModelError, match="unknown pooling 'frist', did you mean 'first'"):
        Ranker.from_encoder(checkpoint("t5"), pooling="frist")


def test_a_max_length_that_the_template_fills_is_refused(checkpoint):
    with pytest.raises(ModelError, match="max_length 8 leaves no room for texts: the template alone takes"):
        Ranker.from_encoder(checkpoint("t5"), max_length=8)


def test_max_length_stops_where_learned_positions_end(checkpoint):
    for name, limit in (("bert", 128), ("roberta", 64), ("t5", 1000)):
        ranker = Ranker.from_encoder(checkpoint(name), max_length=1000)
        assert ranker.max_length == limit
        assert np.isfinite(ranker.score([("how", tiny.text(300))], precision="fp32")).all()


def test_pooling_mean_is_refused_before_anything_is_written(checkpoint, tmp_path):
    ranker = Ranker.from_encoder(checkpoint("t5"), pooling="mean")
    with pytest.raises(ModelError, match="pooling 'mean' averages padding in"):
        ranker.save(tmp_path / "ranker")
    assert list(tmp_path.iterdir()) == []


def contents(folder):
    return {file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O error: disk full")])
def test_a_folder_stays_as_it_was_when_writing_fails(error, saved, tmp_path, monkeypatch):
    ranker, _ = saved("t5")
    ranker.save(tmp_path / "ranker")
    before = contents(tmp_path)

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(CrossEncoder, "save_pretrained", fail)
    with pytest.raises(ModelError, match=r"cannot write the ranker: .*; what stood there is unchanged"):
        ranker.save(tmp_path / "ranker")
    assert contents(tmp_path) == before


def test_saving_again_replaces_the_folder_and_nothing_else_is_left_behind(saved, tmp_path):
    ranker, folder = saved("t5")
    (tmp_path / "ranker").mkdir()
    (tmp_path / "ranker" / "stale").write_text("old")
    ranker.save(tmp_path / "ranker", card="# Card")
    assert [path.name for path in tmp_path.iterdir()] == ["ranker"]
    assert not (tmp_path / "ranker" / "stale").exists()
    assert (tmp_path / "ranker" / "README.md").read_text() == "# Card"
    ranker.save(tmp_path / "again", card="# Card")
    assert contents(tmp_path / "ranker") == contents(tmp_path / "again")
    assert contents(folder).keys() == contents(tmp_path / "again").keys()


def test_a_loaded_ranker_can_be_trained_on_and_saved_again(saved, tmp_path):
    for name in ("t5", "t5gemma2", "bert"):
        ranker = Ranker.from_pretrained(saved(name)[1], dropout=0.2)
        assert {m.p for m in ranker.modules() if isinstance(m, torch.nn.Dropout)} >= {0.2}
        with torch.no_grad():
            ranker.head.bias.add_(1)
        ranker.save(tmp_path / name)
        again = Ranker.from_pretrained(tmp_path / name).score(PAIRS, precision="fp32")
        np.testing.assert_allclose(again, saved(name)[0].score(PAIRS, precision="fp32") + 1, atol=1e-6)


def _edit(name, **changes):
    def change(folder):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


DAMAGES = {
    "found no modules.json": lambda folder: (folder / "modules.json").unlink(),
    "found a damaged file": lambda folder: (folder / "modules.json").write_text("[{"),
    "found Transformer": lambda folder: (folder / "modules.json").write_text('[{"type": "a.Transformer", "path": ""}]'),
    "found no model.safetensors": lambda folder: (folder / "2_Dense" / "model.safetensors").unlink(),
    "found a damaged file: header": lambda folder: (folder / "2_Dense" / "model.safetensors").write_bytes(b"\x00" * 20),
    "found a head of 1 outputs or with an activation": _edit("2_Dense/config.json", activation_function="torch.nn.Sigmoid"),
    "found 'max'": _edit("1_Pooling/config.json", pooling_mode="max"),
    "cannot load its weights": lambda folder: (folder / "model.safetensors").write_bytes(b"\x00" * 20),
    "found none": lambda folder: (folder / "config.json").unlink(),
    "cannot load its tokenizer": lambda folder: (folder / "tokenizer.json").write_text("{"),
    "found a damaged file: 'linear.bias'": lambda folder: _wrong_head(folder / "2_Dense" / "model.safetensors"),
    "expected a head of 16 weights and a bias": lambda folder: _wrong_head(folder / "2_Dense" / "model.safetensors", bias=True),
    "found a damaged file: list": lambda folder: (folder / "1_Pooling" / "config.json").write_text("[]"),
}


def _wrong_head(path, bias=False):
    from safetensors.torch import save_file

    save_file({"linear.weight": torch.zeros(1, 5)} | ({"linear.bias": torch.zeros(1)} if bias else {}), path)


@pytest.mark.parametrize("line", DAMAGES)
def test_a_damaged_folder_is_one_line(line, saved, tmp_path):
    folder = tmp_path / "ranker"
    saved("t5")[0].save(folder)
    DAMAGES[line](folder)
    with pytest.raises(ModelError) as caught:
        Ranker.from_pretrained(folder)
    assert line.split(": ")[0] in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="expected a saved ranker's folder, found nothing there"):
        Ranker.from_pretrained(tmp_path / "none")


def test_every_pooling_is_stock_or_refused():
    assert set(POOLINGS) - set(STOCK_POOLINGS) == {"mean"}


@pytest.mark.parametrize("name", [name for name in tiny.BUILDERS if name != "gpt2"])
def test_layers_hold_each_trainable_weight_once_from_the_bottom_up(name, checkpoint):
    ranker = Ranker.from_encoder(checkpoint(name))
    layers = ranker.layers()
    numbered = [f"layer_{number}" for number in range(3 if name == "modernbert" else 2)]
    assert [layer for layer in layers if layer != "top"] == ["embeddings", *numbered, "head"]
    held = [id(parameter) for parameters in layers.values() for parameter in parameters]
    assert sorted(held) == sorted({id(parameter) for parameter in ranker.parameters() if parameter.requires_grad})
    assert any(parameter is ranker.encoder.get_input_embeddings().weight for parameter in layers["embeddings"])
