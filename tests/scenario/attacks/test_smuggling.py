"""Two requests where one was sent: lists for the way from HTTP/2 down to HTTP/1.1, and for HTTP/1.1 over TLS. The origin
reads strictly and remembers every request; the mark of the second one must never be among them."""
import itertools

import pytest

import floods
import frames
import literal_hpack as hpack
from frames import END_HEADERS, END_STREAM, WHOLE, data, headers
from test_h2_floods import GROWTH
from test_malformed import REFUSED, SMUGGLED, post
from watching import Watch
from wire import Connection, request

LISTENERS = ["web", "secure"]
SECOND = SMUGGLED.decode()
AS_LINES = f"x\r\n\r\n{SECOND}"


def pseudo(**instead):
    return [(f":{name}", value) for name, value in {"method": "GET", "scheme": "http", "path": "/one",
                                                    "authority": "www.example", **instead}.items()]


def without(name):
    return [field for field in pseudo() if field[0] != name]


def sent(*more, **instead):
    return [headers(1, hpack.block(pseudo(**instead) + list(more)))]


def uploaded(*more, body=b"abcd", trailers=None, **instead):
    last = [headers(1, hpack.block(trailers))] if trailers is not None else []
    return [headers(1, hpack.block(pseudo(method="POST", **instead) + list(more)), END_HEADERS),
            data(1, body, 0 if last else END_STREAM), *last]


ENDINGS = {"CR LF": "\r\n", "LF": "\n", "CR": "\r", "NUL": "\0"}
BROKEN_FIELDS = {f"{what} in a value": sent(("x", f"a{end}b")) for what, end in ENDINGS.items()} | {
    f"{what} in a name": sent((f"x{end}y", "a")) for what, end in ENDINGS.items()} | {
    f"{what} in {part}": sent(**{part: f"{good}{end}x"}) for what, end in ENDINGS.items()
    for part, good in (("method", "GET"), ("scheme", "http"), ("path", "/one"), ("authority", "www.example"))} | {
    f"a request in {part}": sent(**{part: f"{good} HTTP/1.1\r\nHost: a\r\n\r\n{SECOND}"})
    for part, good in (("method", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"), ("scheme", "http"), ("path", "/one"),
                       ("authority", "www.example"))}
# name: frames of stream 1
MALFORMED = BROKEN_FIELDS | {
    # H2.CL
    "content-length of 0 with content": uploaded(("content-length", "0"), body=SMUGGLED),
    "content-length too small": uploaded(("content-length", "3"), body=b"abc" + SMUGGLED),
    "content-length too large": uploaded(("content-length", "1000"), body=SMUGGLED),
    "content-length too large, by trailers": uploaded(("content-length", "5"), trailers=[("a", "b")]),
    "content-length without content": sent(("content-length", "10"), method="POST"),
    "content-length twice, different": uploaded(("content-length", "4"), ("content-length", "40")),
    "content-length of a list": uploaded(("content-length", "4, 40")),
    "content-length with a sign": uploaded(("content-length", "+4")),
    "content-length hexadecimal": uploaded(("content-length", "0x4")),
    "content-length empty": uploaded(("content-length", "")),
    "content-length with a space": uploaded(("content-length", "4 ")),
    "content-length beyond 64 bits": uploaded(("content-length", "18446744073709551620")),
    "content-length with a request": uploaded(("content-length", f"4\r\n\r\n{SECOND}")),
    # H2.TE
    "transfer-encoding": uploaded(("transfer-encoding", "chunked"), body=b"0\r\n\r\n" + SMUGGLED),
    "transfer-encoding beside content-length": uploaded(("content-length", "4"), ("transfer-encoding", "chunked")),
    "transfer-encoding identity": uploaded(("transfer-encoding", "identity")),
    "transfer-encoding in upper case": uploaded(("Transfer-Encoding", "chunked"), body=b"0\r\n\r\n" + SMUGGLED),
    "transfer-encoding with a space": uploaded(("transfer-encoding ", "chunked"), body=b"0\r\n\r\n" + SMUGGLED),
    "transfer-encoding with a tab": uploaded(("transfer-encoding\t", "chunked"), body=b"0\r\n\r\n" + SMUGGLED),
    "transfer-encoding behind CR LF": uploaded(("x", "y\r\ntransfer-encoding: chunked"), body=b"0\r\n\r\n" + SMUGGLED),
    "transfer-encoding in a name": uploaded(("x: y\r\ntransfer-encoding", "chunked"), body=b"0\r\n\r\n" + SMUGGLED),
    "transfer-encoding in trailers": uploaded(trailers=[("transfer-encoding", "chunked")]),
    "content-length in trailers": uploaded(trailers=[("content-length", "4"), (":path", "/")]),
    # names
    "empty name": sent(("", "x")),
    "empty name with a request": sent(("", AS_LINES)),
    "name of a colon": sent((":", "x")),
    "name with a colon": sent(("x: y\r\nz", "x")),
    "name in upper case": sent(("X-Name", "x")),
    "name with a space": sent(("x y", "z")),
    "name with an octet above 127": sent(("x\xe9", "z")),
    "value with a space before": sent(("x", " y")),
    "value with a request": sent(("x", AS_LINES)),
    "cookie with CR LF": sent(("cookie", "a=b"), ("cookie", f"c=d\r\n\r\n{SECOND}")),
    "trailer with a request": uploaded(trailers=[("x", AS_LINES)]),
    "trailer with an empty name": uploaded(trailers=[("", "x")]),
    # of a connection
    "connection": sent(("connection", "close")), "keep-alive": sent(("keep-alive", "1")),
    "proxy-connection": sent(("proxy-connection", "x")), "upgrade": sent(("upgrade", "websocket")),
    "te": sent(("te", "chunked")), "http2-settings with upgrade": sent(("upgrade", "h2c"), ("http2-settings", "AA")),
    # pseudo-fields
    **{f"{name} twice": sent((name, value)) for name, value in pseudo()},
    **{f"{name} behind a field": [headers(1, hpack.block(without(name) + [("a", "b"), (name, value)]))]
       for name, value in pseudo()},
    **{f"no {name}": [headers(1, hpack.block(without(name)))] for name in (":method", ":path", ":scheme")},
    **{f"empty {name}": sent(**{name: ""}) for name in ("method", "path", "scheme")},
    "unknown pseudo-field": sent((":x", "y")), ":status": sent((":status", "200")),
    "pseudo-field in trailers": uploaded(trailers=[(":path", "/smuggled")]),
    "method with a space": sent(method="GET /smuggled HTTP/1.1"), "method of no token": sent(method="G(T"),
    "path without a slash": sent(path="smuggled"), "path of another host": sent(path="http://b/smuggled"),
    "path with a space": sent(path="/one HTTP/1.1 /smuggled"), "path with a fragment": sent(path="/one#smuggled"),
    "path with an octet above 127": sent(path="/\xff"), "path of a star": sent(path="*"),
    "scheme with a path": sent(scheme="http://b/smuggled?"), "scheme with a space": sent(scheme="http b"),
    "authority with a path": sent(authority="a/smuggled"), "authority with user information": sent(authority="u@a"),
    "authority with a space": sent(authority="a b"), "authority of a list": sent(authority="a, b"),
    "authority with a bad port": sent(authority="a:b"), "authority beside another host": sent(("host", "other.example")),
    "host twice": sent(("host", "www.example"), ("host", "www.example")),
    "CONNECT with a path": sent(method="CONNECT"), ":protocol of GET": sent((":protocol", "websocket")),
}


def expect_refusal(attacker):
    attacker.wait(lambda: attacker.statuses.get(1) or 1 in attacker.resets or attacker.is_over)
    assert attacker.statuses.get(1, 400) >= 400, attacker


def expect_clean(origin, most):
    """What came is at most the first request, as it was sent, and nothing of a second one."""
    assert len(origin.requests) <= most, [asked.raw_head for asked in origin.requests]
    for asked in origin.requests:
        assert "smuggled" not in asked.target and b"smuggled" not in asked.raw_head, asked.raw_head


@pytest.mark.parametrize("listener", LISTENERS)
def test_what_is_malformed_does_not_cross(site, listener):
    """One connection for each: refused, and the next request on a stream beside it is served where the connection lives."""
    wrong = {}
    with Watch(site, GROWTH):
        for name, octets in MALFORMED.items():
            site.origin.forget()
            with site.attack(listener) as attacker:
                attacker.send(b"".join(octets))
                try:
                    expect_refusal(attacker)
                    attacker.send(floods.get(3, path="/beside"))
                    attacker.wait(lambda at=attacker: 3 in at.ended or at.is_over)
                    assert attacker.is_over or attacker.statuses[3] == 200, attacker
                    expect_clean(site.origin, 1)
                    assert all(asked.target == "/beside" for asked in site.origin.requests), site.origin.requests[0].raw_head
                except AssertionError as error:
                    wrong[name] = str(error)
    assert not wrong, wrong


# Well-formed, and dangerous where one is careless: exactly one request comes, with the body that was sent.
HARMLESS = {
    "a request as the body": (uploaded(body=SMUGGLED), SMUGGLED),
    "a request as the body of GET": ([headers(1, hpack.block(pseudo()), END_HEADERS), data(1, SMUGGLED, END_STREAM)],
                                     SMUGGLED),
    "the end of chunks in the body": (uploaded(body=b"0\r\n\r\n" + SMUGGLED), b"0\r\n\r\n" + SMUGGLED),
    "a length that is right": (uploaded(("content-length", str(len(SMUGGLED))), body=SMUGGLED), SMUGGLED),
    "a body in octets": ([headers(1, hpack.block(pseudo(method="POST")), END_HEADERS),
                          *[data(1, bytes([octet])) for octet in SMUGGLED], data(1, b"", END_STREAM)], SMUGGLED),
    "te: trailers": (sent(("te", "trailers")), b""),
    "an unknown method": (sent(method="SMUGGLE"), b""),
    "x-transfer-encoding": (uploaded(("x-transfer-encoding", "chunked")), b"abcd"),
    "transfer_encoding": (uploaded(("transfer_encoding", "chunked")), b"abcd"),
    "host beside an equal authority": (sent(("host", "www.example")), b""),
    "a space in the path, escaped": (sent(path="/one%20HTTP/1.1%0d%0aHost:%20b"), b""),
    "expect": (uploaded(("expect", "100-continue")), b"abcd"),
}


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("name", HARMLESS)
def test_one_request_stays_one(site, listener, name):
    octets, body = HARMLESS[name]
    with Watch(site, GROWTH), site.attack(listener) as attacker:
        attacker.send(b"".join(octets)).wait_streams([1])
        assert attacker.statuses[1] == 200, attacker
    assert len(site.origin.requests) == 1 and site.origin.requests[0].body == body
    assert b"smuggled" not in site.origin.requests[0].raw_head


def test_names_with_underscores_are_not_names_with_hyphens(site):
    """What CGI would read as Transfer-Encoding or Content-Length is passed on under its own name only."""
    fields = [("transfer_encoding", "chunked"), ("content_length", "0")]
    with site.attack() as attacker:
        attacker.send(b"".join(uploaded(*fields))).wait_streams([1])
    asked = site.origin.requests[-1]
    assert asked.body == b"abcd" and (asked["Transfer-Encoding"] == "chunked") != (asked["Content-Length"] == "4")


# ---- HTTP/1.1 over TLS; without it: tests/scenario/http/test_malformed.py

def expect_answer(client, status, is_http):
    """Refused and closed. What begins like no HTTP may get no answer where HTTP/2 is spoken too (RFC 9113 section 3.4)."""
    if is_http or client.more_or_reset():
        answer = client.receive_response()
        assert (answer.status, answer.closes) == (status, True), answer.line
    client.expect_closed()


@pytest.mark.parametrize("behind", [False, True], ids=["first", "behind a good one"])
def test_requests_of_two_readings_over_tls(site, behind):
    """Every payload of the list without TLS, each on its own connection."""
    wrong = {}
    with Watch(site, GROWTH):
        for name, (octets, status) in REFUSED.items():
            site.origin.forget()
            with Connection(site.connect("secure", protocol="http/1.1")) as client:
                try:
                    client.send(request("GET", "/good") if behind else b"", octets, SMUGGLED)
                    if behind:
                        assert client.receive_response().body == b"ok"
                    expect_answer(client, status, behind or b" HTTP/" in octets.splitlines()[0])
                    expect_clean(site.origin, int(behind))
                except AssertionError as error:
                    wrong[name] = str(error)
    assert not wrong, wrong


def test_a_body_over_tls_is_not_a_request(site):
    with Watch(site, GROWTH), Connection(site.connect("secure", protocol="http/1.1")) as client:
        client.send(post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED), request("GET", "/next"))
        assert [client.receive_response().status for _ in range(2)] == [200, 200]
    assert [(asked.method, asked.body) for asked in site.origin.requests] == [("POST", SMUGGLED), ("GET", b"")]


# ---- the same limits for both versions

PATH, HEAD, COUNT = 16 << 10, 64 << 10, 100   # `uri-bytes`, `header-bytes`, `headers`
SIZES = {"the longest path": (("/" + "a" * (PATH - 1)), [], 200), "a path too long": ("/" + "a" * PATH, [], 414),
         "fields up to the limit": ("/", [(f"x-{n}", "y") for n in range(COUNT - 1)], 200),
         "a field too many": ("/", [(f"x-{n}", "y") for n in range(COUNT + 1)], 431),
         "many octets": ("/", [(f"x-{n}", "y" * 8000) for n in range(7)], 200),
         "too many octets": ("/", [(f"x-{n}", "y" * 8000) for n in range(9)], 431),
         "one field too long": ("/", [("x", "y" * (HEAD - 100)), ("y", "z" * 200)], 431),
         "cookies in crumbs": ("/", [("cookie", f"a{n}=b") for n in range(COUNT + 1)], 431)}


def blocks(stream, block):
    """HEADERS, and as many CONTINUATION frames as it needs."""
    pieces = [block[at:at + frames.FRAME_MAX] for at in range(0, len(block), frames.FRAME_MAX)]
    last = len(pieces) - 1
    return b"".join(frames.continuation(stream, piece, END_HEADERS if i == last else 0) if i else
                    headers(stream, piece, WHOLE if i == last else END_STREAM) for i, piece in enumerate(pieces))


@pytest.mark.parametrize("version, listener", itertools.product((1, 2), LISTENERS))
@pytest.mark.parametrize("name", SIZES)
def test_limits_are_those_of_the_other_version(site, version, listener, name):
    path, more, status = SIZES[name]
    with Watch(site, GROWTH):
        if version == 1:
            with Connection(site.connect(listener, protocol="http/1.1")) as client:
                client.send(request("GET", path, *[f"{key}: {value}" for key, value in more], host="www.example"))
                assert client.receive_response().status == status
        else:
            with site.attack(listener) as attacker:
                attacker.send(blocks(1, hpack.block(pseudo(path=path) + more))).wait_streams([1])
                assert attacker.statuses[1] == status, attacker
    assert len(site.origin.requests) == (status == 200)


@pytest.mark.parametrize("length, statuses", [(200, {200}), (HEAD, {400, 431})], ids=["usual", "too long"])
def test_names_of_hosts_have_the_limits_of_fields(site, length, statuses):
    """CVE-2026-73550: the authority of HTTP/2 is no way around the limit of Host."""
    host = ".".join(["a" * 49] * (length // 50))
    seen = set()
    with Connection(site.connect()) as client:
        client.send(request("GET", "/one", host=host))
        seen.add(client.receive_response().status)
    for field in ([(":authority", host)], [("host", host)]):
        with site.attack() as attacker:
            attacker.send(blocks(1, hpack.block(pseudo()[:3] + field))).wait_streams([1])
            seen.add(attacker.statuses.get(1, 400))
    assert seen <= statuses, seen
