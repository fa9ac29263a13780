"""Heads, as each version puts them."""
import pytest

from talk import CUT, INTERNAL_ERROR, PROTOCOL_ERROR


def passed(client, origin, *fields, method="GET", target="/", **how):
    """What the origin gets of a request; answered 200 with a field for each way."""
    asked = client.ask(method, target, *fields, **how)
    served = origin.request()
    served.respond(200, body="x")
    assert asked.rest() == b"x"
    return served.head


def test_the_target_and_the_host(pair, client, origin):
    head = passed(client, origin, target="/a/b?c=d&e=%20", authority=f"{pair.authority}:1234")
    assert (head.method, head.target, head.authority) == ("GET", "/a/b?c=d&e=%20", f"{pair.authority}:1234")
    assert head.fields.all("x-forwarded-proto") == ["https" if pair.is_secure else "http"]
    assert head["via"].split()[0] == {1: "1.1", 2: "2", 3: "3"}[pair.front]
    if pair.back > 1:
        assert head["host"] is None and head.pseudo[":scheme"] in ("http", "https")


@pytest.mark.pairs(front=[2, 3])
def test_a_host_beside_the_authority(pair, client, origin):
    assert passed(client, origin, f"host: {pair.authority}").fields.all("host") in ([], [pair.authority])
    asked = client.ask("GET", "/", "host: other.example")
    assert asked.fate() == PROTOCOL_ERROR


def test_cookies(pair, client, origin):
    """One field for HTTP/1.1; HTTP/2 may have crumbs."""
    crumbs = ["Cookie: a=1", "Cookie: b=2", "Cookie: c=3; d=4"] if pair.front > 1 else ["Cookie: a=1; b=2; c=3; d=4"]
    cookies = passed(client, origin, *crumbs).fields.all("cookie")
    assert "; ".join(cookies) == "a=1; b=2; c=3; d=4"
    assert pair.back > 1 or len(cookies) == 1


def test_te(pair, client, origin):
    assert passed(client, origin, "TE: trailers")["te"] == ("trailers" if pair.back > 1 else None) or pair.back == 1


def test_fields_of_a_connection(pair, client, origin):
    """They end at the gateway: HTTP/2 does not know them, and a request of HTTP/2 with them is malformed."""
    own = ["Connection: close, X-Mine", "X-Mine: 1", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive"]
    if pair.front > 1:
        for line in ("connection: close", "keep-alive: 1", "proxy-connection: x", "transfer-encoding: chunked", "upgrade: x",
                     "te: gzip"):
            assert client.ask("GET", "/", line).fate() == PROTOCOL_ERROR, line
        return
    head = passed(client, origin, *own)
    for name in ("x-mine", "keep-alive", "proxy-connection"):
        assert head[name] is None, name


def test_fields_of_a_response(pair, client, origin):
    own = [] if pair.back > 1 else ["Connection: X-Mine", "X-Mine: 1", "Keep-Alive: timeout=5"]
    asked = client.ask()
    origin.request().respond(200, *own, "Set-Cookie: a=1", "Set-Cookie: b=2", "X-UPPER: Kept As Is", "X-Empty: ", body="x")
    head = asked.answer()
    assert head.fields.all("set-cookie") == ["a=1", "b=2"] and head["x-upper"] == "Kept As Is"
    assert head["x-empty"] == "" and asked.rest() == b"x"
    for name in ("x-mine", "keep-alive", "connection", "transfer-encoding"):
        assert head[name] is None, name


@pytest.mark.parametrize("line", ["connection: close", "transfer-encoding: chunked", "keep-alive: 1", "Upper: case"])
@pytest.mark.pairs(back=[2, 3])
def test_responses_that_http2_does_not_know(client, origin, line):
    asked = client.ask("POST", "/", body="x")
    served = origin.request()
    name, value = line.split(": ")
    served.connection.write_fields(served.number, [(":status", "200"), (name, value)], True)
    assert asked.answer().status == 502


def test_upper_case(pair, client, origin):
    """Names have no case; HTTP/2 has them in lower case, and a name in upper case is malformed there."""
    assert passed(client, origin, "X-MiXeD: Value")["x-mixed"] == "Value"
    if pair.front > 1:
        connection = client.connection()
        talk = client.ask("GET", "/", "x: 1", is_open=True)
        connection.write_fields(talk.number, [("X-Trailer", "1")], True)
        assert talk.fate() == PROTOCOL_ERROR


BAD_VALUES = pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "a\x7fb", " a"], ids=repr)


@BAD_VALUES
@pytest.mark.pairs(front=[2, 3])
def test_bytes_that_no_request_may_have(client, origin, value):
    """HTTP/2 can carry them; they go no further."""
    assert client.ask("GET", "/", f"x: {value}").fate() == PROTOCOL_ERROR
    assert not origin.arrived()


@BAD_VALUES
@pytest.mark.pairs(back=[2, 3])
def test_bytes_that_no_response_may_have(client, origin, value):
    asked = client.ask("POST", "/", body="x")
    origin.request().respond(200, f"x: {value}")
    assert asked.answer().status == 502 and asked.answer()["x"] is None


def test_heads_just_below_the_limits(client, origin):
    big = "y" * 15000
    assert passed(client, origin, f"X-Big: {big}")["x-big"] == big
    many = [f"x-{number}: {number}" for number in range(97)]
    assert len([name for name, _ in passed(client, origin, *many).fields if name[2:].isdigit()]) == 97
    asked = client.ask()
    origin.request().respond(200, f"X-Big: {big}")
    assert asked.answer()["x-big"] == big


@pytest.mark.parametrize("fields", [["X-Big: " + "y" * 17000], [f"x-{number}: {number}" for number in range(101)]],
                         ids=["bytes", "101 fields"])
def test_heads_beyond_the_limits(client, origin, fields):
    asked = client.ask("GET", "/", *fields)
    assert asked.answer().status == 431
    assert not origin.arrived()
    asked = client.ask("POST", "/", body="x")
    origin.request().respond(200, *fields)
    assert asked.answer().status == 502


def test_trailers_beyond_the_limits(pair, client, origin):
    asked = client.ask()
    served = origin.request()
    served.respond(200, is_open=True).send("x")
    assert asked.answer().status == 200 and asked.receive(1) == b"x"
    served.end("X-Big: " + "y" * 5000)
    assert asked.fate() == (INTERNAL_ERROR if pair.front > 1 else CUT)


def test_a_method_and_an_options_for_the_server(client, origin):
    assert passed(client, origin, method="PURGE", target="/x").method == "PURGE"
    head = passed(client, origin, method="OPTIONS", target="*")
    assert (head.method, head.target) == ("OPTIONS", "*")
