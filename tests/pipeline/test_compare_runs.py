"""headtail compare-runs: labels that tell runs apart, and what it says to folders that hold none."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.ledgers import fake_run, write_run

from headtail.errors import HeadtailError
from headtail.pipeline.compare import compare_runs, labels


def test_two_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    folders = [write_run(tmp_path / day / "plain", fake_run(seed=n, steps=200, name="plain")) for n, day in enumerate(("monday", "tuesday"))]
    folders.append(write_run(tmp_path / "capped", fake_run(steps=200, done=False)))
    page = compare_runs(folders, tmp_path / "deep" / "page.html").read_text()
    for label in ("monday/plain", "tuesday/plain", "capped"):
        assert f"<bdi>{label}</bdi>" in page


def test_labels_by_hand():
    assert labels([Path("/a/x"), Path("/b/x"), Path("/b/y")]) == ["a/x", "b/x", "y"]
    assert labels([Path("/1/a/x"), Path("/2/a/x")]) == ["1/a/x", "2/a/x"]
    assert labels([Path("/x"), Path("/a/x")]) == ["//x", "a/x"]


def test_what_cannot_be_compared_is_one_line(tmp_path):
    run = write_run(tmp_path / "run", fake_run(steps=100))
    with pytest.raises(HeadtailError, match=r"none: expected the folder of a training run, found no ledger\.jsonl"):
        compare_runs([run, tmp_path / "none"], tmp_path / "page.html")
    with pytest.raises(HeadtailError, match="the same run is given twice"):
        compare_runs([run, tmp_path / "x" / ".." / "run"], tmp_path / "page.html")
    with pytest.raises(HeadtailError, match="expected at most 12 runs"):
        compare_runs([tmp_path / str(n) for n in range(13)], tmp_path / "page.html")
    (run / "config.toml").write_text("name = ")
    with pytest.raises(HeadtailError, match=r"config\.toml: expected TOML"):
        compare_runs([run], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_the_verb_writes_the_page_and_loads_no_torch(tmp_path):
    run = write_run(tmp_path / "run", fake_run(steps=100))
    code = f"import sys, atexit; sys.argv = ['headtail', 'compare-runs', {str(run)!r}, '-o', {str(tmp_path / 'page.html')!r}]\n"
    code += "atexit.register(lambda: print('torch' in sys.modules))\nfrom headtail.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"page: {tmp_path / 'page.html'}\nFalse\n"
