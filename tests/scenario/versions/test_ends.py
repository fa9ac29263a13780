"""Exchanges that are broken off, by either side, in every phase. The fixture `pair` looks whether something is left."""
import socket

import pytest

from bodies import fill
from http2 import DATA, HEADERS, PRIORITY, frame
from talk import CANCEL, CUT, END, INTERNAL_ERROR, PROTOCOL_ERROR, REFUSED_STREAM


def expect_the_connection_goes_on(pair, client, origin):
    """Another request on the same connection, where the version can have one."""
    before = len(client.connections)
    asked = client.ask(target="/after")
    origin.request("/after").respond(200, body="goes on")
    assert asked.rest() == b"goes on"
    assert pair.front == 1 or len(client.connections) == before, "HTTP/2 keeps its connection"


def expect_told(pair, served):
    """The origin hears that nobody waits any more."""
    assert served.fate() == (CANCEL if pair.back > 1 else CUT)


# ---- by the client

def test_while_the_request_body_comes(pair, client, origin):
    asked = client.ask("POST", "/cancel", length=1000, is_open=True).send("some")
    served = origin.request()
    assert served.receive(4) == b"some"
    asked.cancel()
    expect_told(pair, served)
    expect_the_connection_goes_on(pair, client, origin)


def test_while_the_request_body_is_held_back(pair, client, origin):
    """The origin takes nothing; what waits in the gateway is dropped."""
    asked = client.ask("POST", "/cancel", length=64 << 20, is_open=True)
    served = origin.request()
    fill(asked, 48 << 20)  # more than the kernel holds at most for all sockets on the way
    asked.cancel()
    expect_told(pair, served)
    expect_the_connection_goes_on(pair, client, origin)


def test_while_the_answer_is_waited_for(pair, client, origin):
    asked = client.ask(target="/cancel")
    served = origin.request()
    asked.cancel()
    if pair.back > 1:
        client.loop.until("the origin is told", lambda: hasattr(served, "reset_code"))
        assert served.reset_code == CANCEL
    else:
        client.loop.until("the origin is told", lambda: served.connection.pipe.is_ended)
    expect_the_connection_goes_on(pair, client, origin)


def test_while_the_response_body_comes(pair, client, origin):
    asked = client.ask(target="/cancel")
    served = origin.request()
    served.respond(200, length=1000, is_open=True).send("some")
    assert asked.receive(4) == b"some"
    asked.cancel()
    if pair.back > 1:
        client.loop.until("the origin is told", lambda: hasattr(served, "reset_code"))
        assert served.reset_code == CANCEL
    else:
        client.loop.until("the origin is told", lambda: served.connection.pipe.is_ended)
    expect_the_connection_goes_on(pair, client, origin)


def test_before_the_head_is_whole(pair, site, client, origin):
    """Nothing of it reaches the origin."""
    connection = client.connection()
    connection.send_half_a_head()
    site.gateway.wait_metric("connections", lambda count: count >= 1)
    connection.pipe.close(reset=True)
    client.connections.clear()
    site.gateway.wait_metric("connections", lambda count: count == 0)
    assert client.loop.is_quiet(origin.arrived)
    client.ask(target="/after")
    assert origin.request().head.target == "/after"


def test_while_the_gateway_connects(pair, site, client, origin):
    """The origin takes no connection, or begins no handshake; then the client gives up."""
    with NeverAccepting(pair) as (port, _):
        config = site.configuration()
        for cluster in config["clusters"]:
            if cluster["name"] == pair.cluster:
                cluster["endpoints"] = [f"127.0.0.1:{port}"]
        site.gateway.serve(config)
        before = site.gateway.metric("origin_connects_total")
        asked = client.ask(target="/cancel")
        site.gateway.wait_metric("exchanges", lambda count: count == 1)
        asked.cancel()
        site.gateway.wait_metric("exchanges", lambda count: count == 0)
        assert site.gateway.metric("origin_connects_total") <= before + 1
    site.gateway.serve(site.configuration())
    expect_the_connection_goes_on(pair, client, origin)


class NeverAccepting:
    """A listener whose queue is full: further connections do not come about. Over TLS a connection may come about, and
    nobody answers the handshake; nor of QUIC."""

    def __init__(self, pair):
        self.sock, self.fill = socket.socket(type=socket.SOCK_DGRAM if pair.back == 3 else socket.SOCK_STREAM), []
        self.sock.bind(("127.0.0.1", 0))
        if pair.back < 3:
            self.sock.listen(0 if not pair.is_secure else 8)
        self.is_secure = pair.is_secure

    def __enter__(self):
        port = self.sock.getsockname()[1]
        for _ in range(0 if self.is_secure else 4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            self.fill.append(filler)
        return port, self

    def __exit__(self, *_error):
        for sock in [*self.fill, self.sock]:
            sock.close()


# ---- by the origin

def test_the_origin_gives_up_before_its_answer(pair, client, origin):
    """A request that may not be repeated is answered 502."""
    for body in (b"", b"some"):
        asked = client.ask("POST", "/broken", body=body)
        served = origin.request()
        assert served.rest() == body
        served.cancel(INTERNAL_ERROR)
        assert asked.answer().status == 502 and asked.rest()
        expect_the_connection_goes_on(pair, client, origin)


def test_the_origin_gives_up_in_a_request_body(pair, client, origin):
    asked = client.ask("POST", "/broken", length=1000, is_open=True).send("some")
    served = origin.request()
    assert served.receive(4) == b"some"
    served.cancel(INTERNAL_ERROR)
    assert asked.answer().status == 502 and asked.rest()
    expect_the_connection_goes_on(pair, client, origin)


@pytest.mark.parametrize("framing", ["known", "unknown"])
def test_the_origin_gives_up_in_its_body(pair, client, origin, framing):
    """The client can see that it is not whole."""
    asked = client.ask(target="/broken")
    served = origin.request()
    served.respond(200, length=1000 if framing == "known" else None, is_open=True).send("some")
    assert asked.answer().status == 200 and asked.receive(4) == b"some"
    served.cancel(INTERNAL_ERROR)
    assert asked.fate() == (INTERNAL_ERROR if pair.front > 1 else CUT)
    expect_the_connection_goes_on(pair, client, origin)


def test_the_origin_closes_in_its_body(pair, client, origin):
    """Without a reset: a length, chunks or END_STREAM are missing all the same."""
    asked = client.ask(target="/broken")
    served = origin.request()
    served.respond(200, is_open=True).send("some").flush()
    assert asked.receive(4) == b"some"
    served.connection.close()
    assert asked.fate() == (INTERNAL_ERROR if pair.front > 1 else CUT)
    expect_the_connection_goes_on(pair, client, origin)


def test_an_answer_that_is_not_http(pair, client, origin):
    asked = client.ask("POST", "/nonsense", body="x")
    served = origin.request()
    served.connection.send_nonsense(served)
    assert asked.answer().status == 502 and asked.rest()
    expect_the_connection_goes_on(pair, client, origin)


# ---- messages that do not keep their word

def test_a_request_that_is_longer_than_it_said(pair, client, origin):
    """Over HTTP/1.1 what is too much is another request, and not one."""
    asked = client.ask("POST", "/long", length=4, is_open=True)
    served = origin.request()
    asked.send("four and more").end()
    if pair.front > 1:
        assert asked.fate() == PROTOCOL_ERROR
        assert served.fate() != END
    else:
        assert served.rest() == b"four"
        served.respond(200)
        assert asked.answer().status == 200
        client.loop.until("an answer to the surplus", lambda: asked.connection.surplus and asked.connection.surplus.is_over)
        assert asked.connection.surplus.head.status == 400


def test_a_request_that_is_shorter_than_it_said(pair, client, origin):
    asked = client.ask("POST", "/short", length=4, is_open=True)
    served = origin.request()
    asked.send("thr")
    assert served.receive(3) == b"thr"
    if pair.front > 1:
        asked.end()
        assert asked.fate() == PROTOCOL_ERROR
    else:
        asked.cancel()
    assert served.fate() != END


def test_a_response_that_is_longer_than_it_said(pair, client, origin):
    asked = client.ask(target="/long")
    served = origin.request()
    served.respond(200, length=4, is_open=True)
    assert asked.answer().status == 200
    served.send("four and more").end()
    if pair.back == 1:
        assert asked.rest() == b"four"
    else:
        assert asked.fate() == (INTERNAL_ERROR if pair.front > 1 else CUT)
    expect_the_connection_goes_on(pair, client, origin)


def test_a_response_that_is_shorter_than_it_said(pair, client, origin):
    asked = client.ask(target="/short")
    served = origin.request()
    served.respond(200, length=4, is_open=True).send("thr")
    assert asked.receive(3) == b"thr"
    if pair.back > 1:
        served.end()
    else:
        served.connection.close()
    assert asked.fate() == (INTERNAL_ERROR if pair.front > 1 else CUT)
    expect_the_connection_goes_on(pair, client, origin)


# ---- faults that come together with the head: of that the client has seen nothing, so it gets another answer

def expect_502(pair, client, origin, method, go_wrong, **response):
    asked = client.ask(method, "/at-once")
    served = origin.request()
    with served.connection.pipe.in_one_piece():
        served.respond(200, "X-Of-Origin: yes", is_open=True, **response)
        go_wrong(served)
    answer = asked.answer()
    assert answer.status == 502 and not answer["X-Of-Origin"]
    assert asked.rest().startswith(b"502 ")
    expect_the_connection_goes_on(pair, client, origin)


FAULTS = {  # of all versions with streams
    "reset": ({}, lambda served: served.cancel(INTERNAL_ERROR)),
    "reset-in-body": ({"length": 9}, lambda served: served.send("some").cancel(INTERNAL_ERROR)),
    "longer": ({"length": 4}, lambda served: served.send("four and more").end()),
    "shorter": ({"length": 4}, lambda served: served.send("thr").end()),
}
FAULTS_OF_HTTP2 = {
    "refused": lambda served: served.cancel(REFUSED_STREAM),  # over QUIC it takes the head with it: nothing was said
    "stream": lambda served: served.connection.pipe.write(frame(PRIORITY, 0, served.number, own_parent(served))),
    "connection": lambda served: served.connection.pipe.write(frame(DATA, 0, 0, b"on no stream")),
    "compression": lambda served: served.connection.pipe.write(frame(HEADERS, 0x5, served.number, b"\x80")),
}
FAULTS_OF_HTTP3 = {
    "connection": lambda served: served.connection.send_raw(served, b"\x04\x00"),  # SETTINGS
    "compression": lambda served: served.connection.send_raw(served, b"\x01\x03\0\0\x80"),  # HEADERS with an unknown entry
    "frame": lambda served: served.connection.send_raw(served, b"\x00\x04x", True),  # DATA that is cut off
}


def own_parent(served):
    return served.number.to_bytes(4, "big") + b"\0"


@pytest.mark.pairs(back=[2, 3])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_together_with_the_head(pair, client, origin, name, method):
    response, go_wrong = FAULTS[name]
    expect_502(pair, client, origin, method, go_wrong, **response)


@pytest.mark.pairs(back=[2])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", FAULTS_OF_HTTP2)
def test_a_fault_of_http2_together_with_the_head(pair, client, origin, name, method):
    expect_502(pair, client, origin, method, FAULTS_OF_HTTP2[name])


@pytest.mark.pairs(back=[3])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", FAULTS_OF_HTTP3)
def test_a_fault_of_http3_together_with_the_head(pair, client, origin, name, method):
    expect_502(pair, client, origin, method, FAULTS_OF_HTTP3[name])


@pytest.mark.pairs(back=[1])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_broken_chunk_together_with_the_head(pair, client, origin, method):
    expect_502(pair, client, origin, method, lambda served: served.connection.pipe.write(b"no number\r\n"))


# ---- attempts

def test_a_kept_connection_that_was_closed(client, origin):
    """Closed by the origin while nobody used it: whoever comes next does not notice."""
    for method in ("GET", "POST"):
        first = client.ask(target="/first")
        served = origin.request()
        served.respond(200)
        assert first.answer().status == 200 and first.rest() == b""
        served.connection.close()
        second = client.ask(method, "/second", body=b"x" if method == "POST" else None)
        origin.request("/second").respond(200, body="again")
        assert second.rest() == b"again"


def test_an_idempotent_request_on_a_kept_connection(client, origin):
    """The origin closes when it has read the request: it goes out again, on another connection."""
    first = client.ask(target="/first")
    origin.request().respond(200)
    assert first.answer().status == 200 and first.rest() == b""
    second = client.ask(target="/second")
    origin.request("/second").connection.close()
    origin.request("/second").respond(200, body="again")
    assert second.rest() == b"again"


def test_other_requests_on_a_kept_connection(client, origin):
    """The origin may have done it: it does not go out again."""
    first = client.ask(target="/first")
    origin.request().respond(200)
    assert first.answer().status == 200 and first.rest() == b""
    second = client.ask("POST", "/second", body="x")
    served = origin.request("/second")
    assert served.rest() == b"x"
    served.connection.close()
    assert second.answer().status == 502
    assert client.loop.is_quiet(origin.arrived)


@pytest.mark.pairs(back=[2, 3])
def test_a_stream_that_the_origin_refuses(client, origin):
    """It says that it has done nothing: any method goes out again."""
    for method in ("GET", "POST"):
        asked = client.ask(method, "/refused", length=0 if method == "POST" else None)
        origin.request().cancel(REFUSED_STREAM)
        origin.request().respond(200, body="taken")
        assert asked.rest() == b"taken"


@pytest.mark.pairs(back=[2, 3])
def test_a_stream_that_the_origin_refuses_with_its_body(client, origin):
    """What was sent of it is kept, and begins anew."""
    asked = client.ask("POST", "/refused", body=b"x")
    served = origin.request()
    assert served.rest() == b"x"
    served.cancel(REFUSED_STREAM)
    again = origin.request()
    assert again.rest() == b"x"
    again.respond(200)
    assert asked.answer().status == 200


@pytest.mark.pairs(back=[2, 3])
def test_a_large_upload_that_the_origin_refuses(client, origin):
    """More than is kept has left the gateway: the client is told that it may ask again."""
    body = b"x" * 30000
    asked = client.ask("POST", "/refused", body=body)
    served = origin.request()
    assert served.rest() == body
    served.cancel(REFUSED_STREAM)
    assert asked.answer().status == 503
    assert client.loop.is_quiet(origin.arrived)


@pytest.mark.pairs(back=[2, 3])
def test_an_origin_that_goes_away(client, origin):
    """GOAWAY: what it has seen is finished there, and new requests take another connection."""
    first = client.ask("GET", "/seen")
    seen = origin.request("/seen")
    seen.connection.go_away(seen.number)
    seen.respond(200, body="finished")
    assert first.rest() == b"finished"
    other = client.ask("POST", "/new", body="x")
    served = origin.request("/new")
    assert served.connection is not seen.connection
    served.respond(200)
    assert other.answer().status == 200
