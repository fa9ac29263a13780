"""Fixtures of the scenarios with listeners that relay TCP."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "http"), str(HERE.parent / "control")]

from configuration import configure  # noqa: E402  (found by the line above)
from gateway import Gateway  # noqa: E402
from wire import Origin  # noqa: E402


@pytest.fixture(scope="session")
def gateway():
    gateway = Gateway()
    try:
        gateway.start().serve(configure(gateway, [], [{"respond": {"status": 404}}]))
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture
def own():
    """A gateway of the test's own."""
    gateway = Gateway()
    try:
        yield gateway.start()
    finally:
        gateway.stop()


@pytest.fixture
def endpoint(gateway):
    """An endpoint that plays what the test says. Afterwards nothing is left of the connections."""
    with Origin() as origin:
        yield origin
        origin.drop_connections()
        gateway.wait_metric("tcp_connections", lambda count: count == 0)
        gateway.wait_metric("origin_connections", lambda count: count == 0)
        gateway.wait_metric("buffered_bytes", lambda count: count == 0)
