"""Settings that every test wants, made before any of them imports a library that reads them: no network, no noise."""

import os
import tempfile

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TQDM_DISABLE"] = "1"    # "Loading weights" and the like
os.environ["TOKENIZERS_PARALLELISM"] = "false"

_session = tempfile.TemporaryDirectory(prefix="headtail-tests-")    # kept alive by its name, removed when Python ends
os.environ["HEADTAIL_CACHE"] = _session.name


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="as many kills, damages and random runs as the documents tell of: `make reliability`")


@pytest.fixture
def many(request):
    """`many(short, long)`: how often."""
    return lambda short, long: long if request.config.getoption("--long") else short
