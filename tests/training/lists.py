"""A ranker of two layers and three lists of different length, one with nothing relevant: what the loop is tested on."""

import dataclasses
import itertools

from tests.world import DOCS

from headtail.records import Doc, Query, RankedList


def ranked(query, *labels):
    docs = tuple(Doc(doc_id, text) for doc_id, text in list(DOCS.items())[: len(labels)])
    return RankedList(Query(query, query), docs, tuple(map(float, labels)))


def taught(lists):
    """The same lists with a teacher that scores the k-th doc k / 2."""
    return [dataclasses.replace(one, teacher=tuple(place / 2 for place in range(len(one.docs)))) for one in lists]


LISTS = [ranked("cold water", 0, 1, 0, 0, 2), ranked("apple", 1, 0), ranked("the cat", 0, 0, 0)]    # the last: nothing relevant


def endless(lists):
    """start -> the lists again and again, from the start-th on."""
    return lambda start: itertools.islice(itertools.cycle(lists), start, None)


stream = endless(LISTS)
