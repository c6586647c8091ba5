import base64
import json
import random
import zlib

import pytest
from tests.report.rankings import BM25, OURS, QUERIES, small

from headtail.records import Query, Run
from headtail.report.html import SIZE_LIMIT, render_report
from headtail.report.payload import NAME, pack, pack_results, page_facts, short_scores
from headtail.report.results import Results

ROOM = 1_000_000


def unpacked(packed):
    return json.loads(zlib.decompress(base64.b64decode(packed.data)))


def facts_of(results=None):
    return unpacked(pack_results(results or small(), ROOM))


def query(facts, query_id):
    return next(one for one in facts["queries"] if one["id"] == query_id)


def test_a_query_by_hand():
    facts = facts_of()
    gain = query(facts, "gain")
    assert (facts["systems"], facts["measures"], facts["intents"]) == (["bm25", "ours"], ["RR@10", "P@1"], ["question", "browse"])
    assert (gain["text"], gain["intent"], gain["terms"], gain["relevant"]) == ("open a file", 0, ["open", "file"], 1)
    before, after = gain["rankings"]
    assert [facts["docs"][place] for place in after["docs"][:3]] == ["g7", "g1", "g2"]
    assert after["before"][:3] == [7, 1, 2]
    assert (before["first"], after["first"], before["length"]) == (7, 1, 12)
    assert "before" not in before
    assert after["scores"][:2] == [12.0, 11.0]
    labels = dict(zip(gain["labels"][::2], gain["labels"][1::2], strict=True))
    assert {facts["docs"][place]: label for place, label in labels.items()} == {"g7": 2, "g1": 0}
    assert gain["values"] == [[0.1429, 0.0], [1.0, 1.0]]


def test_relevant_docs_below_the_ranks_shown_are_named_with_their_rank_or_0():
    facts = facts_of()
    buried, nobody = query(facts, "buried")["rankings"][1], query(facts, "nobody")["rankings"][0]
    assert (facts["docs"][buried["elsewhere"][0]], buried["elsewhere"][1], buried["hidden"]) == ("b1", 30, 1)
    assert (facts["docs"][nobody["elsewhere"][0]], nobody["elsewhere"][1], nobody["first"]) == ("elsewhere", 0, 0)


def test_of_many_relevant_docs_ten_are_named_and_all_are_counted():
    results = small(qrels={"gain": {f"r{n:02}": 1 for n in range(30)}})
    ranking = query(facts_of(results), "gain")["rankings"][0]
    assert (len(ranking["elsewhere"]), ranking["hidden"]) == (20, 30)


def test_what_is_absent_is_null():
    facts = facts_of()
    assert query(facts, "unranked")["rankings"][1] is None
    assert query(facts, "nothing")["values"] == [[None, 0.0], [None, 0.0]]
    assert query(facts_of(small(intents={})), "gain")["intent"] == -1


def test_groups_name_queries_by_their_places():
    facts = facts_of()
    places = list(QUERIES)
    assert [(group["title"], [places[place] for place in group["queries"]]) for group in facts["groups"]][1] == (
        "Only bm25 has one in its first 10", ["buried", "unranked"],
    )    # fmt: skip


def test_a_text_is_in_it_once_and_only_if_it_is_shown():
    facts = facts_of()
    assert len(facts["texts"]) == len(facts["docs"]) == len(set(facts["docs"]))
    texts = dict(zip(facts["docs"], facts["texts"], strict=True))
    assert texts["g1"] == ["this is the text of g1, a file", 0, 0]
    assert texts["g2"] == ["", 0, 0]           # not in the collection
    assert texts["elsewhere"] == ["", 0, 0]    # named, not shown
    text, before, after = texts["g7"]
    assert "open the files at last" in text
    assert before > 0
    assert after > 0


def test_texts_may_be_a_mapping():
    texts = dict(zip(*[facts_of(small(texts={"g1": "mapped"}))[key] for key in ("docs", "texts")], strict=True))
    assert texts["g1"] == ["mapped", 0, 0]
    assert texts["g3"] == ["", 0, 0]


def test_what_is_said_of_the_texts():
    assert pack_results(small(), ROOM).cut == (
        "Of 1 of 65 docs the page holds only part of the text: the 1,500 characters with most of the query’s words; … stands where text is left out."
    )
    assert pack_results(small(texts={"g1": "short"}), ROOM).cut == "Texts are whole."
    assert pack_results(small(), 10).cut == "Texts are left out: the rankings alone fill the page."


def test_scores_take_five_digits_and_more_only_where_five_would_make_a_tie():
    assert short_scores(Run({"q": [("a", 3.14159265), ("b", 1.0)]})["q"]) == [3.1416, 1.0]
    close = short_scores(Run({"q": [("a", 1.000001), ("b", 1.0), ("c", 1.0)]})["q"])
    assert close[0] > close[1] == close[2]
    assert short_scores(Run({"q": [("a", 1e300), ("b", -1e300)]})["q"]) == ["∞", "−∞"]


def test_no_number_that_json_lacks_is_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack({"value": float("nan")})
    assert query(facts_of(small(values={"ours": {"RR": {"gain": float("inf")}}})), "gain")["values"][1] == [None]


def test_names_and_queries_that_would_fill_the_page_are_cut():
    long = "x" * 10_000
    results = small(runs=[Run({long: [(long, 1.0)]}, long)], queries={long: Query(long, long)}, values={})
    facts = facts_of(results)
    assert len(facts["docs"][0]) == len(facts["systems"][0]) == len(facts["queries"][0]["id"]) == NAME
    assert len(facts["queries"][0]["text"]) == 1000
    assert all(len(group["title"]) <= 2 * NAME for group in facts["groups"])


def test_the_same_results_are_the_same_bytes():
    assert pack_results(small(), ROOM) == pack_results(small(), ROOM)
    assert page_facts(small(), ["gain"])["systems"] == [BM25.name, OURS.name]


def large(words, queries=1000, docs=6000, length=2500, seed=0):
    """A thousand queries under three systems; long texts of words drawn at random, which are hard to compress."""
    chance = random.Random(seed)
    shelf = [" ".join(chance.choices(words, k=length // 6)) for _ in range(200)]
    texts = {f"doc-{n}": f"{n} " + shelf[n % 200][n % 97 :] + f" {chance.random()}" for n in range(docs)}
    asked = {f"q{n}": Query(f"q{n}", " ".join(chance.choices(words, k=6))) for n in range(queries)}
    pool = list(texts)

    def ranked(name):
        return Run({q: [(d, chance.random()) for d in chance.sample(pool, 30)] for q in asked}, name)

    runs = [ranked(name) for name in ("bm25", "hybrid", "softmax")]
    values = {run.name: {m: {q: chance.random() for q in asked} for m in ("RR@10", "nDCG@5")} for run in runs}
    qrels = {q: {doc.doc_id: 1 for doc in run[q][chance.randrange(10) :][:2]} for run in runs[:2] for q in asked}
    return Results(runs, asked, dict.fromkeys(asked, "question"), qrels, 1, texts, values)


WORDS = ["".join(random.Random(n).choices("abcdefghijklmnopqrstuvwxyz", k=random.Random(n).randint(3, 9))) for n in range(20_000)]
CJK = ["".join(chr(random.Random(n + i).randint(0x4E00, 0x9FFF)) for i in range(2)) for n in range(5000)]


@pytest.mark.parametrize("words", [WORDS, CJK, ['"\\"', "</x>", "\\u0000", "&amp;"] * 20], ids=["words", "CJK", "escapes"])
def test_a_thousand_queries_of_long_texts_stay_under_two_megabytes(words):
    results = large(words, queries=1000 if words is WORDS else 150, docs=6000 if words is WORDS else 2000)
    assert len(render_report(title="big", results=results).encode()) < SIZE_LIMIT
