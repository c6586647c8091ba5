"""What is saved is what is loaded, to the bit, and what is damaged is passed over."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from tests.training.lists import stream

from headtail.errors import CheckpointError, HeadtailError
from headtail.files import MANIFEST, verify
from headtail.losses import LOSSES
from headtail.models.ranker import Ranker
from headtail.training import checkpoint as module
from headtail.training.checkpoint import Checkpoints
from headtail.training.ledger import Ledger, read_ledger
from headtail.training.log import TIMES
from headtail.training.loop import Hooks, Plan, Validation, train
from headtail.training.state import Progress

TENSORS = {
    "weights": {"a": torch.arange(6.0).view(2, 3), "b.c": torch.tensor(3.5), "none": torch.zeros(0, 4)},
    "optimizer": {"a/step": torch.tensor(7.0), "a/exp_avg": torch.ones(2, 3, dtype=torch.bfloat16)},
}


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "run" / "checkpoints")


def test_what_is_saved_is_what_is_loaded(checkpoints):
    checkpoints.save(120, TENSORS, {"step": 120})
    found = checkpoints.load()
    assert (found.step, found.state, found.passed_over) == (120, {"step": 120}, ())
    for file, tensors in TENSORS.items():
        assert set(found.tensors[file]) == set(tensors)
        for name, tensor in tensors.items():
            assert torch.equal(found.tensors[file][name], tensor)
            assert found.tensors[file][name].dtype == tensor.dtype


def test_the_folder_holds_safetensors_and_json_alone(checkpoints):
    folder = checkpoints.save(3, TENSORS, {})
    assert folder.name == "step-00000003"
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "optimizer.safetensors", "state.json", MANIFEST}
    assert torch.equal(load_file(folder / "weights.safetensors")["a"], TENSORS["weights"]["a"])    # the library reads it


def test_the_last_two_and_every_best_they_go_back_to_are_kept(checkpoints):
    for step, best in ((1, 1), (2, 1), (3, 3), (4, 3)):
        checkpoints.save_best(step, lambda folder: (folder / "model.txt").write_text("x"))
        checkpoints.save(step, TENSORS, {"best_step": best})
    assert checkpoints.steps() == [3, 4]
    assert checkpoints.steps("best") == [3]
    assert not list(checkpoints.folder.glob(".*"))


DAMAGE = {
    "a file is missing": lambda folder: (folder / "state.json").unlink(),
    "a file is too many": lambda folder: (folder / "more.json").write_text("{}"),
    "a file is cut": lambda folder: (folder / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes()[:-1]),
    "a bit is flipped": lambda folder: flip(folder / "optimizer.safetensors", -1),
    "a bit of the manifest is flipped": lambda folder: flip(folder / MANIFEST, 3),
    "the manifest is missing": lambda folder: (folder / MANIFEST).unlink(),
    "the manifest tells of another file": lambda folder: (folder / MANIFEST).write_text('{"files": {}, "sha256": ""}'),
}


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(damage, checkpoints):
    for step in (1, 2):
        checkpoints.save(step, TENSORS, {"step": step})
    DAMAGE[damage](checkpoints.path(2))
    with pytest.raises(CheckpointError):
        verify(checkpoints.path(2))
    found = checkpoints.load()
    assert found.step == 1
    assert "step-00000002" in found.passed_over[0]
    shutil.rmtree(checkpoints.path(1))
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole .*--overwrite begins anew"):
        checkpoints.load()


def test_a_flipped_bit_that_the_library_does_not_see_is_seen(checkpoints):
    folder = checkpoints.save(1, TENSORS, {})
    flip(folder / "weights.safetensors", -1)
    load_file(folder / "weights.safetensors")    # loads a wrong weight in silence
    with pytest.raises(CheckpointError, match="SHA-256"):
        verify(folder)


def test_without_room_nothing_is_written(checkpoints, monkeypatch):
    checkpoints.save(1, TENSORS, {})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(CheckpointError, match=r"no room on disk: it takes 0 MB, 0 MB are free; what was saved before is whole"):
        checkpoints.save(2, TENSORS, {})
    assert checkpoints.steps() == [1]


def test_a_save_that_was_killed_leaves_nothing_that_counts(checkpoints):
    checkpoints.save(1, TENSORS, {})
    shutil.copytree(checkpoints.path(1), checkpoints.folder / ".step-00000002.staged")
    assert checkpoints.load().step == 1
    checkpoints.save(2, TENSORS, {})
    assert not list(checkpoints.folder.glob(".*"))


def test_progress_survives_json_with_numbers_that_are_not_finite():
    progress = Progress(step=3, best={"RR@10": 0.5}, best_step=2, window=[{"loss": float("nan"), "lists": 2.0}], train_loss=[float("inf"), 1.0])
    again = Progress.from_plain(json.loads(json.dumps(progress.plain(), allow_nan=False)))
    assert again.window[0]["loss"] != again.window[0]["loss"]
    assert again.train_loss == [float("inf"), 1.0]
    assert (again.step, again.best, again.best_step) == (3, {"RR@10": 0.5}, 2)


# A run that goes on is the run that was never stopped.

OPTIONS = {"adamw": {}, "adafactor": {"name": "adafactor", "encoder_lr": 1e-3}, "frozen": {"layer_decay": 0.9}}


class Killed(Exception):  # noqa: N818
    pass


def run(encoder, folder, *, die_at=None, ema=0.0, options=None, validate=True, save_every=3, **more):
    """One call of train; `die_at` kills it after so many steps of this call, as a power cut would."""
    ranker = Ranker.from_encoder(encoder, max_length=32, dropout=0.2)
    if options == "frozen":
        ranker.encoder.get_input_embeddings().weight.requires_grad_(False)
    left, turns = [die_at], [0]

    def on_step(now):
        if left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

    def validation():
        turns[0] += 1
        score = float(ranker.score([("cold water", "ice is cold")], precision="fp32")[0])
        return Validation({"x": score}, 1.0, {}, {"q": [f"d{score * 1e6 % 7:.0f}", "e"]})

    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder / "checkpoints")
    ledger = Ledger(folder / "ledger.jsonl")
    if not checkpoints.steps():
        ledger.cut(0)
    plan = Plan(
        steps=14, lists_per_step=2, warmup_steps=2, log_every=4, ema=ema, checkpoint_every=save_every, seed=3,
        validate_every=5 if validate else 0, best_by="x", **more,
    )
    hooks = Hooks(validate=validation if validate else None, on_step=on_step)
    result = train(
        ranker, stream, LOSSES["hybrid"], plan, optimizer=OPTIONS[options or "adamw"], hooks=hooks, ledger=ledger,
        checkpoints=checkpoints,
    )
    return result, ranker


def written(folder):
    """The ledger without times and without the line that says where a run went on."""
    records = [record for record in read_ledger(folder / "ledger.jsonl") if record["kind"] != "resume"]
    return [{key: value for key, value in record.items() if key not in TIMES} for record in records]


def same_end(one, other):
    a, b = Checkpoints(one / "checkpoints").load(), Checkpoints(other / "checkpoints").load()
    assert a.step == b.step == 14
    for file in a.tensors.keys() | b.tensors.keys():
        assert a.tensors[file].keys() == b.tensors[file].keys()
        assert all(torch.equal(a.tensors[file][name], b.tensors[file][name]) for name in a.tensors[file]), file
    states = [{k: v for k, v in dict(found.state).items() if k not in ("seconds", "ledger", "window")} for found in (a, b)]
    assert states[0] == states[1]
    assert written(one) == written(other)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(("options", "ema"), [("adamw", 0.0), ("adamw", 0.9), ("adafactor", 0.0), ("frozen", 0.0)])
def test_a_run_killed_again_and_again_ends_as_one_that_never_was(options, ema, cached, encoder, tmp_path):
    more = {"options": options, "ema": ema, "gradient_cache": cached}
    whole, ranker = run(encoder, tmp_path / "whole", **more)
    for kill in (4, 1, 5, 3):
        with pytest.raises(Killed):
            run(encoder, tmp_path / "killed", die_at=kill, **more)
    result, again = run(encoder, tmp_path / "killed", **more)
    assert (whole.resumed_from, result.resumed_from) == (None, 6)    # 4 steps; 3 + 1; 3 + 5; 6 + 3 of which 9 was not saved
    assert (whole.best_step, whole.best) == (result.best_step, result.best)
    same_end(tmp_path / "whole", tmp_path / "killed")
    for name, tensor in ranker.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_a_run_that_is_not_resumed_from_its_own_state_is_told_apart(encoder, tmp_path):
    """The comparison can fail: an optimizer that starts anew ends elsewhere."""
    run(encoder, tmp_path / "whole")
    with pytest.raises(Killed):
        run(encoder, tmp_path / "other", die_at=8)
    folder = Checkpoints(tmp_path / "other" / "checkpoints")
    found = folder.load()
    shutil.rmtree(folder.folder)
    momentum = {name: torch.zeros_like(tensor) if name.endswith("exp_avg") else tensor for name, tensor in found.tensors["optimizer"].items()}
    folder.save(found.step, {**found.tensors, "optimizer": momentum}, found.state)
    run(encoder, tmp_path / "other")
    with pytest.raises(AssertionError):
        same_end(tmp_path / "whole", tmp_path / "other")


def test_a_signal_saves_and_the_same_call_goes_on(encoder, tmp_path, signals):
    import signal

    def stopped():
        ranker = Ranker.from_encoder(encoder, max_length=32, dropout=0.2)
        hooks = Hooks(on_step=lambda now: signals(signal.SIGTERM) if now["step"] == 5 else None)
        checkpoints = Checkpoints(tmp_path / "checkpoints")
        plan = Plan(steps=8, lists_per_step=2)
        return train(ranker, stream, LOSSES["hybrid"], plan, hooks=hooks, ledger=Ledger(tmp_path / "l.jsonl"), checkpoints=checkpoints)

    first, second = stopped(), stopped()
    assert (first.steps, first.stopped_by, first.resumed_from) == (5, "SIGTERM", None)
    assert (second.steps, second.stopped_by, second.resumed_from) == (8, "", 5)


def test_a_run_that_passed_over_a_damaged_checkpoint_says_so_and_ends_the_same(encoder, tmp_path):
    run(encoder, tmp_path / "whole")
    with pytest.raises(Killed):
        run(encoder, tmp_path / "killed", die_at=10)
    flip(Checkpoints(tmp_path / "killed" / "checkpoints").path(9) / "weights.safetensors", -5)
    assert run(encoder, tmp_path / "killed")[0].resumed_from == 6
    warnings = [record["text"] for record in written(tmp_path / "killed") if record["kind"] == "warning"]
    assert len(warnings) == 1
    assert "step-00000009/weights.safetensors: damaged" in warnings[0]
    records = [record for record in written(tmp_path / "killed") if record["kind"] != "warning"]
    assert records == written(tmp_path / "whole")


def test_a_checkpoint_of_another_model_is_refused(encoder, tmp_path):
    run(encoder, tmp_path / "run", options="frozen")
    with pytest.raises(CheckpointError, match=r"of another model: it differs in 'encoder.shared.weight'; --overwrite begins anew"):
        run(encoder, tmp_path / "run")


def test_a_ledger_that_lost_lines_is_not_gone_on_with(encoder, tmp_path):
    with pytest.raises(Killed):
        run(encoder, tmp_path, die_at=10)
    (tmp_path / "ledger.jsonl").write_text("")
    with pytest.raises(HeadtailError, match="lines were lost"):
        run(encoder, tmp_path)
