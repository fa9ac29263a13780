"""Fixtures of the scenarios that are written once and run for every pair of versions, plain and over TLS."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "http"), str(HERE.parent / "control"), str(HERE.parents[1] / "http3_peers")]

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


def pytest_configure(config):
    config.addinivalue_line("markers", "pairs(front, back): only for pairs with one of these versions")


def pytest_generate_tests(metafunc):
    """Every test that has a pair runs for all of them, or for those of its mark."""
    if "pair" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("pairs")
        wanted = mark.kwargs if mark else {}
        pairs = [pair for pair in ALL if all(getattr(pair, side) in versions for side, versions in wanted.items())]
        metafunc.parametrize("pair", pairs, ids=repr, indirect=True)


@pytest.fixture
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
