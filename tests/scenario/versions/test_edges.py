"""What each version can do and the other cannot: the gateway has to make something of it."""
import struct

import pytest

from bodies import Flow, bytes_at, carry
from http2 import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, PADDED, SETTINGS, Stream, frame
from talk import CUT, END, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM


def broken(pair):
    """The fate of a response that is cut off."""
    return INTERNAL_ERROR if pair.front > 1 else CUT


# ---- HTTP/1.1: the end of the connection as the end of a body

@pytest.mark.pairs(back=[1])
@pytest.mark.parametrize("is_clean", [True, False], ids=["clean", "cut"])
def test_a_body_until_the_connection_ends(pair, client, origin, is_clean):
    """Over TLS the end has to be said; without, nobody can tell."""
    asked = client.ask(target="/until")
    served = origin.request()
    pipe = served.connection.pipe
    pipe.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    assert asked.answer().status == 200 and asked.receive(9) == b"all of it"
    if is_clean and pair.is_secure:
        pipe.say_goodbye()
    pipe.close(reset=not is_clean and not pair.is_secure)
    assert asked.fate() == (END if is_clean else broken(pair))


@pytest.mark.pairs(front=[1])
def test_pipelined_requests(pair, client, origin):
    """The answers come in order, whatever the order in which an origin would give them."""
    pipe = client.connection().pipe
    first = client.ask(target="/0")
    pipe.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (n, pair.authority.encode()) for n in range(1, 5)))
    for number in range(5):
        served = origin.request()
        assert served.head.target == f"/{number}"
        served.respond(200, body=f"{number}")
        client.loop.until("an answer", lambda: first.is_complete)
    assert first.rest() == b"0"


@pytest.mark.pairs(front=[1])
def test_the_absolute_form(pair, client, origin):
    """Its authority counts, not that of Host (RFC 9112 section 3.2.2)."""
    client.ask(target=f"http{'s' if pair.is_secure else ''}://{pair.authority}/a?b", authority=pair.authority)
    head = origin.request().head
    assert (head.target, head.authority) == ("/a?b", pair.authority)


# ---- HTTP/2: frames

@pytest.mark.pairs(front=[2])
def test_padding_of_requests(client, origin):
    """It uses up windows, too, and is given back with them."""
    asked = client.ask("POST", "/padded", is_open=True)
    served = origin.request()
    for at in range(0, 400000, 1000):
        client.loop.until("a window", lambda: asked.window > 1300)
        asked.connection.pipe.write(frame(DATA, PADDED, asked.number, b"\xff" + bytes_at(at, 1000) + bytes(255)))
        asked.window -= 1256
        assert served.receive(1000) == bytes_at(at, 1000)
    asked.end()
    assert served.rest() == b""


@pytest.mark.pairs(back=[2])
def test_padding_of_responses(client, origin):
    asked = client.ask(target="/padded")
    served = origin.request()
    served.respond(200, is_open=True)
    for at in range(0, 400000, 1000):
        client.loop.until("a window", lambda: served.window > 1300)
        served.connection.pipe.write(frame(DATA, PADDED, served.number, b"\xff" + bytes_at(at, 1000) + bytes(255)))
        served.window -= 1256
        assert asked.receive(1000) == bytes_at(at, 1000)
    served.end()
    assert asked.rest() == b""


@pytest.mark.pairs(front=[2])
def test_heads_in_pieces(pair, client, origin):
    connection = client.connection()
    asked = client.ask("POST", "/first", length=0)
    origin.request().respond(200)
    assert asked.answer().status == 200
    pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/pieces"), (":authority", pair.authority)]
    fields = [*pseudo, ("x-y", "z" * 30)]
    block = connection.encoder.encode(fields)
    number = connection.next_number
    pieces = [block[at:at + 10] for at in range(0, len(block), 10)][:7]
    pieces.append(block[70:])
    connection.pipe.write(frame(HEADERS, END_STREAM, number, pieces[0]))
    for piece in pieces[1:-1]:
        connection.pipe.write(frame(CONTINUATION, 0, number, piece))
    connection.pipe.write(frame(CONTINUATION, END_HEADERS, number, pieces[-1]))
    served = origin.request("/pieces")
    assert served.head["x-y"] == "z" * 30
    connection.close()


def settings(connection, name, value):
    connection.pipe.write(frame(SETTINGS, 0, 0, struct.pack(">HI", name, value)))


@pytest.mark.pairs(front=[2])
def test_a_client_that_shuts_its_windows(client, origin):
    """To zero in the middle of a response, and open again."""
    asked = client.ask(target="/windows")
    served = origin.request()
    settings(asked.connection, INITIAL_WINDOW_SIZE, 0)
    served.respond(200, is_open=True)
    flow = Flow(served, asked, 1 << 20)
    flow.step()
    assert asked.answer().status == 200
    settings(asked.connection, INITIAL_WINDOW_SIZE, 65535)
    carry(flow)


@pytest.mark.pairs(back=[2])
def test_an_origin_that_shuts_its_windows(client, origin):
    asked = client.ask("POST", "/windows", is_open=True)
    served = origin.request()
    settings(served.connection, INITIAL_WINDOW_SIZE, 0)
    flow = Flow(asked, served, 1 << 20)
    flow.step()
    settings(served.connection, INITIAL_WINDOW_SIZE, 65535)
    carry(flow)
    served.respond(200)
    assert asked.answer().status == 200


# ---- HTTP/2: messages

@pytest.mark.pairs(back=[2])
def test_an_early_answer_with_a_polite_reset(client, origin):
    """RFC 9113 section 8.1: the answer is whole, and the origin does not want the rest."""
    asked = client.ask("POST", "/early", length=1 << 30, is_open=True).send(b"x" * 1000)
    served = origin.request()
    served.receive(1000)
    served.respond(413, body="too much")
    served.connection.reset(served, NO_ERROR)
    assert asked.answer().status == 413 and asked.rest() == b"too much"


@pytest.mark.pairs(back=[2])
@pytest.mark.parametrize("sent", [b"", b"some"], ids=["before the answer", "in the answer"])
def test_a_polite_reset_that_comes_too_early(pair, client, origin, sent):
    asked = client.ask("POST", "/early", body="x")
    served = origin.request()
    assert served.rest() == b"x"
    if sent:
        served.respond(200, length=100, is_open=True).send(sent)
        assert asked.receive(4) == sent
    served.connection.reset(served, NO_ERROR)
    if sent:
        assert asked.fate() == broken(pair)
    else:
        assert asked.answer().status == 502


@pytest.mark.pairs(back=[2, 3])
@pytest.mark.parametrize("fields", [[(":status", "101")], [(":status", "99")], [(":status", "2000")], [("x", "y")], [],
                                    [(":status", "200"), (":status", "200")], [(":status", "200"), (":path", "/")],
                                    [("x", "y"), (":status", "200")], [(":status", "200"), ("content-length", "1,2")]],
                         ids=str)
def test_heads_that_are_not_responses(client, origin, fields):
    asked = client.ask("POST", "/", body="x")
    served = origin.request()
    served.connection.write_fields(served.number, fields, True)
    assert asked.answer().status == 502


@pytest.mark.pairs(front=[2])
@pytest.mark.parametrize("change", [{":method": None}, {":scheme": None}, {":path": None}, {":path": ""},
                                    {":path": "no-slash"}, {":status": "200"}, {":unknown": "x"}, {":path": "/ "},
                                    {":protocol": "websocket"},
                                    {":method": "GE T"}], ids=str)
def test_heads_that_are_not_requests(pair, client, origin, change):
    fields = {":method": "GET", ":scheme": "http", ":path": "/", ":authority": pair.authority, **change}
    connection = client.connection()
    asked = Stream(connection, connection.next_number)
    connection.next_number += 2
    connection.write_fields(asked.number, [field for field in fields.items() if field[1] is not None], True)
    assert asked.fate() in (PROTOCOL_ERROR, END)
    assert not asked.head or asked.head.status == 400
    expect_only(client, origin, "/after")


def expect_only(client, origin, target):
    """The connection goes on, and nothing else has reached the origin."""
    asked = client.ask(target=target)
    served = origin.request()
    assert served.head.target == target
    served.respond(200, body="here")
    assert asked.rest() == b"here"


@pytest.mark.pairs(front=[2, 3])
@pytest.mark.parametrize("trailer", [(":path", "/"), ("connection", "close"), ("transfer-encoding", "chunked"),
                                     ("X-Upper", "1")], ids=str)
def test_trailers_that_are_malformed(client, origin, trailer):
    asked = client.ask("POST", "/", is_open=True).send("x")
    served = origin.request()
    assert served.receive(1) == b"x"
    asked.connection.write_fields(asked.number, [trailer], True)
    assert asked.fate() == PROTOCOL_ERROR and served.fate() != END


@pytest.mark.parametrize("name", ["content-length", "host", "authorization", "set-cookie", "te", "content-encoding"])
def test_trailers_that_would_be_dangerous(client, origin, name):
    """They are dropped, or end the message; they never become trailers of the other side."""
    asked = client.ask("POST", "/", is_open=True).send("x")
    served = origin.request()
    assert served.receive(1) == b"x"
    asked.end(f"{name}: 1", "X-Good: 1")
    assert served.fate() != END or served.trailers.get(name) is None


@pytest.mark.pairs(back=[2])
def test_a_body_for_head(pair, client, origin):
    """DATA of a response that must have none."""
    asked = client.ask("HEAD", "/")
    served = origin.request()
    served.connection.write_fields(served.number, [(":status", "200")], False)
    assert asked.answer().status == 200
    served.connection.pipe.write(frame(DATA, END_STREAM, served.number, b"surplus"))
    over = (lambda: asked.connection.pipe.is_ended) if pair.front == 1 else (lambda: asked.is_over)
    client.loop.until("the end of the exchange", over)
    assert not asked.received
    expect_only(client, origin, "/after")


# ---- HTTP/2: connections

@pytest.mark.pairs(back=[2, 3])
def test_streams_above_the_last_one_move(client, origin):
    """GOAWAY names the last request that the origin looks at."""
    asked = [client.ask(target=f"/{number}") for number in range(5)]
    served = [origin.request(f"/{number}") for number in range(5)]
    first = min((s for s in served if s.connection is served[0].connection), key=lambda s: s.number)
    above = [s for s in served if s.connection is first.connection and s is not first]
    assert above
    first.connection.go_away(first.number)
    for stream in above:
        moved = origin.request(stream.head.target)
        assert moved.connection is not first.connection
        moved.respond(200, body=stream.head.target)
    for stream in served:
        if stream not in above:
            stream.respond(200, body=stream.head.target)
    for number in range(5):
        assert asked[number].rest() == f"/{number}".encode()


@pytest.mark.pairs(back=[2])
def test_an_origin_that_allows_few_streams(client, origin):
    """The others wait, or go to other connections; all are answered."""
    first = client.ask(target="/first")
    served = origin.request()
    settings(served.connection, 3, 2)
    served.respond(200, body="x")
    assert first.rest() == b"x"
    asked = [client.ask(target=f"/{number}") for number in range(20)]
    for _ in range(20):
        stream = origin.request()
        here = [s for s in stream.connection.streams.values() if not s.is_sent]
        assert stream.connection is not served.connection or len(here) <= 2
        stream.respond(200, body=stream.head.target)
    for number in range(20):
        assert asked[number].rest() == f"/{number}".encode()


@pytest.mark.pairs(back=[2, 3])
def test_an_origin_that_refuses_every_time(client, origin):
    """Attempts end."""
    asked = client.ask(target="/refused")
    attempts = 0
    while stream := client.loop.until("another attempt or an answer", lambda: asked.head or origin.arrived()):
        if stream is asked.head:
            break
        stream.cancel(REFUSED_STREAM)
        attempts += 1
    assert asked.answer().status == 503 and 1 < attempts <= 10
