"""Fixtures of the scenarios about processes: a gateway of its own for each test, since they are killed and their files damaged."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))

from gateway import Gateway  # noqa: E402  (found by the line above)


@pytest.fixture
def fresh():
    """A gateway with a configuration: its listener answers /version with the configuration's number."""
    gateway = Gateway().start()
    try:
        yield gateway
    finally:
        gateway.stop()
