"""Fixtures of the scenarios that are written once and run for every pair of versions, plain and over TLS."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "http"), str(HERE.parent / "control")]

from pairs import ALL, Site  # noqa: E402  (found by the line above)


@pytest.fixture(scope="session")
def site():
    """One gateway for all pairs."""
    site = Site()
    try:
        site.gateway.start().serve(site.configuration())
        yield site
    finally:
        site.gateway.stop()


@pytest.fixture(params=ALL, ids=repr)
def pair(request, site):
    """Serves the usual configuration; afterwards nothing may be left in the gateway."""
    site.gateway.serve(site.configuration())
    yield request.param
    site.expect_nothing_left()


@pytest.fixture
def origin(site, pair):
    return site.origins[pair.cluster]


@pytest.fixture
def client(site, pair, origin):
    with site.client(pair) as client:
        yield client
    assert origin
