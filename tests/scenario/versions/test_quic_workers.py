"""Four workers: each datagram comes to the worker that has its connection, also when the client's address changes, however
the system lets the gateway steer them."""
import functools

import pytest

import http3_peers
from bodies import Flow, carry
from pairs import Pair, Site
from talk import Client

if http3_peers.reason:
    pytest.skip(http3_peers.reason, allow_module_level=True)

from udp_relay import Plan, Relay  # noqa: E402

WORKERS, CLIENTS, SIZE = 4, 8, 256 << 10
PAIR = Pair(3, 1, True)


@pytest.fixture(name="site", scope="module", params=["auto", "classic", "hash"])
def site_with_four_workers(request):
    site = Site(workers=WORKERS)
    site.steering = request.param
    site.gateway.holder_arguments = ["--udp-steering", request.param]
    try:
        site.gateway.start().serve(site.configuration())
        yield site
    finally:
        site.gateway.stop()


def test_clients_that_move(site):
    relay = Relay(site.loop, ("127.0.0.1", site.port(True)), Plan(rebind_every=60))
    origin, flows = site.origins[PAIR.cluster], []
    clients = [Client(site.loop, functools.partial(site.connect_http3, ("127.0.0.1", relay.port)), PAIR.authority)
               for _ in range(CLIENTS)]
    for number, client in enumerate(clients):
        asked = client.ask("POST", f"/{number}", is_open=True)
        served = origin.request(f"/{number}")
        served.respond(200, is_open=True)
        up = Flow(asked, served, SIZE)
        flows += [up, Flow(served, asked, SIZE, after=up)]
    carry(*flows)
    assert all(len(client.connections) == 1 for client in clients) and relay.changes > CLIENTS
    astray = site.gateway.metric("quic_astray_total")
    assert astray == 0 if site.steering != "hash" else astray > 0, f"{astray} of {relay.counts()}"
    assert site.gateway.metric("quic_astray_dropped_total") == 0
    assert site.gateway.metric("worker_requests_total") == site.gateway.metric("requests_total") == CLIENTS
    assert site.gateway.metric("worker_connections") == site.gateway.metric("connections") == CLIENTS
    assert site.gateway.metric("client_received_bytes_total") > CLIENTS * SIZE < site.gateway.metric("client_sent_bytes_total")
    for client in clients:
        client.close()
    site.expect_nothing_left()
    relay.close()
