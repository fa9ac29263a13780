"""All cases of HTTP/3 and QUIC against the gateway, with an origin behind it that takes whole requests."""
import pytest
from configuration import cluster, configure, listener
from gateway import Gateway
from origins import Teller

import http3_peers
from test_conformance import make_certificate, serve

if http3_peers.reason:
    pytest.skip(http3_peers.reason, allow_module_level=True)

from quic_case import Skipped, hold  # noqa: E402  (there may be no aioquic)
from quic_client import Target  # noqa: E402
from suite_h3 import all_cases  # noqa: E402

CASES = all_cases()
EARLY = [name for name, case in CASES.items() if case.ways.early]


@pytest.fixture(scope="module")
def target():
    gateway = Gateway()
    try:
        with Teller("a") as origin:
            speaks = listener(gateway, protocols=["http1", "http2", "http3"],
                              tls={"certificates": make_certificate(gateway.folder)}, quic={"early-data": True})
            serve(gateway.start(), configure(gateway, [cluster("origin", origin)], listeners=[speaks]))
            yield Target(port=gateway.port)
    finally:
        gateway.stop()


@pytest.mark.parametrize("name", CASES)
def test_case(target, name):
    try:
        wrong = hold(CASES[name], target)
    except Skipped as reason:
        assert name not in EARLY, reason
        pytest.skip(str(reason))
    assert not wrong, wrong
