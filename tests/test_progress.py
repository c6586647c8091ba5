"""The meter: what it writes where there is a terminal, where there is none, and when the work was short."""

import io

import pytest

from headtail import progress
from headtail.progress import Meter, clock, silent, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def at(monkeypatch):
    """Sets the time that the meter sees."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def set_time(seconds: float) -> None:
        now[0] = seconds

    return set_time


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (6.6, "0:07"), (59.6, "1:00"), (750, "12:30"), (3723, "1:02:03")])
def test_clock(seconds, shown):
    assert clock(seconds) == shown


def test_a_line_every_few_seconds_where_there_is_no_terminal(at):
    stream = io.StringIO()
    with Meter("indexing", 1000, stream) as meter:
        at(1)
        meter.advance(100)
        assert stream.getvalue() == ""
        at(6)
        meter.advance(400, note="so far")
        assert stream.getvalue() == "indexing: 500 of 1,000  0:06 left  so far\n"
        at(12)
        meter.advance(500)
    assert stream.getvalue().splitlines()[1:] == ["indexing: 1,000 of 1,000  0:12  so far"] * 2


def test_short_work_says_nothing(at):
    stream = io.StringIO()
    with Meter("reading", 10, stream) as meter:
        at(0.1)
        meter.advance(10)
    assert stream.getvalue() == ""


def test_a_terminal_sees_one_line_redrawn(at):
    stream = Terminal()
    with Meter("scoring", None, stream) as meter:
        for second in (1, 2, 3):
            at(second)
            meter.advance(5)
    shown = stream.getvalue()
    assert shown.count("\r") == 4
    assert shown.count("\n") == 1
    assert shown.endswith("scoring: 15  0:03\n")


def test_track_and_silent_give_every_item_in_order(capsys):
    assert list(track(iter("abc"), "x", 3)) == list(silent(iter("abc"), "x", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
