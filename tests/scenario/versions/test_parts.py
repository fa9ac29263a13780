"""What is more than one head and one body: trailers, interim responses, expectations, messages without a body."""
import pytest

from talk import END, NO_ERROR


# ---- trailers

@pytest.mark.parametrize("body", [b"", b"some bytes"], ids=["empty", "with a body"])
def test_trailers_go_both_ways(client, origin, body):
    asked = client.ask("POST", "/trailers", "Trailer: x-sum", "TE: trailers", is_open=True).send(body)
    asked.end("X-Sum: 1", "X-Other: two words")
    served = origin.request()
    assert served.rest() == body
    assert (served.trailers.get("x-sum"), served.trailers.get("x-other")) == ("1", "two words")
    served.respond(200, "Trailer: x-end", is_open=True).send(body).end("X-End: done", "X-End: twice")
    assert asked.answer().status == 200 and asked.rest() == body
    assert asked.trailers.all("x-end") == ["done", "twice"]


def test_trailers_of_a_response_alone(client, origin):
    asked = client.ask(target="/trailers")
    origin.request().respond(200, is_open=True).send("x").end("grpc-status: 0")
    assert asked.rest() == b"x" and asked.trailers.get("grpc-status") == "0"


# ---- interim responses

def test_interim_responses_come_one_by_one(client, origin):
    asked = client.ask(target="/hints")
    served = origin.request()
    for number in range(3):
        served.interim(103, f"Link: </{number}.css>; rel=preload")
        interim = asked.next_interim()
        assert interim.status == 103 and interim["link"] == f"</{number}.css>; rel=preload"
    served.respond(200, body="x")
    assert asked.rest() == b"x" and not asked.interims


def test_interim_responses_while_a_body_comes(client, origin):
    asked = client.ask("POST", "/processing", length=10, is_open=True).send("first")
    served = origin.request()
    assert served.receive(5) == b"first"
    served.interim(102)
    assert asked.next_interim().status == 102
    asked.send("other").end()
    assert served.rest() == b"other"
    served.respond(200, body="both")
    assert asked.rest() == b"both"


# ---- Expect: 100-continue

def test_an_expectation_that_the_origin_meets(client, origin):
    asked = client.ask("POST", "/expect", "Expect: 100-continue", length=5, is_open=True)
    served = origin.request()
    assert served.head["expect"] == "100-continue"
    served.interim(100)
    assert asked.next_interim().status == 100
    asked.send("bytes").end()
    assert served.rest() == b"bytes"
    served.respond(200, body="thanks")
    assert asked.rest() == b"thanks" and not asked.interims


def test_an_expectation_that_the_origin_refuses(client, origin):
    asked = client.ask("POST", "/expect", "Expect: 100-continue", length=5, is_open=True)
    origin.request().respond(417, body="no")
    assert asked.answer().status == 417 and asked.rest() == b"no" and not asked.interims


def test_an_expectation_that_the_origin_ignores(client, origin):
    """The gateway says 100 by itself after a second."""
    asked = client.ask("POST", "/expect", "Expect: 100-continue", length=5, is_open=True)
    served = origin.request()
    assert asked.next_interim().status == 100
    asked.send("bytes").end()
    assert served.rest() == b"bytes"
    served.respond(200)
    assert asked.answer().status == 200


# ---- without a body

@pytest.mark.parametrize("status", [200, 404])
def test_head(client, origin, status):
    for length in (None, 0, 12345):
        asked = client.ask("HEAD", "/head")
        served = origin.request()
        assert served.head.method == "HEAD" and served.rest() == b""
        served.respond(status, length=length)
        head = asked.answer()
        assert head.status == status and head["content-length"] == (None if length is None else str(length))
        assert asked.rest() == b""


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(client, origin, status):
    for _ in range(2):
        asked = client.ask(target="/empty")
        origin.request().respond(status, "ETag: \"x\"")
        assert asked.answer().status == status and asked.answer()["etag"] == '"x"' and asked.rest() == b""
        assert asked.answer()["transfer-encoding"] is None
    assert len(origin.open_connections) == 1, "the connection was kept"


# ---- answers that do not wait for the whole request

def test_an_early_answer(pair, client, origin):
    """The response is whole; of the request nobody wants the rest."""
    asked = client.ask("POST", "/early", length=1 << 30, is_open=True).send(b"x" * 1000)
    served = origin.request()
    served.receive(1000)
    served.respond(413, body="too much")
    assert asked.answer().status == 413 and asked.rest() == b"too much"
    if pair.front > 1:
        client.loop.until("the request is stopped", lambda: hasattr(asked, "reset_code"))
        assert asked.reset_code == NO_ERROR
        again = client.ask(target="/again")
        origin.request("/again").respond(200, body="here")
        assert again.rest() == b"here" and len(client.connections) == 1, "the connection goes on"
    else:
        client.loop.until("the connection ends", lambda: asked.connection.pipe.is_ended)
    assert served.fate() != END, "the origin is not left waiting for a body"


def test_an_early_answer_whose_body_goes_on(client, origin):
    """A head and a part of the body pass before the request has ended; then both end."""
    asked = client.ask("POST", "/early", is_open=True).send("part")
    served = origin.request()
    assert served.receive(4) == b"part"
    served.respond(200, is_open=True).send("begun")
    assert asked.answer().status == 200 and asked.receive(5) == b"begun"
    asked.send("rest").end()
    assert served.rest() == b"rest"
    served.send("ended").end()
    assert asked.rest() == b"ended"


def test_a_request_that_has_ended_while_its_response_streams(client, origin):
    asked = client.ask("POST", "/stream", body="all")
    served = origin.request()
    assert served.rest() == b"all"
    served.respond(200, is_open=True)
    for number in range(20):
        served.send(f"event {number:2}")
        assert asked.receive(8) == f"event {number:2}".encode(), "no part waits for the next"
    served.end()
    assert asked.rest() == b""
