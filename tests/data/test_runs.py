"""Reading runs: the fast reader against the strict one, over files of every kind, sound and damaged."""

from __future__ import annotations

import gzip
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headtail.data import runs
from headtail.data.runs import read_run
from headtail.errors import DataError
from headtail.records import Run, ScoredDoc

SOUND = "q1 Q0 d1 1 2.5 sys\nq1 Q0 d2 2 1.5 sys\nq1 Q0 d3 3 1.5 sys\nq2 Q0 d1 1 -0.5 sys\n"
law = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(path, content):
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def outcome(reader, path):
    """Name, rankings and contradictions; or the line of the error."""
    try:
        tag, columns = reader(path)
    except DataError as error:
        return str(error)
    return tag, dict(columns), list(columns), columns.contradicting


# ---- facts


@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_plain_file_is_read_by_the_fast_reader_and_gives_the_order_of_trec_eval(tmp_path, separator, suffix):
    path = put(tmp_path / f"r{suffix}", SOUND.replace(" ", separator))
    assert runs._fast(path) is not None
    run = read_run(path)
    assert run["q1"] == (ScoredDoc("d1", 2.5), ScoredDoc("d3", 1.5), ScoredDoc("d2", 1.5))
    assert run.doc_ids("q1") == ["d1", "d3", "d2"]
    assert (list(run), len(run), run.name, run.notes) == (["q1", "q2"], 2, "sys", ())


def test_lines_of_a_query_may_stand_anywhere(tmp_path):
    lines = SOUND.splitlines(keepends=True)
    for seed in range(20):
        shuffled = random.Random(seed).sample(lines, len(lines))
        path = put(tmp_path / "r", "".join(shuffled))
        assert runs._fast(path) is not None
        assert dict(read_run(path)) == dict(read_run(put(tmp_path / "s", SOUND)))
        assert list(read_run(path)) == list(dict.fromkeys(line.split()[0] for line in shuffled))


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("carriage returns", SOUND.replace("\n", "\r\n")),
        ("a byte order mark", b"\xef\xbb\xbf" + SOUND.encode()),
        ("letters beyond ASCII", SOUND.replace("d2", "dé")),
        ("a space that only Unicode knows", SOUND.replace("d2", "d\u00a02")),
        ("spaces in a row", SOUND.replace("Q0", "Q0 ")),
        ("a hexadecimal rank", SOUND.replace(" 2 ", " 0x2 ")),
        ("a number with an underscore", SOUND.replace("2.5", "2_5")),
        ("an empty line", SOUND.replace("\n", "\n\n", 1)),
        ("NaN", SOUND.replace("2.5", "nan")),
        ("infinity", SOUND.replace("2.5", "inf")),
        ("more than float32 can hold", SOUND.replace("2.5", "1e39")),
        ("a doc twice", SOUND.replace("d2", "d1")),
        ("a rank with a point", SOUND.replace(" 3 ", " 3.0 ")),
        ("a missing field", SOUND.replace(" sys", "", 1)),
        ("a quote", SOUND.replace("d2", '"d2')),
        ("nothing", ""),
        ("a bell", SOUND.replace("d2", "d\x07")),
        ("a file separator", SOUND.replace("d2", "d\x1c2")),
    ],
)
def test_what_is_odd_or_wrong_is_left_to_the_strict_reader_or_read_alike(tmp_path, what, content):
    path = put(tmp_path / "r", content)
    fast = runs._fast(path)
    assert fast is None or outcome(runs._fast, path) == outcome(runs._strict, path), what


def test_ranks_that_contradict_the_scores_are_said_and_ties_contradict_nothing(tmp_path):
    for text, said in (
        ("q1 Q0 d1 2 2.5 s\nq1 Q0 d2 1 1.5 s\nq2 Q0 d1 1 1 s\n", "for 1 query;"),
        ("q1 Q0 d1 3 2.5 s\nq1 Q0 d2 5 2.5 s\nq1 Q0 d3 4 1 s\nq2 Q0 a 9 1 s\nq2 Q0 b 2 0 s\n", "for 2 queries;"),
    ):
        (note,) = read_run(put(tmp_path / "r", text)).notes
        assert said in note
        assert read_run(tmp_path / "r").renamed("x").notes == (note,)
    ties = "q1 Q0 d1 2 1 s\nq1 Q0 d2 1 1 s\nq1 Q0 d3 3 0.5 s\n"
    assert read_run(put(tmp_path / "r", ties)).notes == ()


# ---- laws

names = st.text("abAB09-_.:\u00e9\u2028", min_size=1, max_size=3).filter(lambda name: name.split() == [name])
numbers = st.one_of(
    st.integers(-3, 3).map(str), st.floats(allow_nan=True).map(repr),
    st.sampled_from(["1.", ".5", "1e3", "+1", "0x1p3", "1e-50", "-0", "1E5", "1_0", "nan", "Infinity", "", "01", "9" * 30]),
)
ranks = st.one_of(st.integers(0, 5).map(str), st.sampled_from(["+1", "01", "0x1", "-0x1", "-0", "1_0", "1.0", "9" * 30, "NA", "null"]))
rows = st.lists(st.tuples(st.sampled_from(["q", "p"]), st.just("Q0"), names, ranks, numbers, names), min_size=1, max_size=8)


@law
@given(rows=rows, separator=st.sampled_from([" ", "\t"]), end=st.sampled_from(["\n", ""]))
def test_both_readers_tell_the_same_of_any_rows(tmp_path, rows, separator, end):
    path = put(tmp_path / "r", "\n".join(separator.join(row) for row in rows) + end)
    if runs._fast(path) is not None:
        assert outcome(runs._fast, path) == outcome(runs._strict, path)


def damaged(text, rng):
    """The text with one to three small faults."""
    data = bytearray(text)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at : at + 1] = bytes([rng.choice(b" \t\n\r\x0b\x00\"'0x-+.eQ\xff\xc3\xa9")])
        elif kind == 1:
            del data[at : at + rng.randint(1, 5)]
        elif kind == 2:
            data[at:at] = bytes(rng.choices(b" \t\n0123456789.-eE\"x", k=rng.randint(1, 3)))
        else:
            other = rng.randrange(len(data) + 1)
            data[at:at] = data[other : other + rng.randint(1, 30)]
    return bytes(data)


BASES = [SOUND, SOUND.replace(" ", "\t"), "q1\td1\t1\nq1\td2\t2\nq2\td1\t1\n", "q1 Q0 d1 1 1 s\nq1 Q0 d2 2 1 s\nq1 Q0 d3 3 1 s\n"]


def check_damaged(path, rng, most):
    """Each damaged file is read alike by both readers, or refused by one line that names file and line; how many were read by each."""
    parsed = fast = 0
    for _ in range(most):
        put(path, damaged(rng.choice(BASES).encode(), rng))
        strict = outcome(runs._strict, path)
        if runs._fast(path) is not None:
            fast += 1
            assert outcome(runs._fast, path) == strict, path.read_bytes()
        if isinstance(strict, str):
            assert strict.startswith(str(path)), strict
            assert "\n" not in strict
        else:
            parsed += 1
            assert isinstance(read_run(path), Run)
    return parsed, fast


def test_damaged_runs_are_parsed_alike_or_refused_in_one_line(tmp_path, many):
    most = many(2_000, 50_000)
    parsed, fast = check_damaged(tmp_path / "r", random.Random(0), most)
    assert 0.1 * most < fast <= parsed < 0.9 * most
