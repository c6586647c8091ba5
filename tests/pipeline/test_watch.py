"""headtail watch as a person types it: what is printed, how it ends, and what it leaves unloaded."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest
from tests.ledgers import fake_run, write_run

from headtail.errors import HeadtailError
from headtail.pipeline import watch as module
from headtail.pipeline.watch import watch

COMMAND = [sys.executable, "-m", "headtail", "watch"]


def test_a_pipe_gets_it_once_without_colours_and_without_torch(tmp_path):
    folder = write_run(tmp_path / "run", fake_run("over-fitting", name="mine", done=False))
    code = f"import sys; sys.argv = ['headtail', 'watch', {str(folder)!r}]\nimport atexit\n"
    code += "atexit.register(lambda: print({'torch', 'matplotlib'} & set(sys.modules)))\nfrom headtail.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mine  running  step 2,000 of 2,000")
    assert "\x1b" not in done.stdout
    assert done.stdout.rstrip().endswith("set()")


def test_a_folder_that_is_no_run_is_one_line_and_status_two(tmp_path):
    done = subprocess.run([*COMMAND, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"headtail: {tmp_path}: expected the folder of a training run, found no ledger.jsonl; `headtail train` makes one\n"


def in_a_terminal(folder, until):
    """Bytes that `headtail watch` sends to a terminal, and its exit status; `until(bytes, process)` may press keys."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.execv(sys.executable, [*COMMAND, str(folder)])
    sent, end = b"", time.monotonic() + 30
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                sent += os.read(terminal, 65536)
            except OSError:    # the other side is closed
                break
        until(sent, terminal)
    return sent.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])    # Ctrl-C cuts what was on its way


def test_ctrl_c_leaves_a_running_run_quietly(tmp_path):
    folder = write_run(tmp_path / "run", fake_run(name="mine", done=False))
    pressed = []

    def press(sent, terminal):
        if b"Separation" in sent and not pressed:
            pressed.append(os.write(terminal, b"\x03"))

    sent, status = in_a_terminal(folder, press)
    assert status == 0
    assert "Traceback" not in sent
    assert sent.rstrip().endswith("\x1b[?1049l")    # the screen that was there before


def test_what_is_watched_goes_on_until_the_run_ends(tmp_path):
    records = fake_run(name="mine", steps=300)
    folder = write_run(tmp_path / "run", records[:20])
    ends = []

    def finish(sent, terminal):
        if b"Separation" in sent and not ends:
            ends.extend(json.dumps(record) + "\n" for record in records[20:])
            with (folder / "ledger.jsonl").open("a") as ledger:
                ledger.write("".join(ends))

    sent, status = in_a_terminal(folder, finish)
    assert status == 0
    after = sent.split("\x1b[?1049l")[1]    # the last view stays
    assert "finished" in after


def test_states(tmp_path, monkeypatch):
    records = fake_run(steps=100)
    run = module._Watched(write_run(tmp_path / "run", records))
    assert run.state() == "finished"
    write_run(tmp_path / "run", [*records, {"kind": "train", "step": 110, "loss": 1.0}])    # resumed with more steps
    assert run.state() == "running"
    monkeypatch.setattr(module, "SILENT", -1)
    assert run.state() == "silent"
    write_run(tmp_path / "run", [*records[:-1], {**records[-1], "interrupted": True}])
    assert run.state() == "interrupted"


def test_a_run_without_a_ledger_yet_is_waited_for_and_a_cut_last_line_is_forgiven(tmp_path):
    folder = write_run(tmp_path / "run", [])
    (folder / "ledger.jsonl").unlink()
    run = module._Watched(folder)
    assert (run.state(), run.records(), run.name) == ("running", [], "run")
    (folder / "ledger.jsonl").write_text('{"kind": "start", "step": 0, "name": "mine"}\n{"kind": "tr')
    assert run.name == "mine"


def test_no_such_folder(tmp_path):
    with pytest.raises(HeadtailError, match="expected the folder of a training run"):
        watch(tmp_path / "none")
