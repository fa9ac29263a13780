"""A tunnel is a request under way until it ends: for balancers that go by load, and for bounds."""
import contextlib
import socket

import pytest

from configuration import cluster, configure, listener
from counted import ask, total
from gateway import wait_until
from h2_peer import Peer, tunnel_fields
from origins import Teller, TellerConnection
from tunnels import WEBSOCKET, agreement
from tunnels import ask as ask_connect
from wire import request

class Tunnelling(Teller):
    """Agrees to every WebSocket and goes on reading; counts what is open."""

    def __init__(self, name):
        self.opened = 0
        super().__init__(name)
        self.RequestHandlerClass = TunnellingConnection


class TunnellingConnection(TellerConnection):
    def handle(self):
        with self.server.lock:
            self.server.opened += 1
        super().handle()

    def answer(self, message):
        answer = super().answer(message)
        key = message["Sec-WebSocket-Key"]
        return agreement(key) if key else answer


def open_websocket(gateway, stack):
    client = stack.enter_context(gateway.connect())
    client.send(request("GET", "/chat", *WEBSOCKET))
    return client.receive_head().status


def open_connect(gateway, stack):
    client = stack.enter_context(gateway.connect())
    client.send(ask_connect())
    return client.receive_head().status


def open_extended_connect(gateway, stack):
    peer = Peer(socket.create_connection(("127.0.0.1", gateway.port)), client_side=True)
    stack.callback(peer.close)
    peer.wait_settings()
    return int(peer.status(peer.open(*tunnel_fields())))


KINDS = {"websocket": (open_websocket, 101), "connect": (open_connect, 200), "extended-connect": (open_extended_connect, 200)}


@pytest.fixture(params=KINDS, name="kind")
def each_kind(request):  # pylint: disable=redefined-outer-name
    return KINDS[request.param]


@contextlib.contextmanager
def serving(gateway, count, **options):
    """A cluster of this many origins, whose connections are not kept: those that are open carry tunnels."""
    with contextlib.ExitStack() as stack:
        origins = [stack.enter_context(Tunnelling(name)) for name in "abcd"[:count]]
        config = configure(gateway, [cluster("c", *origins, **{"idle-connections": 0, **options})],
                           listeners=[listener(gateway, protocols=["http1", "http2"])])
        config["route-tables"][0]["hosts"][0]["rules"] = [{"cluster": "c", "connect": True}]
        gateway.serve(config)
        yield origins


@contextlib.contextmanager
def tunnels(gateway, kind, count):
    """So many, one after the other. They end with the block."""
    how, status = kind
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            assert how(gateway, stack) == status
        yield
    gateway.wait_metric("tunnels", lambda open_: open_ == 0)
    gateway.wait_metric("exchanges", lambda open_: open_ == 0)


def wait_opened(origins, before, count):
    """How many connections came to each since `before`, once they are `count` in all."""
    def since():
        return [origin.opened - b for origin, b in zip(origins, before)]
    wait_until(f"{count} connections", lambda: sum(since()) >= count)
    return since()


@pytest.mark.parametrize("balancer", ["least-connections", "least-request"])
def test_tunnels_weigh_until_they_end(single, kind, balancer):
    with serving(single, 2, balancer=balancer) as origins:
        with tunnels(single, kind, 6):
            assert wait_opened(origins, [0, 0], 6) == [3, 3]
        with tunnels(single, kind, 1):
            busy = wait_opened(origins, [3, 3], 1).index(1)
            for origin in origins:
                origin.take_count()
            assert [answer.status for answer in ask(single, 20)] == [200] * 20
            assert origins[busy].take_count() == 0 and origins[1 - busy].take_count() == 20
        assert [answer.status for answer in ask(single, 40)] == [200] * 40
        assert min(origin.take_count() for origin in origins) >= 5


@pytest.mark.parametrize("bounds, word", [({"requests": 2}, b"upstream_rq_overflow"),
                                          ({"endpoint-requests": 1}, b"endpoint_rq_overflow"),
                                          ({"connections": 2}, b"upstream_cx_overflow"),
                                          ({"endpoint-connections": 1}, b"endpoint_cx_overflow")])
def test_tunnels_take_room_until_they_end(gateway, kind, bounds, word):
    with serving(gateway, 2, balancer="round-robin", **{"circuit-breakers": bounds}) as origins:
        for _ in range(3):  # nothing stays counted
            with tunnels(gateway, kind, 2):
                seen = total(origins)
                answer = ask(gateway)[0]
                assert answer.status == 503 and word in answer.body
                assert total(origins) == seen
            assert [answer.status for answer in ask(gateway, 2)] == [200] * 2


@pytest.mark.parametrize("what", ["cluster", "endpoint"])
def test_a_tunnel_outlives_what_it_goes_to(gateway, kind, what):
    """It keeps what it is counted by, and gives back what it took to that, not to what has come instead."""
    bounds = {"circuit-breakers": {"requests": 1, "endpoint-requests": 1}}
    options, web = {"idle-connections": 0, **bounds}, [listener(gateway, protocols=["http1", "http2"])]
    with serving(gateway, 1, **bounds) as origins:
        with tunnels(gateway, kind, 1):
            wait_opened(origins, [0], 1)
            others = [] if what == "cluster" else [cluster("c", "127.0.0.1:1", **options)]
            gateway.serve(configure(gateway, others, [{"respond": {"status": 404}}]))
            gateway.serve(configure(gateway, [cluster("c", *origins, **options)], listeners=web))
            assert ask(gateway)[0].status == (200 if what == "cluster" else 503)
        assert [answer.status for answer in ask(gateway, 2)] == [200] * 2
