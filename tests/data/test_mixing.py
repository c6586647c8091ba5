"""The stream of several sources: where each position lies, in which shares, and that it begins anywhere at once."""

import tracemalloc
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.data import mixing
from headtail.data.mixing import BLOCK, MixedLists, Repeated, Weighted, shares
from headtail.errors import ConfigError


class Lists:
    """A source of `size` lists, which tells which one was asked for and holds nothing."""

    def __init__(self, name, size):
        self.name, self.size = name, size

    def __len__(self):
        return self.size

    def get(self, index, epoch):
        assert 0 <= index < self.size
        return self.name, index, epoch


def stream(sources, count, start=0, **options):
    return list(islice(MixedLists(sources, **options).stream(start), count))


A, B = Lists("a", 3), Lists("b", 2)


# ---- facts


def test_an_epoch_holds_each_list_as_often_as_its_source_is_repeated():
    assert len(MixedLists([(A, 2), (B, 1)])) == 8
    first, second = stream([(A, 2), (B, 1)], 8), stream([(A, 2), (B, 1)], 8, start=8)
    assert sorted(first) == [("a", i, turn) for i in range(3) for turn in (0, 1)] + [("b", 0, 0), ("b", 1, 0)]
    assert sorted(second) == [("a", i, turn) for i in range(3) for turn in (2, 3)] + [("b", 0, 1), ("b", 1, 1)]


def test_weights_become_counts_that_add_up():
    assert shares([1, 1]) == (500, 500)
    assert shares([3, 1]) == shares([.75, .25]) == (750, 250)
    assert shares([1, 1, 1]) == (334, 333, 333)
    assert shares([2, 1, 1], 10) == (5, 3, 2)
    assert shares([1e6, 1, 1]) == (998, 1, 1)    # nobody is left out
    assert shares([1] * 10, 10) == (1,) * 10
    assert shares([1e308, 1e308, 1e-300]) == (499, 500, 1)    # no overflow


def test_a_block_holds_the_shares_exactly_and_each_source_walks_its_own_epochs():
    seen = stream([(A, 1), (B, 1)], 2 * BLOCK, weights=[3, 1])
    assert [Counter(name for name, _, _ in seen[start : start + BLOCK]) for start in (0, BLOCK)] == [{"a": 750, "b": 250}] * 2
    for source in (A, B):
        own = [(epoch, index) for name, index, epoch in seen if name == source.name]
        epochs = [own[start : start + source.size] for start in range(0, len(own), source.size)]
        assert all(sorted(epoch) == [(number, index) for index in range(source.size)] for number, epoch in enumerate(epochs))


def test_an_epoch_with_weights_ends_when_the_slowest_source_has_been_seen_once():
    assert len(MixedLists([(Lists("a", 87_000), 1), (Lists("b", 500), 1)], weights=[1, 1])) == 174_000
    assert len(MixedLists([(A, 1), (B, 1)], weights=[3, 1])) == 8    # the two of b take 4 positions each
    large, small = (Lists("large", 5000), 1), (Lists("small", 30), 1)
    seen = stream([large, small], len(MixedLists([large, small], weights=[4, 1])), weights=[4, 1])
    assert len(seen) == 6250
    assert len({index for name, index, _ in seen if name == "large"}) > 4950    # give or take a block's order
    assert Counter(index for name, index, _ in seen if name == "small").total() == pytest.approx(1250, abs=50)


@pytest.mark.parametrize(
    ("sources", "weights", "message"),
    [
        ([(A, 1), (B, 2)], [1, 1], r"expected a weight for each source and no repeat, found \[1, 1\] and repeat=\[1, 2\]"),
        ([(A, 1), (B, 1)], [1], "expected a weight for each source"),
        ([(A, 1), (B, 1)], [1, 0], "finite numbers above 0"),
        ([(A, 1), (B, 1)], [1, float("inf")], "finite numbers above 0"),
        ([(A, 1)] * 1001, [1] * 1001, "expected at most 1,000 weights"),
    ],
)
def test_weights_that_make_no_shares(sources, weights, message):
    with pytest.raises(ConfigError, match=message):
        MixedLists(sources, weights=weights)


# ---- laws


MIXES = [([(A, 2), (B, 1)], None), ([(A, 1), (B, 1)], [3, 1]), ([(Lists("one", 1), 1)], None), ([(Lists("one", 1), 1)], [.1])]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(MIXES), st.integers(0, 2500), st.integers(0, 3))
def test_a_stream_can_begin_anywhere(mix, start, seed):
    sources, weights = mix
    assert stream(sources, 7, start, seed=seed, weights=weights) == stream(sources, start + 7, seed=seed, weights=weights)[start:]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 3)), min_size=1, max_size=4), st.integers(0, 3), st.integers())
def test_a_repeated_mix_holds_every_list_of_every_epoch_once(sources, epoch, seed):
    sizes, repeats = zip(*sources, strict=True)
    mix = Repeated(sizes, repeats, seed)
    seen = [mix.place(position) for position in range(epoch * len(mix), (epoch + 1) * len(mix))]
    expected = [(s, item, epoch * n + turn) for s, (size, n) in enumerate(sources) for turn in range(n) for item in range(size)]
    assert sorted(seen) == sorted(expected)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 400), st.floats(.01, 100)), min_size=1, max_size=4), st.integers())
def test_a_weighted_mix_walks_each_source_epoch_by_epoch(sources, seed):
    sizes, weights = zip(*sources, strict=True)
    mix = Weighted(sizes, weights, seed)
    seen = [mix.place(position) for position in range(2 * BLOCK)]
    assert Counter(place.source for place in seen) == {source: 2 * share for source, share in enumerate(mix.counts)}
    for source, size in enumerate(sizes):
        own = [place for place in seen if place.source == source]
        assert [place.epoch for place in own] == [number // size for number in range(len(own))]
        assert len({(place.epoch, place.item) for place in own}) == len(own)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50))
def test_shares_add_up_and_are_within_one_of_exact_unless_somebody_was_raised(weights):
    counts = shares(weights)
    exact = [BLOCK * weight / sum(weights) for weight in weights]
    assert sum(counts) == BLOCK
    assert min(counts) >= 1
    if min(exact) >= 1:
        assert all(abs(count - number) < 1 + 1e-9 for count, number in zip(counts, exact, strict=True))


@pytest.mark.parametrize("weights", [None, [1, 1]])
def test_epochs_blocks_and_seeds_have_their_own_order(weights):
    sources = [(Lists("a", 500), 1), (Lists("b", 500), 1)]
    orders = [stream(sources, BLOCK, start, seed=seed, weights=weights) for seed, start in ((0, 0), (0, BLOCK), (1, 0))]
    assert len({tuple((name, index) for name, index, _ in order) for order in orders}) == 3
    assert len({tuple(name for name, _, _ in order) for order in orders}) == 3


def test_sources_of_one_size_do_not_walk_in_step():
    seen = stream([(Lists("a", 100), 1), (Lists("b", 100), 1)], BLOCK, weights=[1, 1])
    first = [[index for name, index, _ in seen if name == wanted][:100] for wanted in "ab"]
    assert first[0] != first[1]


# ---- memory


def memory(sources, weights, **options):
    """Bytes at the peak of making a stream and taking its first and a late list."""
    tracemalloc.start()
    mixed = MixedLists(sources, weights=weights, **options)
    taken = [next(mixed.stream(start)) for start in (0, 9_999_999, 123_456_789_012)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(taken) == 3
    return peak


@pytest.mark.parametrize("weights", [None, [5, 1]])
def test_ten_million_lists_begin_at_once_and_take_no_memory(weights):
    assert memory([(Lists("many", 10_000_000), 1), (Lists("few", 10), 1)], weights) < 1_000_000


def test_an_order_held_in_memory_would_be_seen(monkeypatch):
    monkeypatch.setattr(mixing, "permuted", lambda place, n, key: list(range(n))[place])
    assert memory([(Lists("many", 200_000), 1)], None) > 1_000_000
