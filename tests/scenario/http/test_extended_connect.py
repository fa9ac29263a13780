"""Tunnels over HTTP/2: extended CONNECT (RFC 8441) to origins of both versions, WebSocket of HTTP/1.1 to an origin of HTTP/2, and
plain CONNECT. Peers of HTTP/2 are python3-h2."""
import hashlib
import random
import socket
import threading

import h2.events
import pytest

from configuration import cluster, configure, listener, under
from h2_peer import Peer, tunnel_fields
from tunnels import KEY, WEBSOCKET, accept_of, agreement
from wire import PATIENCE, request, response


@pytest.fixture
def h2_origin():
    """A listening socket; `accept` gives the server's end of a connection of HTTP/2."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        yield server


@pytest.fixture
def site(gateway, scripted, h2_origin):
    """/two/ goes to an origin of HTTP/2, all else to the scripted one of HTTP/1.1."""
    port = h2_origin.getsockname()[1]
    config = configure(gateway, [cluster("origin", scripted), cluster("two", f"127.0.0.1:{port}", protocol="http2")],
                       [under("/two", "two"), under("/none", "origin", upgrades=["other"])],
                       listeners=[listener(gateway, protocols=["http1", "http2"])])
    gateway.serve(config)
    yield gateway
    scripted.drop_connections()
    gateway.wait_metric("exchanges", lambda count: count == 0)
    gateway.wait_metric("tunnels", lambda count: count == 0)


@pytest.fixture
def client(site):
    peer = Peer(socket.create_connection(("127.0.0.1", site.port)), client_side=True)
    peer.wait_settings()
    yield peer
    peer.close()


def test_the_gateway_says_that_it_knows_tunnels(client):
    assert client.h2.remote_settings.enable_connect_protocol == 1


def test_to_an_origin_of_http1(client, scripted):
    stream = client.open(*tunnel_fields())
    served = scripted.accept()
    asked = served.receive_request()
    assert (asked.method, asked.target, asked["Upgrade"]) == ("GET", "/chat", "websocket")
    assert asked["Sec-WebSocket-Protocol"] == "chat" and asked["Sec-WebSocket-Key"]
    served.send(agreement(asked["Sec-WebSocket-Key"], "Sec-WebSocket-Protocol: chat"))
    answer = dict(client.wait(h2.events.ResponseReceived).headers)
    assert (answer[":status"], answer["sec-websocket-protocol"]) == ("200", "chat")
    assert not {"connection", "upgrade", "sec-websocket-accept", "content-length"} & set(answer)
    client.send(stream, b"hello")
    served.expect(b"hello")
    served.send(b"yes")
    assert client.receive(stream, 3) == b"yes"
    client.send(stream, b"bye", end=True)
    served.expect(b"bye")
    served.expect_closed()
    served.send(b"late").end_sending()
    assert client.receive(stream, 4) == b"late"
    client.wait(h2.events.StreamEnded)


def test_a_key_of_the_client_is_dropped(client, scripted):
    client.open(*tunnel_fields(), ("sec-websocket-key", KEY))
    served = scripted.accept()
    key = served.receive_request()["Sec-WebSocket-Key"]  # stands there once
    assert key != KEY
    served.send(agreement(key))
    assert dict(client.wait(h2.events.ResponseReceived).headers)[":status"] == "200"


def test_nothing_reaches_the_origin_before_it_has_agreed(client, scripted):
    stream = client.open(*tunnel_fields())
    client.send(stream, b"too early")
    served = scripted.accept()
    asked = served.receive_request()
    assert served.is_silent()
    served.send(agreement(asked["Sec-WebSocket-Key"]))
    assert client.status(stream) == "200"
    served.expect(b"too early")


@pytest.mark.parametrize("status, seen", [(200, "502"), (204, "502"), (403, "403"), (503, "503")])
def test_what_an_origin_of_http1_declines(client, scripted, status, seen):
    """A 2xx would tell the client that its tunnel is open."""
    stream = client.open(*tunnel_fields())
    served = scripted.accept()
    served.receive_request()
    served.send(response(status) if status != 204 else b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.status(stream) == seen


def test_a_protocol_that_the_route_does_not_allow_is_not_implemented(client):
    """RFC 9220 section 3, for HTTP/2 as well."""
    assert client.status(client.open(*tunnel_fields("/none"))) == "501"


def test_to_an_origin_of_http2(client, h2_origin):
    stream = client.open(*tunnel_fields("/two/chat"))
    served = Peer(h2_origin.accept()[0], client_side=False)
    asked = served.wait(h2.events.RequestReceived)
    fields = dict(asked.headers)
    assert (fields[":method"], fields[":protocol"], fields[":path"]) == ("CONNECT", "websocket", "/two/chat")
    assert "sec-websocket-key" not in fields
    served.answer(asked.stream_id, (":status", "200"))
    assert client.status(stream) == "200"
    client.send(stream, b"hello")
    assert served.receive(asked.stream_id, 5) == b"hello"
    served.send(asked.stream_id, b"bye", end=True)
    assert client.receive(stream, 3) == b"bye"
    client.wait(h2.events.StreamEnded)
    client.send(stream, b"last", end=True)
    assert served.receive(asked.stream_id, 4) == b"last"
    served.wait(h2.events.StreamEnded)
    served.close()


def test_a_reset_passes(client, h2_origin):
    stream = client.open(*tunnel_fields("/two/chat"))
    served = Peer(h2_origin.accept()[0], client_side=False)
    asked = served.wait(h2.events.RequestReceived)
    served.answer(asked.stream_id, (":status", "200"))
    assert client.status(stream) == "200"
    client.h2.reset_stream(stream, 8)
    client.flush()
    assert served.wait(h2.events.StreamReset).error_code == 8
    served.close()


@pytest.mark.parametrize("more", [(), ("Content-Length: 0",)])
def test_websocket_of_http1_to_an_origin_of_http2(site, h2_origin, more):
    with site.connect() as client:
        client.send(request("GET", "/two/chat", *WEBSOCKET, *more))
        served = Peer(h2_origin.accept()[0], client_side=False)
        asked = served.wait(h2.events.RequestReceived)
        assert dict(asked.headers)[":protocol"] == "websocket"
        served.answer(asked.stream_id, (":status", "200"))
        answer = client.receive_head()
        assert (answer.status, answer["Upgrade"], answer["Sec-WebSocket-Accept"]) == (101, "websocket", accept_of(KEY))
        client.send(b"hello")
        assert served.receive(asked.stream_id, 5) == b"hello"
        served.send(asked.stream_id, b"bye", end=True)
        assert client.receive_all() == b"bye"
        client.send(b"end").end_sending()
        assert served.receive(asked.stream_id, 3) == b"end"
        served.wait(h2.events.StreamEnded)
        served.close()


def test_many_bytes_under_backpressure(client, scripted):
    stream = client.open(*tunnel_fields())
    served = scripted.accept()
    served.send(agreement(served.receive_request()["Sec-WebSocket-Key"]))
    assert client.status(stream) == "200"
    data = random.Random(5).randbytes(8 << 20)
    digest = hashlib.sha256(data).digest()

    def echo():
        got = served.receive(len(data))
        assert hashlib.sha256(got).digest() == digest
        served.send(got).end_sending()

    other = threading.Thread(target=echo)
    other.start()
    client.send(stream, data, end=True)
    assert hashlib.sha256(client.receive(stream, len(data))).digest() == digest
    other.join()


@pytest.mark.parametrize("fields", [
    [(":method", "GET"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
    [(":method", "CONNECT"), (":protocol", "websocket"), (":authority", "a")],
    [(":method", "CONNECT"), (":protocol", ""), (":scheme", "http"), (":authority", "a"), (":path", "/")],
    [(":method", "CONNECT"), (":protocol", "web socket"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
    [*tunnel_fields(), ("content-length", "5")],
])
def test_malformed_requests_for_tunnels(client, fields):
    stream = client.open(*fields)
    event = client.wait(h2.events.StreamReset)
    assert (event.stream_id, event.error_code) == (stream, 1)


def test_plain_connect_is_refused_without_a_rule(client):
    stream = client.open((":method", "CONNECT"), (":authority", "other.example:443"))
    assert client.status(stream) == "405"


def test_plain_connect_where_a_rule_allows_it(site, client, scripted):
    site.serve(configure(site, [cluster("origin", scripted)], [{"cluster": "origin", "connect": True}],
                         listeners=[listener(site, protocols=["http1", "http2"])]))
    stream = client.open((":method", "CONNECT"), (":authority", "other.example:443"))
    served = scripted.accept()
    assert client.status(stream) == "200"
    client.send(stream, b"hello", end=True)
    served.expect(b"hello")
    served.expect_closed()
    served.send(b"yes").end_sending()
    assert client.receive(stream, 3) == b"yes"
    client.wait(h2.events.StreamEnded)
