"""Fixtures of the scenarios with listeners that pass QUIC through."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "http"), str(HERE.parent / "control"), str(HERE.parent / "versions"),
                str(HERE.parents[1] / "http3_peers")]

from certificates import Authority  # noqa: E402  (found by the line above)
from gateway import Gateway  # noqa: E402
from loop import Loop  # noqa: E402

collect_ignore = ["passed.py"]


@pytest.fixture(scope="session")
def gateway():
    """With four workers: which of them gets a datagram is by chance."""
    gateway = Gateway(workers=4)
    try:
        yield gateway.start()
    finally:
        gateway.stop()


@pytest.fixture
def own():
    """A gateway of the test's own."""
    gateway = Gateway(workers=2)
    try:
        yield gateway.start()
    finally:
        gateway.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quic_pass")
    return Authority(folder / "authority").pair(folder / "site", "site", ["a.test", "*.b.test"])


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    for pipe in list(loop.pipes):
        pipe.close()
