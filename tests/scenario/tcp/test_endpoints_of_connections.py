"""Which endpoint a connection goes to, and what happens when there is none."""
import contextlib
import select
import socket

import pytest

from configuration import cluster
from gateway import Gateway
from relayed import connect, ended, expect_reset, joined, relay, relay_to, tcp_listener
from wire import PATIENCE, Origin


@pytest.fixture
def refused():
    """An endpoint that nobody listens on, and that nobody else can take."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def several(gateway):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(3)]
    gateway.wait_metric("tcp_connections", lambda count: count == 0)


def accept_any(origins):
    """The next connection to one of them: which one, and its end there."""
    ready, _, _ = select.select([o.sock for o in origins], [], [], PATIENCE)
    assert ready, "nobody was connected to"
    chosen = next(o for o in origins if o.sock is ready[0])
    return chosen, chosen.accept()


def open_one(gateway, stack, origins, name="tcp"):
    """A connection that stays open; which of the origins has it."""
    client = stack.enter_context(connect(gateway, name))
    chosen, served = accept_any(origins)
    stack.enter_context(served)
    return chosen, client, served


# ---- connecting fails

def test_without_an_endpoint_the_connection_is_reset(gateway):
    relay_to(gateway)
    before = gateway.metric("tcp_unconnected_total")
    expect_reset(gateway)
    assert ended(gateway, error="no-endpoint", request_bytes=0)["cluster"] == "origin"
    gateway.wait_metric("tcp_unconnected_total", lambda count: count == before + 1)


def test_one_attempt_is_made_unless_more_are_allowed(gateway, refused):
    relay_to(gateway, refused)
    failures = gateway.metric("origin_connect_failures_total")
    expect_reset(gateway)
    assert ended(gateway, error="connect-failed", endpoint=refused).get("attempts", 1) == 1
    assert gateway.metric("origin_connect_failures_total") == failures + 1


def test_another_endpoint_is_tried(gateway, endpoint, refused):
    relay_to(gateway, refused, endpoint, tcp={"max-connect-attempts": 2})
    for _ in range(4):
        with joined(gateway, endpoint) as (client, served):
            client.send(b"there")
            served.expect(b"there")
    assert ended(gateway, endpoint=endpoint.endpoint, attempts=2, request_bytes=5)


def test_a_socket_that_refuses_at_once(gateway, endpoint):
    """connect(2) of a Unix-domain socket fails within the call."""
    nobody = f"unix:{gateway.folder}/nobody"
    relay_to(gateway, nobody, f"{nobody}-2", f"{nobody}-3", endpoint, tcp={"max-connect-attempts": 4}, balancer="first")
    with joined(gateway, endpoint) as (client, served):
        served.send(b"hello")
        client.expect(b"hello")
    assert ended(gateway, endpoint=endpoint.endpoint, attempts=4)


def test_all_are_dead(gateway):
    with contextlib.ExitStack() as stack:
        dead = [stack.enter_context(Origin(listens=False)) for _ in range(3)]
        relay_to(gateway, *dead, tcp={"max-connect-attempts": 3})
        expect_reset(gateway, said=b"is anybody there?")
        assert ended(gateway, error="connect-failed", attempts=3)


def test_who_does_not_answer_is_given_up(gateway, endpoint):
    """A backlog that is full: connecting takes as long as it may."""
    with Origin(backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(2):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", full.port))
        relay_to(gateway, full, endpoint, tcp={"max-connect-attempts": 2}, balancer="first", **{"connect-timeout": "200ms"})
        timeouts = gateway.metric("origin_connect_timeouts_total")
        with joined(gateway, endpoint) as (client, served):
            client.send(b"late")
            served.expect(b"late")
        assert gateway.metric("origin_connect_timeouts_total") == timeouts + 1


def test_outlier_detection_hears_of_failures(gateway, endpoint, refused):
    relay_to(gateway, refused, endpoint, tcp={"max-connect-attempts": 2}, balancer="round-robin",
             **{"outlier-detection": {"consecutive-local-failures": 2, "max-ejected-percent": 50}})
    ejected = gateway.metric("ejections_total")
    for _ in range(8):
        with joined(gateway, endpoint):
            pass
    gateway.wait_metric("ejections_total", lambda count: count == ejected + 1)
    failures = gateway.metric("origin_connect_failures_total")
    for _ in range(4):
        with joined(gateway, endpoint):
            pass
    assert gateway.metric("origin_connect_failures_total") == failures


# ---- choosing

def test_clusters_share_by_weight(gateway, several):
    a, b, none = several
    clusters = [cluster("a", a), cluster("b", b), cluster("none", none)]
    shares = [{"name": "a", "weight": 3}, {"name": "b"}, {"name": "none", "weight": 0}]
    gateway.serve(relay(gateway, clusters, [tcp_listener(gateway, {"clusters": shares})]))
    counts = {origin.port: 0 for origin in several}
    for _ in range(200):
        with contextlib.ExitStack() as stack:
            counts[open_one(gateway, stack, several)[0].port] += 1
    assert 120 <= counts[a.port] <= 178 and counts[none.port] == 0  # 150 with 6.1 of deviation; beyond 4.5 of them: 1 in 10^5


def test_subsets(gateway, several):
    endpoints = [{"address": o.endpoint, "metadata": {"version": v}} for o, v in zip(several, ("v1", "v2", "v1"))]
    gateway.serve(relay(gateway, [cluster("c", *endpoints, balancing={"subsets": [{"keys": "version"}]})],
                        [tcp_listener(gateway, {"clusters": [{"name": "c", "subset": {"version": "v2"}}]})]))
    for _ in range(6):
        with contextlib.ExitStack() as stack:
            assert open_one(gateway, stack, several)[0] is several[1]


@pytest.fixture
def single():
    """With one worker, which sees all there is."""
    gateway = Gateway(workers=1)
    try:
        yield gateway.start()
    finally:
        gateway.stop()


@pytest.mark.parametrize("balancer, more", [("least-connections", {}), ("least-request", {"balancing": {"choices": 20}}),
                                            ("round-robin", {})])
def test_open_connections_count(single, balancer, more):
    """Each has as many as the others; who has fewer, because some have ended, gets the next ones when load decides."""
    with contextlib.ExitStack() as stack:
        origins = [stack.enter_context(Origin()) for _ in range(3)]
        relay_to(single, *origins, balancer=balancer, **more)
        opened = [open_one(single, stack, origins) for _ in range(9)]
        assert sorted(o.port for o, _, _ in opened) == sorted([o.port for o in origins] * 3)
        for _, client, _ in [one for one in opened if one[0] is origins[1]][:2]:
            client.reset()
        single.wait_metric("tcp_connections", lambda count: count == 7)
        chosen = [open_one(single, stack, origins)[0] for _ in range(2)]
        assert balancer == "round-robin" or chosen == [origins[1]] * 2


@pytest.mark.parametrize("balancer", ["ring-hash", "maglev", "source-address"])
def test_a_client_comes_back_to_its_endpoint(gateway, several, balancer):
    relay_to(gateway, *several, balancer=balancer)
    homes = {}
    for source in [f"127.0.1.{n}" for n in range(1, 13)] * 3:
        with connect(gateway, source=source):
            chosen, served = accept_any(several)
            served.close()
        homes.setdefault(source, set()).add(chosen.port)
    assert all(len(home) == 1 for home in homes.values())
    assert len(set.union(*homes.values())) > 1


# ---- bounds

@pytest.mark.parametrize("breakers, word, metric", [
    ({"connections": 3}, "upstream_cx_overflow", "connections_overflow_total"),
    ({"requests": 3}, "upstream_rq_overflow", "requests_overflow_total"),
    ({"endpoint-connections": 1}, "endpoint_cx_overflow", "endpoint_overflow_total"),
    ({"endpoint-requests": 1}, "endpoint_rq_overflow", "endpoint_overflow_total"),
])
def test_what_is_beyond_a_bound_is_reset(gateway, several, breakers, word, metric):
    relay_to(gateway, *several, **{"circuit-breakers": breakers})
    for _ in range(2):  # nothing stays counted
        before = gateway.metric(metric)
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                open_one(gateway, stack, several)
            for _ in range(4):
                expect_reset(gateway)
            gateway.wait_metric(metric, lambda count, before=before: count == before + 4)
        gateway.wait_metric("tcp_connections", lambda count: count == 0)
    assert ended(gateway, error=word)


def test_who_waits_for_room_gets_it(gateway, endpoint):
    relay_to(gateway, endpoint, **{"circuit-breakers": {"connections": 1, "pending-timeout": "20s"}})
    with joined(gateway, endpoint) as (first, _):
        with connect(gateway) as second:
            gateway.wait_metric("requests_pending", lambda count: count == 1)
            second.send(b"me too")
            first.reset()
            with endpoint.accept() as served:
                served.expect(b"me too")


def test_connections_of_an_address_are_bounded(gateway, endpoint):
    relay_to(gateway, endpoint, settings={"limits": {"connections-per-ip": 2}})
    refused = gateway.metric("connections_refused_per_ip_total")
    with joined(gateway, endpoint), joined(gateway, endpoint):
        with connect(gateway) as third:
            third.expect_closed_or_reset()
        with connect(gateway, source="127.0.0.9") as other, endpoint.accept() as served:
            other.send(b"somebody else")
            served.expect(b"somebody else")
    assert gateway.metric("connections_refused_per_ip_total") == refused + 1
