"""Attacks that a gateway meets, in short forms: what ends, with which code, what is counted, and that others are served
all the while. How long others wait meanwhile is measured by tests/soak."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "http"), str(HERE.parent / "control")]
sys.path.append(str(HERE.parents[1] / "conformance"))  # behind all others: it has modules named like libraries

from attacked import Site  # noqa: E402  (found by the lines above)


@pytest.fixture(scope="session")
def site():
    with Site() as site:
        yield site
