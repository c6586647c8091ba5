"""Seven queries under two systems, each gone another way, small enough to check by hand."""

from headtail.records import Query, Run
from headtail.report.results import Results

QUERIES = {
    "gain": Query("gain", "open a file"),
    "buried": Query("buried", "list all files in a folder"),
    "nobody": Query("nobody", "sort"),
    "same": Query("same", "copy a file"),
    "nothing": Query("nothing", "what is a file"),
    "unranked": Query("unranked", "rename files"),
    "dropped": Query("dropped", "delete"),
}
INTENTS = dict.fromkeys(QUERIES, "question") | {"nobody": "browse", "same": "browse"}
QRELS = {
    "gain": {"g7": 2, "g1": 0},
    "buried": {"b1": 1},
    "nobody": {"elsewhere": 1},
    "same": {"s1": 1, "s2": 3},
    "nothing": {"n1": 0},
    "unranked": {"u2": 1},
    "dropped": {"d12": 1},
}
VALUES = {
    "bm25": {"RR@10": {"gain": 1 / 7, "buried": 1.0, "nobody": 0.0, "same": 1.0, "unranked": 0.5, "dropped": 0.0},
             "P@1": dict.fromkeys(QUERIES, 0.0)},
    "ours": {"RR@10": {"gain": 1.0, "buried": 0.0, "nobody": 0.0, "same": 1.0, "unranked": 0.0, "dropped": 0.0},
             "P@1": {"gain": 1.0, "nothing": 0.0}},
}    # fmt: skip


def listed(prefix, length, first=()):
    """Docs in a given order: some first, then prefix1, prefix2, ... up to so many."""
    rest = [f"{prefix}{n}" for n in range(1, length + 1) if f"{prefix}{n}" not in first]
    docs = [*first, *rest][:length]
    return [(doc_id, float(len(docs) - place)) for place, doc_id in enumerate(docs)]


BM25 = Run(
    {"gain": listed("g", 12), "buried": listed("b", 40), "nobody": listed("x", 12), "same": listed("s", 12), "nothing": listed("n", 3),
     "unranked": listed("u", 12), "dropped": listed("d", 30)},
    "bm25",
)    # fmt: skip
OURS = Run(
    {"gain": listed("g", 12, ["g7"]), "buried": [*listed("b", 29, [f"b{n}" for n in range(2, 30)])[:28], ("other", 0.5), ("b1", 0.25)],
     "nobody": listed("x", 12, ["x3", "new"]), "same": listed("s", 12), "nothing": listed("n", 3), "dropped": listed("d", 11)},
    "ours",
)    # fmt: skip


def text_of(doc_id):
    """Each doc's text names it; a few are long, with the query's words late in them."""
    if doc_id == "g7":
        return "filler words come first " * 100 + "here one may open the files at last " + "and filler follows " * 100
    if doc_id == "g2":
        raise KeyError(doc_id)
    return f"this is the text of {doc_id}, a file"


def small(**changes):
    """The results; keyword arguments replace their fields."""
    fields = {"runs": [BM25, OURS], "queries": QUERIES, "intents": INTENTS, "qrels": QRELS, "relevant_from": 1, "texts": text_of, "values": VALUES}
    return Results(**(fields | changes))
