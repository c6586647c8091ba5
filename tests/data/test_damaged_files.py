"""Damaged files through every reader: what it can is read, anything else is one line that names file and line."""

from __future__ import annotations

import gzip
import random

import pytest
from tests.data.test_runs import damaged

from headtail.data.formats import (
    read_beir_corpus,
    read_beir_queries,
    read_collection,
    read_id_triples,
    read_intents,
    read_qrels,
    read_queries,
    read_top1000,
    read_triples,
)
from headtail.data.runs import read_run
from headtail.errors import DataError

FILES = {
    read_collection: "d1\tone two\nd2\tthree\nd3\tfour\n",
    read_queries: "q1\tone two\nq2\tthree\n",
    read_qrels: "q1 0 d1 1\nq1 0 d2 0\nq2\t0\td1\t3\n",
    read_run: "q1 Q0 d1 1 2.5 s\nq1 Q0 d2 2 1e-3 s\nq2 Q0 d1 1 -4 s\n",
    read_intents: "q1\tquestion\nq2\tbrowse\n",
    read_beir_corpus: '{"_id": "d1", "title": "T", "text": "a b"}\n{"_id": "d2", "text": "c"}\n',
    read_beir_queries: '{"_id": "q1", "text": "a b"}\n{"_id": "q2", "text": "c"}\n',
    read_triples: "query\tgood\tbad\nother\tgood\tbad\n",
    read_id_triples: "q1\td1\td2\nq2\td3\td4\n",
    read_top1000: "q1\td1\twho\thim\nq1\td2\twho\ther\n",
}


def refusal(reader, path):
    """The line that refuses a file; None where it was read."""
    try:
        list(reader(path))
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("reader", FILES, ids=lambda reader: reader.__name__)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, many, reader):
    rng = random.Random(reader.__name__)
    outcomes = {"parsed": 0, "refused": 0}
    for number in range(many(300, 10_000)):
        data = damaged(FILES[reader].encode(), rng)
        path = tmp_path / ("f.gz" if number % 4 == 0 else "f")
        if path.suffix:
            data = gzip.compress(data, 1)
            if number % 8 == 0:
                data = damaged(data, rng)
        path.write_bytes(data)
        line = refusal(reader, path)
        assert line is None or (line.startswith(f"{path}:") and "\n" not in line), line
        outcomes["parsed" if line is None else "refused"] += 1
    assert outcomes["parsed"] > 0, outcomes
    assert outcomes["refused"] > 0.05 * sum(outcomes.values()), outcomes
