"""Copies of the ledger: real event files read back, and sinks that raise, hang or are not there."""

import json
import sys
import threading
import time
import warnings

import pytest
from tests.ledgers import fake_run

from headtail.errors import ConfigError
from headtail.training import sinks as module
from headtail.training.sinks import SINKS, flat, open_sinks

RECORDS = [record for record in fake_run(steps=200, every=100, layers=2, fault="over-fitting") if record["kind"] in ("train", "validation")]
CONFIG = {"training": {"steps": 200}, "loss": {"name": "hybrid"}}


def values_of(record):
    return {key: value for key, value in record.items() if key not in ("kind", "step")}


def copy(folder, names, records=RECORDS, **options):
    said = []
    sinks = open_sinks(names, folder, run_name="fake", config=CONFIG, say=said.append, **options)
    for record in records:
        sinks.write(record["kind"], record["step"], values_of(record))
    sinks.close(60)
    return said


@pytest.fixture
def plant(monkeypatch):
    """Put a sink of one's own among SINKS."""

    def put(write=lambda *_: None, opened=lambda: None, close=lambda: None):
        class Planted:
            def __init__(self, folder, **options):
                opened()

            def write(self, kind, step, values):
                write(kind, step, values)

            def close(self):
                close()

        monkeypatch.setitem(SINKS, "planted", Planted)

    return put


def test_flat_names_nested_numbers_and_leaves_out_what_is_none():
    histogram = {"edges": [0, 1, 2], "positives": [1, 2], "negatives": [3, 4]}
    told = flat({"a": 1, "b": {"c": {"d": 2.5}}, "t": "text", "n": None, "x": float("nan"), "l": [1], "h": histogram, "e": {"edges": []}})
    assert told == {
        "a": 1.0, "b/c/d": 2.5, "t": "text",
        "h/positives": {"edges": [0, 1, 2], "counts": [1, 2]}, "h/negatives": {"edges": [0, 1, 2], "counts": [3, 4]},
    }    # fmt: skip


# ---- TensorBoard


def accumulated(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "sinks" / "tensorboard"))
    found.Reload()
    return found


def test_tensorboard_reads_back_what_was_written(tmp_path):
    assert copy(tmp_path, ["tensorboard"]) == []
    found = accumulated(tmp_path)
    losses = [(event.step, event.value) for event in found.Scalars("train/loss")]
    assert losses == [(r["step"], pytest.approx(r["loss"], rel=1e-6)) for r in RECORDS if r["kind"] == "train"]
    assert len(found.Scalars("train/layers/layer_1/drift")) == 20
    assert [event.step for event in found.Scalars("validation/measures/RR@10")] == [100, 200]
    histogram = found.Histograms("validation/histogram/positives")[-1].histogram_value
    assert histogram.bucket == RECORDS[-1]["histogram"]["positives"]
    assert "config/fake/text_summary" in found.Tags()["tensors"]


def test_a_resumed_run_supersedes_what_came_after_its_checkpoint(tmp_path):
    copy(tmp_path, ["tensorboard"])
    again = [{"kind": "train", "step": step, "loss": 9.0} for step in range(110, 160, 10)]
    time.sleep(1.1)    # event files are named by the second
    assert copy(tmp_path, ["tensorboard"], again, step=100) == []
    losses = [(event.step, event.value) for event in accumulated(tmp_path).Scalars("train/loss")]
    assert [step for step, _ in losses] == list(range(10, 160, 10))
    assert all((value == 9) == (step > 100) for step, value in losses)


# ---- wandb, offline


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))


def blocks_of(data):
    """The records of a LevelDB log, as wandb writes them: 7 bytes of header, then blocks of 32 KiB."""
    at, record = 7, b""
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        if room < 7:
            at += room
            continue
        length, part = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]    # 1 whole, 2 first, 3 middle, 4 last
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if part in (1, 4):
            yield record
            record = b""


def history(folder, rows):
    """So many rows of all offline runs below a folder: (run id, row); wandb's own process may still be writing the last ones."""
    until = time.monotonic() + 10
    while len(found := history_now(folder)) < rows and time.monotonic() < until:
        time.sleep(0.1)
    return found


def history_now(folder):
    from wandb.proto import wandb_internal_pb2

    rows = []
    for path in sorted(folder.rglob("*.wandb"), key=lambda path: path.stat().st_mtime):
        for data in blocks_of(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                items = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
                rows.append((path.stem.removeprefix("run-"), items))
    return rows


def test_wandb_offline_keeps_every_row_and_the_resumed_run_is_the_same_one(tmp_path, offline, capfd):
    assert copy(tmp_path, ["wandb"]) == []
    kept = json.loads((tmp_path / "sinks" / "wandb.json").read_text())["id"]
    rows = history(tmp_path, len(RECORDS))
    assert {run_id for run_id, _ in rows} == {kept}
    assert [row["step"] for _, row in rows] == [record["step"] for record in RECORDS]
    assert rows[0][1]["train/loss"] == pytest.approx(RECORDS[0]["loss"])
    assert rows[-1][1]["validation/measures/RR@10"] == pytest.approx(RECORDS[-1]["measures"]["RR@10"])
    assert rows[-1][1]["validation/histogram/positives._type"] == "histogram"

    copy(tmp_path, ["wandb"], RECORDS[:3], step=100)
    rows = history(tmp_path, len(RECORDS) + 3)
    assert len(rows) == len(RECORDS) + 3
    assert {run_id for run_id, _ in rows} == {kept}
    copy(tmp_path, ["wandb"], RECORDS[:1])
    assert json.loads((tmp_path / "sinks" / "wandb.json").read_text())["id"] != kept    # a run that begins anew
    assert capfd.readouterr() == ("", "")    # the terminal is the run's own


# ---- what goes wrong


def test_a_record_costs_a_step_microseconds(tmp_path, plant):
    plant(write=lambda *_: time.sleep(0.001))
    sinks = open_sinks(["planted"], tmp_path, run_name="fake", config={})
    values, spent = values_of(RECORDS[0]), []
    for step in range(2000):
        begun = time.perf_counter()
        sinks.write("train", step, values)
        spent.append(time.perf_counter() - begun)
    with pytest.warns(UserWarning, match="did not finish in time"):
        sinks.close(0)
    assert sorted(spent)[1000] < 50e-6    # the median, as a busy machine may take the processor away for a moment


@pytest.mark.parametrize("where", ["opened", "write", "close"])
def test_a_sink_that_raises_is_one_line_and_is_switched_off(where, tmp_path, plant):
    def fail(*_):
        raise OSError("no room\non disk")

    plant(**{where: fail})
    said = copy(tmp_path, ["planted", "tensorboard"])
    assert said == ["planted is switched off: OSError: no room on disk; training goes on and the ledger is complete"]
    assert len(accumulated(tmp_path).Scalars("train/loss")) == 20    # the other one is not touched


def test_a_sink_that_hangs_keeps_nobody_waiting_and_counts_what_it_missed(tmp_path, plant):
    release = threading.Event()
    plant(write=lambda *_: release.wait(30))
    said = []
    sinks = open_sinks(["planted"], tmp_path, run_name="fake", config={}, say=said.append)
    begun = time.monotonic()
    for step in range(module.ROOM + 501):
        sinks.write("train", step, {"loss": 1.0})
    sinks.close(0.3)
    assert time.monotonic() - begun < 2
    (line,) = said
    assert "did not finish in time: about 1,50" in line
    release.set()
    sinks.write("train", 9, {})    # and afterwards nothing happens any more
    sinks.close()
    assert len(said) <= 2


def test_a_sink_that_hangs_while_it_opens_keeps_nobody_waiting(tmp_path, plant):
    release = threading.Event()
    plant(opened=lambda: release.wait(30))
    begun = time.monotonic()
    sinks = open_sinks(["planted"], tmp_path, run_name="fake", config={}, say=lambda line: None)
    sinks.write("train", 1, {})
    sinks.close(0.2)
    assert time.monotonic() - begun < 2
    release.set()


def test_a_slow_sink_says_at_the_end_how_much_it_missed(tmp_path, plant, monkeypatch):
    gate = threading.Event()
    plant(opened=lambda: gate.wait(30))
    said = []
    sinks = open_sinks(["planted"], tmp_path, run_name="fake", config={}, say=said.append)
    for step in range(module.ROOM + 5):
        sinks.write("train", step, {})
    gate.set()
    sinks.close(10)
    assert said == ["planted was too slow: 5 records are missing there; the ledger has all"]


@pytest.mark.parametrize(("name", "library"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")])
def test_a_missing_library_names_the_extra(name, library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    (line,) = copy(tmp_path, [name])
    assert line.startswith(f"{name} is switched off: ")
    assert "pip install 'headtail[track]'" in line


def test_a_warning_turned_into_an_error_stops_nothing(tmp_path, plant):
    plant(opened=lambda: 1 / 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sinks = open_sinks(["planted"], tmp_path, run_name="fake", config={})
        sinks.write("train", 1, {})
        sinks.close()


def test_an_unknown_sink_is_refused_and_none_is_nothing(tmp_path):
    with pytest.raises(ConfigError, match="unknown sink 'wandbb', did you mean 'wandb'"):
        open_sinks(["wandbb"], tmp_path, run_name="fake", config={})
    assert copy(tmp_path, []) == []
    assert not (tmp_path / "sinks").exists()
