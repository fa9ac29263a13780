"""Upgrade over HTTP/1.1: WebSocket and other protocols (RFC 9110 section 7.8, RFC 6455 section 4). What they share
with CONNECT is in test_tunnels_alike.py."""
import base64

import pytest

from configuration import cluster, configure, under
from gateway import wait_until
from tunnels import KEY, WEBSOCKET, accept_of, agreement, open_websocket
from wire import head_of, request, response


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


def test_the_answer_is_changed_as_the_rule_says(gateway, client, origin):
    changes = [{"name": "x-inside", "action": "remove"}, {"name": "x-rule", "value": "%RESPONSE_CODE%"}]
    gateway.serve(configure(gateway, [cluster("origin", origin)], [under("/", "origin", **{"response-headers": changes})]))
    client.send(request("GET", "/chat", *WEBSOCKET))
    served = origin.accept()
    served.send(agreement(served.receive_request()["Sec-WebSocket-Key"], "X-Inside: 10.1.2.3"), b"\x81\x03yes")
    answer = client.receive_head()
    assert (answer.status, answer["X-Inside"], answer["X-Rule"]) == (101, None, "101")
    assert "headgate" in answer["Via"]
    client.expect(b"\x81\x03yes")


def test_bytes_pass_both_ways(client, origin):
    served = open_websocket(client, origin)
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


def test_an_origin_that_takes_no_more_ends_the_tunnel(gateway, client, origin):
    """Its last words have arrived; whatever the client says now, nobody hears."""
    served = open_websocket(client, origin)
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


def test_time_outs_of_messages_do_not_hold_for_tunnels(gateway, origin):
    times = dict.fromkeys(("request", "body", "response-body", "response-head"), "2s")  # the agreement has to be in time
    gateway.serve(configure(gateway, [cluster("origin", origin)], [under("/", "origin", timeouts=times)]))
    with gateway.connect() as client, gateway.connect() as other:
        served = open_websocket(client, origin)
        other.send(request("GET", "/late"))
        origin.accept().receive_request()
        assert other.receive_response().status == 504, "the same deadlines have passed"
        client.send(b"still here")
        served.expect(b"still here")


