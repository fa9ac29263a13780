"""What all tunnels have in common, however a client of HTTP/1.1 opens them."""
import collections
import random
import threading

import pytest

from configuration import QUICK, cluster, configure, under
from tunnels import open_connect, open_websocket

MIB = 1 << 20
Kind = collections.namedtuple("Kind", "open status")
KINDS = {"CONNECT": Kind(open_connect, 200), "WebSocket": Kind(open_websocket, 101)}


def serving(gateway, origin, **more):
    """Every request may become a tunnel."""
    gateway.serve(configure(gateway, [cluster("origin", origin)], [{"cluster": "origin", "connect": True, **more}]))


@pytest.fixture(params=KINDS, name="kind")
def each_kind(request):  # pylint: disable=redefined-outer-name
    return KINDS[request.param]


@pytest.fixture
def origin(gateway, scripted):
    serving(gateway, scripted)
    yield scripted
    scripted.drop_connections()
    gateway.wait_metric("origin_connections", lambda count: count == 0)


@pytest.fixture
def served(kind, client, origin):
    """The origin's end of a tunnel; the other is the client."""
    return kind.open(client, origin)


def test_half_closes_pass_one_by_one(client, served):
    client.send(b"question").end_sending()
    served.expect(b"question")
    served.expect_closed()
    served.send(b"a late answer").end_sending()
    assert client.receive_all() == b"a late answer"


def test_the_origin_may_end_first(client, served):
    served.send(b"bye").end_sending()
    assert client.receive_all() == b"bye"
    client.send(b"last words").end_sending()
    served.expect(b"last words")
    served.expect_closed()


@pytest.mark.parametrize("who", ["client", "origin"])
def test_a_reset_reaches_the_other_side(client, served, who):
    ends = {"client": (client, served), "origin": (served, client)}[who]
    ends[0].reset()
    ends[1].expect_closed_or_reset()


def test_many_bytes_under_backpressure(client, served):
    """32 MiB each way at once, exact; the gateway holds a bounded part of them."""
    data = random.Random(7).randbytes(MIB)

    def pump(connection):
        for _ in range(32):
            connection.send(data)
        connection.end_sending()

    senders = [threading.Thread(target=pump, args=[end]) for end in (client, served)]
    for sender in senders:
        sender.start()
    for end in (served, client):
        for _ in range(32):
            assert end.receive(MIB) == data
        assert end.receive_all() == b""
    for sender in senders:
        sender.join()


@pytest.mark.parametrize("name", ["origin", "other"])
def test_a_tunnel_outlives_pushes(gateway, kind, client, scripted, served, name):
    """Also those that take away its cluster."""
    clusters = [cluster("origin", scripted)] if name == "origin" else [cluster("other")]
    for number in range(3):
        gateway.serve(configure(gateway, clusters, [under("/x", {"respond": {"status": 200, "body": f"version {number}"}})]))
    client.send(b"after")
    served.expect(b"after")
    served.send(b"yes")
    client.expect(b"yes")
    client.end_sending()
    served.expect_closed()
    served.close()
    gateway.wait_log(lambda r: r["status"] == kind.status and r.get("cluster") == "origin" and r["listener"] == "web")


def test_a_tunnel_that_is_idle_is_cut(gateway, kind, origin):
    serving(gateway, origin, timeouts={"tunnel-idle": QUICK})
    with gateway.connect() as client:
        served = kind.open(client, origin)
        client.expect_closed_or_reset()
        served.expect_closed_or_reset()
    gateway.wait_log(lambda r: r.get("error") == "tunnel-idle" and r["status"] == kind.status)
