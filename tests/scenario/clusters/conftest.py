"""Fixtures of the scenarios about clusters: which endpoints are used."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "http"), str(HERE.parent / "control")]

from configuration import configure  # noqa: E402  (found by the line above)
from gateway import Gateway  # noqa: E402


@pytest.fixture(scope="session")
def gateway():
    gateway = Gateway()
    try:
        gateway.start().serve(configure(gateway, [], [{"respond": {"status": 404}}]))
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture(scope="module")
def single():
    """One worker: turns, and what is under way, are each worker's own."""
    gateway = Gateway(workers=1)
    try:
        yield gateway.start()
    finally:
        gateway.stop()


@pytest.fixture
def own():
    """A gateway whose processes the test may kill."""
    gateway = Gateway()
    try:
        yield gateway.start()
    finally:
        gateway.stop()
