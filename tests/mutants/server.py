"""A test server: it has the heavy libraries loaded and forks for each call, so a mutant costs its tests and no imports.

    server.py SOCKET ROOT TEST_FILE...

Each connection runs the test files once against the sources under ROOT as they are then, and is sent pytest's exit
status (99: the run had to be killed).
"""

import os
import signal
import socket
import sys
from pathlib import Path

address, root, files = sys.argv[1], sys.argv[2], sys.argv[3:]
os.chdir(root)
sys.path[:0] = [f"{root}/src", root]
sys.dont_write_bytecode = True  # a mutant written within a second of the last would otherwise run as the last

import _pytest.assertion.rewrite  # noqa: E402, F401
import hypothesis  # noqa: E402, F401
import numpy  # noqa: E402, F401
import pytest  # noqa: E402
import torch._dynamo  # noqa: E402

LIMIT_S = 110  # a mutant may loop for ever


def answer(connection: socket.socket) -> None:
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_S)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", *files])))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.sendall(b"%d" % (code if code >= 0 else 99))
    connection.close()


torch.set_num_threads(1)
assert not any(name.startswith("headtail") for name in sys.modules), "the mutant would not be read"
with socket.socket(socket.AF_UNIX) as listener:
    Path(address).unlink(missing_ok=True)
    listener.bind(address)
    listener.listen()
    while True:
        answer(listener.accept()[0])
