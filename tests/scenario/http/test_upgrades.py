"""Upgrade over HTTP/1.1: WebSocket and other protocols (RFC 9110 section 7.8, RFC 6455 section 4)."""
import base64
import hashlib
import random
import threading

import pytest

from configuration import QUICK, cluster, configure, under
from gateway import wait_until
from wire import head_of, request, response

KEY = base64.b64encode(b"0123456789abcdef").decode()
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def agreement(key, *more):
    """What an origin answers to this key."""
    return head_of("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket",
                   f"Sec-WebSocket-Accept: {accept_of(key)}", *more)


def open_tunnel(client, origin, target="/chat"):
    """A WebSocket tunnel; returns the origin's end."""
    client.send(request("GET", target, *WEBSOCKET))
    served = origin.accept()
    served.send(agreement(served.receive_request()["Sec-WebSocket-Key"]))
    assert client.receive_head().status == 101
    return served


def test_the_handshake_is_made_on_both_sides(client, origin):
    client.send(request("GET", "/chat", *WEBSOCKET, "Sec-WebSocket-Protocol: chat, superchat", "Origin: https://a.example"))
    served = origin.accept()
    asked = served.receive_request()
    assert (asked.method, asked.target, asked["Upgrade"]) == ("GET", "/chat", "websocket")
    assert "upgrade" in asked["Connection"].lower()
    assert (asked["Sec-WebSocket-Version"], asked["Sec-WebSocket-Protocol"]) == ("13", "chat, superchat")
    assert asked["Origin"] == "https://a.example"
    key = asked["Sec-WebSocket-Key"]
    assert len(base64.b64decode(key)) == 16 and key != KEY, "each connection has a key of its own"
    served.send(agreement(key, "Sec-WebSocket-Protocol: chat"))
    answer = client.receive_head()
    assert (answer.status, answer["Upgrade"], answer["Connection"]) == (101, "websocket", "upgrade")
    assert answer["Sec-WebSocket-Accept"] == accept_of(KEY)
    assert answer["Sec-WebSocket-Protocol"] == "chat"
    assert answer["Content-Length"] is None and answer["Transfer-Encoding"] is None


def test_bytes_pass_both_ways(client, origin):
    served = open_tunnel(client, origin)
    client.send(b"\x81\x05hello")
    served.expect(b"\x81\x05hello")
    served.send(b"\x81\x03yes" + bytes(range(256)))
    client.expect(b"\x81\x03yes" + bytes(range(256)))


def test_what_comes_with_the_heads_belongs_to_the_tunnel(client, origin):
    client.send(request("GET", "/chat", *WEBSOCKET))
    served = origin.accept()
    served.send(agreement(served.receive_request()["Sec-WebSocket-Key"]), b"first words")
    assert client.receive_head().status == 101
    client.expect(b"first words")


def test_nothing_reaches_the_origin_before_it_has_agreed(client, origin):
    client.send(request("GET", "/chat", *WEBSOCKET), b"too early")
    served = origin.accept()
    asked = served.receive_request()
    assert served.is_silent(), "payload came before the agreement"
    served.send(agreement(asked["Sec-WebSocket-Key"]))
    assert client.receive_head().status == 101
    served.expect(b"too early")


def test_half_closes_pass_one_by_one(client, origin):
    served = open_tunnel(client, origin)
    client.send(b"question").end_sending()
    served.expect(b"question")
    served.expect_closed()
    served.send(b"a late answer").end_sending()
    assert client.receive_all() == b"a late answer"


def test_the_origin_may_end_first(client, origin):
    served = open_tunnel(client, origin)
    served.send(b"bye").end_sending()
    assert client.receive_all() == b"bye"
    client.send(b"last words").end_sending()
    served.expect(b"last words")
    served.expect_closed()


def test_an_origin_that_takes_no_more_ends_the_tunnel(gateway, client, origin):
    """Its last words have arrived; whatever the client says now, nobody hears."""
    served = open_tunnel(client, origin)
    served.send(b"bye").end_sending()
    assert client.receive_all() == b"bye"
    served.close()

    def is_over():
        try:
            client.send(b"anybody there?")
        except OSError:
            pass
        return gateway.metric("tunnels") == 0
    wait_until("the end of the tunnel", is_over)
    client.reset()
    gateway.wait_metric("connections", lambda count: count == 0)


def test_a_reset_reaches_the_other_side(client, origin):
    served = open_tunnel(client, origin)
    client.reset()
    served.expect_closed_or_reset()


@pytest.mark.parametrize("status", [200, 204, 400, 426, 503])
def test_any_other_answer_is_an_ordinary_one(client, origin, status):
    """A request that was pipelined behind is the next request, never bytes of a tunnel: not one of its bytes goes to an origin that
    has said 200 (CVE-2025-64763)."""
    client.send(request("GET", "/chat", *WEBSOCKET), request("GET", "/smuggled"))
    served = origin.accept()
    served.receive_request()
    served.send(response(status) if status != 204 else head_of("HTTP/1.1 204 No Content"))
    assert client.receive_response().status == status
    served.expect_closed()
    another = origin.accept()
    assert another.receive_request().target == "/smuggled"
    another.send(response(body="next"))
    assert client.receive_response().body == b"next"


@pytest.mark.parametrize("wrong", [
    ("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: " + accept_of(KEY)),
    ("Connection: upgrade", "Upgrade: websocket"),
    ("Connection: upgrade", "Upgrade: other", "Sec-WebSocket-Accept: @"),
    ("Upgrade: websocket", "Sec-WebSocket-Accept: @"),
])
def test_a_wrong_agreement_is_a_bad_answer(client, origin, wrong):
    client.send(request("GET", "/chat", *WEBSOCKET))
    served = origin.accept()
    key = served.receive_request()["Sec-WebSocket-Key"]
    served.send(head_of("HTTP/1.1 101 Switching Protocols", *(line.replace("@", accept_of(key)) for line in wrong)))
    assert client.receive_response().status == 502
    served.expect_closed()


def test_an_agreement_that_nobody_asked_for_is_a_bad_answer(client, origin):
    client.send(request("GET", "/plain"))
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket"))
    assert client.receive_response().status == 502


@pytest.mark.parametrize("fields", [
    ("Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    ("Connection: Upgrade", "Upgrade: other/1"),
    ("Connection: Upgrade", "Upgrade: websocket"),
    ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: short"),
    ("Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}"),
])
def test_what_is_not_allowed_or_not_whole_is_no_upgrade(client, origin, fields):
    client.send(request("GET", "/chat", *fields))
    served = origin.accept()
    asked = served.receive_request()
    assert asked["Upgrade"] is None and "upgrade" not in (asked["Connection"] or "").lower()
    served.send(response(body="plain"))
    assert client.receive_response().body == b"plain"


def test_an_upgrade_with_content_is_an_ordinary_request(client, origin):
    client.send(request("POST", "/chat", "Connection: Upgrade", "Upgrade: other/1", body="content"))
    served = origin.accept()
    asked = served.receive_request()
    assert (asked["Upgrade"], asked.body) == (None, b"content")
    served.send(response())
    assert client.receive_response().status == 200


def test_other_protocols_when_the_route_allows_them(gateway, origin):
    gateway.serve(configure(gateway, [cluster("origin", origin)], [under("/any", "origin", upgrades=["other"]),
                                                                 under("/all", "origin", upgrades=["*"])]))
    for target in ("/any", "/all"):
        with gateway.connect() as client:
            client.send(request("GET", target, "Connection: Upgrade", "Upgrade: other/1"))
            served = origin.accept()
            assert served.receive_request()["Upgrade"] == "other/1"
            served.send(head_of("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: other/1"))
            assert client.receive_head()["Upgrade"] == "other/1"
            client.send(b"ping")
            served.expect(b"ping")


def test_many_bytes_under_backpressure(client, origin):
    """32 MiB each way at once, exact; the gateway holds a bounded part of them."""
    served = open_tunnel(client, origin)
    data = random.Random(7).randbytes(1 << 20)

    def pump(connection):
        for _ in range(32):
            connection.send(data)
        connection.end_sending()

    senders = [threading.Thread(target=pump, args=[end]) for end in (client, served)]
    for sender in senders:
        sender.start()
    for end in (served, client):
        for _ in range(32):
            assert end.receive(len(data)) == data
        assert end.receive_all() == b""
    for sender in senders:
        sender.join()


def test_a_tunnel_that_is_idle_is_cut(gateway, origin):
    gateway.serve(configure(gateway, [cluster("origin", origin)], [under("/", "origin", timeouts={"tunnel-idle": QUICK})]))
    with gateway.connect() as client:
        served = open_tunnel(client, origin)
        client.expect_closed_or_reset()
        served.expect_closed_or_reset()
    gateway.wait_log(lambda record: record.get("error") == "tunnel-idle")


def test_time_outs_of_messages_do_not_hold_for_tunnels(gateway, origin):
    times = {"request": QUICK, "body": QUICK, "response-body": QUICK, "response-head": QUICK}
    gateway.serve(configure(gateway, [cluster("origin", origin)], [under("/", "origin", timeouts=times)]))
    with gateway.connect() as client, gateway.connect() as other:
        served = open_tunnel(client, origin)
        other.send(request("GET", "/late"))
        origin.accept().receive_request()
        assert other.receive_response().status == 504, "the same deadlines have passed"
        client.send(b"still here")
        served.expect(b"still here")


def test_a_tunnel_outlives_pushes(gateway, client, origin):
    served = open_tunnel(client, origin)
    for number in range(3):
        gateway.serve(configure(gateway, [cluster("origin", origin)], [
            under("/x", {"respond": {"status": 200, "body": f"version {number}"}})]))
    client.send(b"after")
    served.expect(b"after")
    served.send(b"yes")
    client.expect(b"yes")
    client.end_sending()
    served.expect_closed()
    served.close()
    gateway.wait_log(lambda record: record["status"] == 101 and record["cluster"] == "origin" and record["listener"] == "web")
