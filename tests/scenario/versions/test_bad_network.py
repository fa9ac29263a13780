"""QUIC over a network that loses a tenth, doubles, delays and reorders, on whichever side there is HTTP/3; and clients whose
address changes in the middle of a transfer."""
import contextlib
import functools
import time

import pytest

import http3_peers
from bodies import Flow, bytes_at, carry
from pairs import ALL, IS_LONG
from talk import Client

if http3_peers.reason:
    pytest.skip(http3_peers.reason, allow_module_level=True)

from udp_relay import Plan, Relay  # noqa: E402

MIB = 1 << 20
BAD = Plan(loss=0.1, duplicate=0.02, reorder=0.05, delay=0.001)
PATIENCE = 120      # losses cost time, and the more of it the busier the machine is
OF_HTTP3 = [pair for pair in ALL if pair.has_http3]


@contextlib.contextmanager
def network(site, pair, plan):
    """(client, origin, relays) with a relay on each side that has HTTP/3."""
    relays, config = [], site.configuration()
    if pair.back == 3:
        relays.append(Relay(site.loop, ("127.0.0.1", site.origins[pair.cluster].listening.port), plan))
        cluster = next(cluster for cluster in config["clusters"] if cluster["name"] == pair.cluster)
        cluster["endpoints"] = [f"127.0.0.1:{relays[-1].port}"]
    site.gateway.serve(config)
    connect = functools.partial(site.connect, pair)
    if pair.front == 3:
        relays.append(Relay(site.loop, ("127.0.0.1", site.port(True)), plan))
        connect = functools.partial(site.connect_http3, ("127.0.0.1", relays[-1].port))
    try:
        with Client(site.loop, connect, pair.authority) as client:
            yield client, site.origins[pair.cluster], relays
            for relay in relays:
                relay.heal()  # a goodbye that is lost would leave its connection until it is idle
    finally:
        site.gateway.wait_metric("connections", lambda count: count == 0)
        for relay in relays:
            relay.close()


@pytest.fixture(name="between", params=OF_HTTP3, ids=repr)
def with_patience(request, site, monkeypatch):
    monkeypatch.setattr(type(site.loop).until, "__defaults__", (PATIENCE,))
    yield functools.partial(network, site, request.param), request.param
    site.gateway.serve(site.configuration())
    site.expect_nothing_left()


def exchange(client, origin, size):
    """So much both ways at once."""
    asked = client.ask("POST", "/body", length=size, is_open=True)
    served = origin.request("/body")
    served.respond(200, is_open=True)
    up = Flow(asked, served, size)
    carry(up, Flow(served, asked, size, after=up))


def expect_bad(relay):
    counts = relay.counts()
    assert all(counts[way][what] for way in ("there", "back") for what in ("lost", "overtaken", "doubled")), counts


def test_a_mebibyte_both_ways(between):
    connect, _ = between
    with connect(BAD) as (client, origin, relays):
        exchange(client, origin, MIB)
        for relay in relays:
            expect_bad(relay)


def test_many_exchanges_at_once(between):
    connect, _ = between
    with connect(BAD) as (client, origin, _relays):
        asked = {f"/{number}": client.ask("POST", f"/{number}", body=bytes_at(number, 5000)) for number in range(30)}
        for _ in asked:
            served = origin.request()
            number = int(served.head.target[1:])
            assert served.rest() == bytes_at(number, 5000)
            served.respond(200, "X-Number: yes", body=bytes_at(number, 7000)).end()
        for target, talk in asked.items():
            assert talk.answer()["x-number"] == "yes" and talk.rest() == bytes_at(int(target[1:]), 7000)


# ---- addresses that change

class Reminder:
    """A client that says something each second, as who sits behind a NAT does (RFC 9000 section 10.1.2): where the gateway
    could not prove a new address and has gone back to one that the NAT has forgotten, nobody else can bring them together."""

    wants_read = wants_write = has_more = False

    def __init__(self, client):
        self.client, self.wake_at = client, time.monotonic() + 1

    def on_wake(self):
        self.wake_at = time.monotonic() + 1
        for connection in self.client.connections:
            connection.pipe.quic.send_ping(0)
            connection.pipe.push()


@contextlib.contextmanager
def reminded(client):
    reminder = Reminder(client)
    client.loop.pipes.append(reminder)
    try:
        yield
    finally:
        client.loop.pipes.remove(reminder)


OF_CLIENTS = pytest.mark.parametrize("between", [pair for pair in OF_HTTP3 if pair.front == 3], ids=repr, indirect=True)


@OF_CLIENTS
@pytest.mark.parametrize("loss", [0, 0.05])
def test_a_nat_that_forgets_again_and_again(site, between, loss):
    """Nothing is lost, and the connection stays the one."""
    connect, _ = between
    before = site.gateway.metric("quic_migrations_total")
    with connect(Plan(loss=loss, rebind_every=200)) as (client, origin, relays), reminded(client):
        exchange(client, origin, (8 if IS_LONG else 2) * MIB)
        assert len(client.connections) == 1 and relays[-1].changes > 2
        assert site.gateway.metric("quic_migrations_total") > before


@OF_CLIENTS
def test_a_client_that_moves(site, between):
    """To another address, with another connection ID, in the middle of both directions."""
    connect, _ = between
    before = site.gateway.metric("quic_migrations_total")
    with connect(Plan()) as (client, origin, relays):
        asked = client.ask("POST", "/body", is_open=True)
        served = origin.request("/body")
        served.respond(200, is_open=True)
        up = Flow(asked, served, 2 * MIB)
        down = Flow(served, asked, 2 * MIB, after=up)
        for moved in range(3):
            client.loop.until("a part", lambda part=moved + 1: any([up.step(), down.step()]) and up.seen > part * MIB // 2)
            asked.connection.quic.change_connection_id()
            relays[-1].migrate()
        carry(up, down)
        assert len(client.connections) == 1 and relays[-1].changes == 3
        assert site.gateway.metric("quic_migrations_total") > before
