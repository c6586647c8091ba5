import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.models import tiny

from headtail.errors import ModelError
from headtail.models.encoders import embeddings_of, hidden_size, load_encoder, load_tokenizer, read_config
from headtail.models.ranker import Ranker

IDS = torch.tensor([[5, 9, 12, 30, 7, 1], [8, 6, 1, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])


def whole(name, folder):
    """The encoder's part of the full model, loaded the way its own class does."""
    if name == "t5gemma2":
        return transformers.T5Gemma2ForConditionalGeneration.from_pretrained(folder).get_encoder()
    if name in ("bert", "distilbert", "roberta", "modernbert"):
        return transformers.AutoModelForMaskedLM.from_pretrained(folder).base_model
    return transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).get_encoder()


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_a_full_checkpoint_gives_the_encoder_that_its_own_class_has(name, checkpoint):
    encoder = load_encoder(checkpoint(name)).eval()
    with torch.no_grad():
        ours = encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
        theirs = whole(name, checkpoint(name)).eval()(input_ids=IDS, attention_mask=MASK).last_hidden_state
    assert ours.shape == (2, 6, 16)
    torch.testing.assert_close(ours[MASK.bool()], theirs[MASK.bool()], rtol=1e-6, atol=1e-6)
    assert hidden_size(encoder.config) == 16
    assert all(parameter.dtype == torch.float32 for parameter in encoder.parameters())
    assert embeddings_of(encoder).weight.shape[1] == 16


def test_t5gemma2_keeps_its_text_weights_and_only_a_stub_of_its_eyes(checkpoint):
    encoder = load_encoder(checkpoint("t5gemma2"))
    stored = load_file(checkpoint("t5gemma2") / "model.safetensors")
    for key, tensor in encoder.text_model.state_dict().items():
        assert torch.equal(tensor, stored[f"model.encoder.{key}"]), key
    eyes = [p for key, p in encoder.named_parameters() if not key.startswith("text_model.")]
    assert not any(p.requires_grad for p in eyes)
    assert encoder.config.vision_config.num_hidden_layers == 1


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_dropout_is_set_in_every_layer_and_attention_dropout_apart(name, checkpoint):
    encoder = load_encoder(checkpoint(name), dropout=0.3)
    rates = {key: module.p for key, module in encoder.named_modules() if isinstance(module, torch.nn.Dropout)}
    of_attention = ("self.dropout", "attention.dropout", "attn.attention_dropout")    # BERT and RoBERTa, DistilBERT, ModernBERT
    hidden = {key: rate for key, rate in rates.items() if not key.endswith(of_attention)}
    assert len(hidden) >= 2
    assert {key: rate for key, rate in hidden.items() if rate != 0.3} == {}
    encoder.train()
    with torch.no_grad():
        once, again = (encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state for _ in range(2))
    assert not torch.equal(once, again)


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_dropout_of_none_keeps_the_checkpoints_own_rates(name, checkpoint):
    config = read_config(checkpoint(name))
    keys = ("dropout_rate", "hidden_dropout_prob", "dropout", "mlp_dropout")
    rate = next(getattr(config, key) for key in keys if hasattr(config, key))
    encoder = load_encoder(checkpoint(name))
    assert rate in {module.p for module in encoder.modules() if isinstance(module, torch.nn.Dropout)}


@pytest.mark.parametrize("name", ["t5gemma", "t5gemma2", "bert", "modernbert"])
def test_attention_dropout_reaches_the_attention(name, checkpoint):
    def rates(encoder):
        found = [m.attention_dropout for m in encoder.modules() if isinstance(getattr(m, "attention_dropout", None), float)]
        return found + [m.p for key, m in encoder.named_modules() if key.endswith("attention.self.dropout")]

    assert set(rates(load_encoder(checkpoint(name), dropout=0.3, attention_dropout=0.2))) - {0.0} == {0.2}
    assert set(rates(load_encoder(checkpoint(name), dropout=0.3))) <= {0.0}


def damaged(folder, target, change):
    """A copy of a checkpoint with `change` applied to its tensors."""
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    tensors = load_file(target / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


LAST_LAYER = {
    "t5": "encoder.block.1.layer.1.DenseReluDense.wo.weight",
    "umt5": "encoder.block.1.layer.0.SelfAttention.q.weight",
    "t5gemma": "model.encoder.layers.1.mlp.down_proj.weight",
    "t5gemma2": "model.encoder.layers.1.mlp.down_proj.weight",
    "bert": "bert.encoder.layer.1.output.dense.weight",
}


@pytest.mark.parametrize(("name", "key"), LAST_LAYER.items())
def test_a_missing_weight_is_refused_by_name_and_not_left_random(name, key, checkpoint, tmp_path):
    folder = damaged(checkpoint(name), tmp_path / name, lambda tensors: tensors.pop(key))
    with pytest.raises(ModelError) as caught:
        load_encoder(folder)
    line = str(caught.value)
    assert "1 weights of" in line
    assert ".".join(key.split(".")[-4:]) in line
    assert "\n" not in line


def test_a_weight_of_the_wrong_shape_is_refused(checkpoint, tmp_path):
    def halve(tensors):
        tensors[LAST_LAYER["t5"]] = tensors[LAST_LAYER["t5"]][:, :8].contiguous()

    with pytest.raises(ModelError, match=r"cannot load|wrong shape"):
        load_encoder(damaged(checkpoint("t5"), tmp_path / "t5", halve))


def test_a_cut_off_weight_file_is_one_line(checkpoint, tmp_path):
    folder = damaged(checkpoint("t5"), tmp_path / "t5", lambda tensors: None)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot load its weights") as caught:
        load_encoder(folder)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_one_line(tmp_path):
    for name, line in (
        ("nobody/has-this", "unknown encoder 'nobody/has-this'"),
        (tmp_path, "expected a model folder with a config.json"),
        ("./nothing", "expected a model folder with a config.json"),
    ):
        with pytest.raises(ModelError, match=line) as caught:
            load_encoder(name)
        assert "\n" not in str(caught.value)


def test_a_decoder_is_refused(tmp_path):
    tiny.gpt2(tmp_path)
    with pytest.raises(ModelError, match="'gpt2' is no encoder; known: t5, mt5"):
        load_encoder(tmp_path)


def test_an_encoder_decoder_of_another_family_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bart"}))
    with pytest.raises(ModelError, match="no encoder is known for model type 'bart'"):
        load_encoder(tmp_path)


def test_a_folder_without_a_tokenizer_is_one_line(checkpoint, tmp_path):
    (tmp_path / "config.json").write_bytes((checkpoint("umt5") / "config.json").read_bytes())
    with pytest.raises(ModelError, match="cannot load its tokenizer") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def tokens(ranker, query, doc):
    return ranker.tokenizer.convert_ids_to_tokens(ranker.tokenizer(query, doc)["input_ids"])


@pytest.mark.parametrize("name", ["t5", "mt5", "umt5"])
def test_the_template_of_t5_is_what_the_whole_line_would_give(name, checkpoint):
    ranker = Ranker.from_encoder(checkpoint(name))
    line = ranker.tokenizer("Query: how to sort Document: the best list")["input_ids"]
    assert ranker.tokenizer("how to sort", "the best list")["input_ids"] == line
    assert tokens(ranker, "how", "the")[-1] == "</s>"


@pytest.mark.parametrize("name", ["t5gemma", "t5gemma2"])
def test_the_template_of_gemma_begins_with_bos_and_keeps_words_apart(name, checkpoint):
    ranker = Ranker.from_encoder(checkpoint(name))
    found = tokens(ranker, "how to sort", "the best list")
    assert (found[0], found[-1]) == ("<bos>", "<eos>")
    assert "".join(found[1:-1]) == "▁Query:▁how▁to▁sort▁Document:▁the▁best▁list"
    assert ranker.tokenizer.padding_side == "right"


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("bert", "[CLS] how [SEP] list [SEP]"),
        ("distilbert", "[CLS] how [SEP] list [SEP]"),
        ("modernbert", "[CLS] how [SEP] list [SEP]"),
        ("roberta", "<s> h o w </s> </s> l i s t </s>"),
    ],
)
def test_bert_like_encoders_keep_the_pair_format_they_were_trained_on(name, frame, checkpoint):
    assert " ".join(tokens(Ranker.from_encoder(checkpoint(name)), "how", "list")) == frame


def test_a_template_for_bert_stands_between_cls_and_sep(checkpoint):
    ranker = Ranker.from_encoder(checkpoint("bert"), template=("query:", "document:"))
    encoded = ranker.tokenizer("how", "list")
    assert tokens(ranker, "how", "list") == ["[CLS]", "query", ":", "how", "document", ":", "list", "[SEP]"]
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1, 1]
