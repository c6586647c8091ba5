"""The checkpoints of the tests of models, and one thread as there; a tiny T5 that learns."""

import signal

import pytest
from tests.models.conftest import checkpoint, one_thread
from tests.world import write_t5

from headtail.models.ranker import Ranker

__all__ = ["checkpoint", "one_thread"]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    return write_t5(tmp_path_factory.mktemp("encoder") / "t5")


@pytest.fixture
def ranker(encoder):
    return Ranker.from_encoder(encoder, max_length=32, dropout=0.1)


@pytest.fixture
def signals():
    """Signals in this thread as at a terminal, where a test run in the background inherits an ignored Ctrl-C."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.raise_signal
    for number, handler in before.items():
        signal.signal(number, handler)
