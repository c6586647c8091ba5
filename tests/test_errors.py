"""Error lines: their parts, and what they propose."""

from headtail.errors import DataError, shorten, unknown_name


def test_a_data_error_says_where_what_and_the_way_out():
    error = DataError("qrels.tsv", 7, expected="4 fields", found="3", hint="fields are split by tabs")
    assert str(error) == "qrels.tsv:7: expected 4 fields, found 3; fields are split by tabs"
    assert str(DataError("a/b", expected="a file", found="nothing")) == "a/b: expected a file, found nothing"


def test_an_unknown_name_is_answered_with_the_nearest_and_with_all():
    assert unknown_name("loss", "softmx", ["softmax", "bce"]) == "unknown loss 'softmx', did you mean 'softmax'? known: bce, softmax"
    assert unknown_name("loss", "zzz", ["softmax", "bce"]) == "unknown loss 'zzz'; known: bce, softmax"


def test_shorten_keeps_one_line_of_bounded_width():
    assert shorten("short") == "'short'"
    assert shorten("x" * 10, 10) == repr("x" * 10)
    assert shorten("x" * 11, 10) == repr("x" * 9 + "…")
    assert "\n" not in shorten("two\nlines")
