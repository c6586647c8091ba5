"""A command as a person types it."""

import pytest
from tests.world import run_cli


@pytest.fixture
def headtail(capsys):
    """Run a command; give its status, stdout and stderr."""

    def run(*arguments):
        capsys.readouterr()
        code = run_cli(*arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def refused(headtail):
    """Run a command that must fail; give its one line."""

    def run(*arguments):
        code, _, err = headtail(*arguments)
        lines = [line for line in err.splitlines() if line.startswith("headtail:")]
        assert code == 2, err
        assert "Traceback" not in err
        assert len(lines) == 1
        assert err.rstrip().endswith(lines[0]), err    # nothing follows it
        return lines[0]

    return run
