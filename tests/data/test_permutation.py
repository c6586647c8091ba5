"""A seeded order: a bijection for any n and key, in which nothing of the old order is left to see."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from headtail.data.permutation import permuted

N = 1500    # things; the limits below are five standard deviations of a random order


def order(n, key):
    return [permuted(place, n, key) for place in range(n)]


def test_one_thing_stays_and_two_can_stand_in_two_ways():
    assert permuted(0, 1, "any key") == 0
    assert {tuple(order(2, str(key))) for key in range(20)} == {(0, 1), (1, 0)}


def test_a_place_that_is_not_there_is_refused():
    for place in (-1, 5):
        with pytest.raises(ValueError, match=f"expected a place of 0 to 4, found {place}"):
            permuted(place, 5, "key")


def test_the_order_is_the_same_on_every_machine():
    assert order(8, "0:0") == [3, 2, 7, 6, 4, 0, 1, 5]    # whoever changes it changes every training run there was


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 300), st.text(max_size=80))
def test_it_is_a_bijection(n, key):
    assert sorted(order(n, key)) == list(range(n))


@pytest.mark.parametrize("n", [16, 64, 65, 256, 257, 1024, 1025])    # at and beyond the powers where the network grows
def test_it_is_a_bijection_at_the_borders_of_its_network(n):
    assert sorted(order(n, "key")) == list(range(n))


@settings(max_examples=50, deadline=None)
@given(st.integers(2**40, 2**100), st.integers(0, 2**40 - 1))
def test_it_stays_inside_any_number_of_things(n, place):
    assert 0 <= permuted(place, n, "key") < n


@settings(max_examples=50, deadline=None)
@given(st.integers(), st.integers(0, 100), st.integers(101, 200))
def test_two_epochs_have_two_orders(seed, first, second):
    assert order(30, f"{seed}:{first}") != order(30, f"{seed}:{second}")


# ---- no structure: what a random order would show, and orders that only look like one


def visible(make):
    """What betrays that `make(n, key)` gives no random order; empty if nothing does."""
    return [name for name, sign in SIGNS.items() if any(sign(np.array(make(N, f"{seed}:0"))) for seed in range(5))]


def moves_too_little_or_too_far(places):
    mean = np.abs(places - np.arange(N)).mean()                  # N / 3 expected
    return abs(mean - N / 3) > 5 * N / np.sqrt(18 * N)


def next_ones_are_correlated(places):
    return abs(np.corrcoef(places[:-1], places[1:])[0, 1]) > 5 / np.sqrt(N)


def old_and_new_places_are_correlated(places):
    return abs(np.corrcoef(places, np.arange(N))[0, 1]) > 5 / np.sqrt(N)


def neighbours_stay_neighbours(places):
    return (np.abs(np.diff(places)) == 1).sum() > 12             # Poisson with mean 2: chance 1e-6


def steps_repeat(places):
    return len(set(np.diff(places) % N)) < .55 * N               # .63 N expected


def halves_stay_together(places):
    stayed = (places[: N // 2] < N // 2).sum()                   # N / 4 expected
    return abs(stayed - N / 4) > 5 * np.sqrt(N / 16)


def parity_stays(places):
    kept = (places % 2 == np.arange(N) % 2).sum()                # N / 2 expected
    return abs(kept - N / 2) > 5 * np.sqrt(N / 4)


SIGNS = {sign.__name__: sign for sign in (
    moves_too_little_or_too_far, next_ones_are_correlated, old_and_new_places_are_correlated, neighbours_stay_neighbours,
    steps_repeat, halves_stay_together, parity_stays,
)}


def test_nothing_of_the_old_order_is_left():
    assert visible(order) == []


WEAK = {
    "identity": lambda n, key: list(range(n)),
    "reversed": lambda n, key: list(range(n))[::-1],
    "rotated": lambda n, key: [(place + hash(key)) % n for place in range(n)],
    "affine": lambda n, key: [(967 * place + 13) % n for place in range(n)],
    "shuffled in blocks of 100": lambda n, key: [100 * (place // 100) + permuted(place % 100, 100, key) for place in range(n)],
    "even and odd apart": lambda n, key: [2 * permuted(place // 2, n // 2, f"{key}:{place % 2}") + place % 2 for place in range(n)],
}


@pytest.mark.parametrize("name", WEAK)
def test_a_weak_order_is_seen(name):
    assert sorted(WEAK[name](N, "0:0")) == list(range(N))
    assert visible(WEAK[name]) != []


def test_two_epochs_have_nothing_in_common():
    first, second = np.array(order(N, "0:0")), np.array(order(N, "0:1"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(N)
    assert (first == second).sum() <= 8    # Poisson with mean 1


def chance(seen, kinds, draws):
    """Of so uneven counts if all kinds are equally likely, by chi-square."""
    expected = draws / kinds
    return chi2.sf(sum((count - expected) ** 2 for count in seen.values()) / expected + (kinds - len(seen)) * expected, kinds - 1)


@pytest.mark.parametrize("n", [3, 10, 37, 100])
def test_over_seeds_each_thing_comes_first_equally_often(n):
    first = Counter(permuted(0, n, f"{seed}:0") for seed in range(4000))
    assert chance(first, n, 4000) > 1e-4


@pytest.mark.parametrize("n", [2, 3, 4])
def test_over_seeds_all_orders_of_few_things_come_equally_often(n):
    seen = Counter(tuple(order(n, f"{seed}:0")) for seed in range(4000))
    assert chance(seen, [1, 1, 2, 6, 24][n], 4000) > 1e-4


def test_over_seeds_the_first_two_of_a_full_network_are_any_pair():
    pairs = Counter((permuted(0, 16, str(seed)), permuted(1, 16, str(seed))) for seed in range(8000))
    assert chance(pairs, 16 * 15, 8000) > 1e-4


def test_an_order_that_only_rotates_would_be_seen_over_seeds():
    pairs = Counter((seed % 16, (seed + 1) % 16) for seed in range(8000))
    assert chance(pairs, 16 * 15, 8000) < 1e-4
