import pytest

from headtail.report.snippets import Snippet, clean, find_terms, query_terms, snippet


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("What is the Path of files?", ["path", "file"]),
        ("bathroom vanities, glass and glass", ["bathroom", "vanity", "glass"]),
        ("what is the", []),
        ("C x 4k", ["4k"]),
        ("東京都の天気", ["東京", "京都", "都の", "の天", "天気"]),
        ("x" * 50, []),
    ],
)
def test_terms_are_the_words_that_tell_something(query, terms):
    assert query_terms(query) == terms


def test_a_query_of_a_thousand_words_has_32_terms():
    assert len(query_terms(" ".join(f"word{n}x" for n in range(1000)))) == 32


def test_terms_are_found_in_singular_and_plural_and_as_whole_words():
    text = "the path: FILE of pathlib, files, Vanity and vanities"
    found = find_terms(text, ["path", "file", "vanity"])
    assert [(text[one.start : one.end], one.term) for one in found] == [("path", 1), ("FILE", 2), ("files", 2), ("Vanity", 3), ("vanities", 3)]
    assert find_terms(text, []) == []


def cut(text, query, size):
    return snippet(text, find_terms(text, query_terms(query)), size)


def test_a_short_text_stays_whole():
    assert cut("open a file", "file", 11) == Snippet("open a file")


def test_the_window_holds_most_different_words_and_says_what_is_left_out():
    text = "file file file " + "word " * 100 + "open the file " + "word " * 100
    shown = cut(text, "open file", 60)
    assert "open the file" in shown.text
    assert len(shown.text) <= 60
    assert text.startswith("file")
    assert shown.before > 0
    assert text[shown.before :].startswith(shown.text)
    assert text[len(text) - shown.after :].lstrip() == text[shown.before + len(shown.text) :].lstrip()


def test_words_of_the_query_near_the_beginning_leave_it_where_it_is():
    shown = cut("a file is opened " + "word " * 100, "file", 60)
    assert shown.before == 0
    assert shown.text.startswith("a file is opened")
    assert shown.text.endswith("word")


def test_without_any_word_of_the_query_a_text_shows_its_beginning():
    assert cut("one two three " * 50, "zebra", 27) == Snippet("one two three one two three", 0, 673)


def test_the_last_words_of_a_text_are_shown_to_their_end():
    text = "word " * 100 + "zebra"
    shown = cut(text, "zebra", 30)
    assert shown.text.endswith("zebra")
    assert shown.after == 0


def test_equal_windows_go_to_the_first():
    text = ("zebra " + "word " * 40) * 3
    assert cut("word " * 40 + text, "zebra", 50).before == cut("word " * 40 + text[:200], "zebra", 50).before


def test_a_single_word_of_five_million_characters_is_cut_in_no_time():
    text = clean("x" * 5_000_000)
    assert cut(text, "zebra", 100) == Snippet("x" * 100, 0, 4_999_900)


def test_nothing_is_left_at_size_0():
    assert cut("a file", "file", 0) == Snippet("", 0, 6)


def test_clean_takes_what_no_page_may_hold():
    assert clean("  a\x00b\ud800\r\nc ") == "a\ufffdb\ufffd\nc"
