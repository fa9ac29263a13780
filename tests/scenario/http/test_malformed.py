"""Requests that two parsers could read differently, and others that are no HTTP: one answer with the right
status, the connection closed, and not a byte of it at the origin. Then responses of that kind: 502, and
nothing of them at the client."""
import pytest

from wire import chunked, head_of, request, response

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def post(*fields, body=b"", line="POST / HTTP/1.1"):
    return head_of(line, "Host: a", *fields) + body


def coded(body):
    """A chunked request with this body as it is."""
    return post("Transfer-Encoding: chunked", body=body)


# name: (bytes, status)
REFUSED = {
    # Content-Length beside Transfer-Encoding
    "CL.TE": (post("Content-Length: 6", "Transfer-Encoding: chunked", body=b"0\r\n\r\nG"), 400),
    "TE.CL": (post("Transfer-Encoding: chunked", "Content-Length: 4",
                   body=b"1c\r\n" + b"x" * 28 + b"\r\n0\r\n\r\n"), 400),
    "CL.TE same length": (post("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "CL.TE length 0": (post("Content-Length: 0", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "CL.TE in HTTP/1.0": (post("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n",
                               line="POST / HTTP/1.0"), 400),
    # Transfer-Encoding in disguise
    "TE in HTTP/1.0": (post("Transfer-Encoding: chunked", body=b"0\r\n\r\n", line="POST / HTTP/1.0"), 400),
    "TE twice": (post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "TE twice in a list": (post("Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 400),
    "TE identity then chunked": (post("Transfer-Encoding: identity", "Transfer-Encoding: chunked",
                                      body=b"0\r\n\r\n"), 400),
    "TE chunked then identity": (post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"), 400),
    "TE identity": (post("Transfer-Encoding: identity", "Content-Length: 3", body=b"abc"), 400),
    "TE gzip, chunked": (post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    "TE unknown": (post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 400),
    "TE chunked with a parameter": (post("Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), 400),
    "TE in quotes": (post('Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), 400),
    "TE with a vertical tab": (post("Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), 400),
    "TE with a NUL": (post("Transfer-Encoding: chunked\x00", body=b"0\r\n\r\n"), 400),
    "TE empty": (post("Transfer-Encoding:", "Content-Length: 3", body=b"abc"), 400),
    "TE with a comma": (post("Transfer-Encoding: ,chunked,", "Content-Length: 5", body=b"0\r\n\r\n"), 400),
    "TE with a space before the colon": (post("Transfer-Encoding : chunked", "Content-Length: 3",
                                              body=b"abc"), 400),
    "TE after a space": (post(" Transfer-Encoding: chunked", "Content-Length: 3", body=b"abc"), 400),
    "TE after a fold": (post("X: y", " Transfer-Encoding: chunked", "Content-Length: 3", body=b"abc"), 400),
    "TE folded": (post("Transfer-Encoding:", " chunked", "Content-Length: 3", body=b"abc"), 400),
    "TE after a bare LF": (post("X: y\nTransfer-Encoding: chunked", "Content-Length: 3", body=b"abc"), 400),
    "TE after a bare CR": (post("X: y\rTransfer-Encoding: chunked", "Content-Length: 3", body=b"abc"), 400),
    "TE with an underscore for the hyphen and CL": (post("Transfer-Encoding\x00: chunked",
                                                         "Content-Length: 3", body=b"abc"), 400),
    # Content-Length
    "CL twice, different": (post("Content-Length: 3", "Content-Length: 4", body=b"abc"), 400),
    "CL twice, equal": (post("Content-Length: 3", "Content-Length: 3", body=b"abc"), 400),
    "CL list": (post("Content-Length: 3, 3", body=b"abc"), 400),
    "CL signed": (post("Content-Length: +3", body=b"abc"), 400),
    "CL negative": (post("Content-Length: -3", body=b"abc"), 400),
    "CL with a space inside": (post("Content-Length: 3 3", body=b"abc"), 400),
    "CL empty": (post("Content-Length:", body=b"abc"), 400),
    "CL hexadecimal": (post("Content-Length: 0x3", body=b"abc"), 400),
    "CL with a letter": (post("Content-Length: 3a", body=b"abc"), 400),
    "CL decimal point": (post("Content-Length: 3.0", body=b"abc"), 400),
    "CL too large for a number": (post("Content-Length: 99999999999999999999", body=b"abc"), 400),
    "CL of 2^64": (post("Content-Length: 18446744073709551616", body=b"abc"), 400),
    "CL with a NUL": (post("Content-Length: 3\x00", body=b"abc"), 400),
    "CL with a space before the colon": (post("Content-Length : 3", body=b"abc"), 400),
    "CL folded": (post("Content-Length:", " 3", body=b"abc"), 400),
    "CL with a vertical tab": (post("Content-Length: \x0b3", body=b"abc"), 400),
    "CL in other digits": (post("Content-Length: \xb2", body=b"abc"), 400),
    # chunks
    "chunk size empty": (coded(b"\r\n\r\n"), 400),
    "chunk size with 0x": (coded(b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size signed": (coded(b"+3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size negative": (coded(b"-1\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with a space before": (coded(b" 3\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size of 17 digits": (coded(b"00000000000000003\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size of 2^64": (coded(b"10000000000000000\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size of 2^64-1": (coded(b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with a bare LF": (coded(b"3\nabc\r\n0\r\n\r\n"), 400),
    "chunk size with a bare CR": (coded(b"3\rabc\r\n0\r\n\r\n"), 400),
    "chunk with a bare LF behind": (coded(b"3\r\nabc\n0\r\n\r\n"), 400),
    "chunk longer than said": (coded(b"3\r\nabcd\r\n0\r\n\r\n"), 400),
    "chunk extension with a bare LF": (coded(b"3;x\nabc\r\n0\r\n\r\n"), 400),
    "chunk extension with a bare CR": (coded(b"3;x\ry\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk extension with a NUL": (coded(b"3;x\x00\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk extension without a semicolon": (coded(b"3 x\r\nabc\r\n0\r\n\r\n"), 400),
    "chunk extensions without end": (coded(b"3;" + b"x" * 100000 + b"\r\nabc\r\n0\r\n\r\n"), 400),
    "last chunk with a bare LF": (coded(b"3\r\nabc\r\n0\n\r\n"), 400),
    "last chunk ended by LF": (coded(b"3\r\nabc\r\n0\r\n\n"), 400),
    "trailer with a space before the colon": (coded(b"0\r\nX : y\r\n\r\n"), 400),
    "trailer folded": (coded(b"0\r\nX: y\r\n z\r\n\r\n"), 400),
    "trailer with a bare LF": (coded(b"0\r\nX: y\n\r\n"), 400),
    # the request line
    "two spaces in the request line": (head_of("GET  / HTTP/1.1", "Host: a"), 400),
    "a tab in the request line": (head_of("GET\t/ HTTP/1.1", "Host: a"), 400),
    "a space at the end of the request line": (head_of("GET / HTTP/1.1 ", "Host: a"), 400),
    "a space before the method": (head_of(" GET / HTTP/1.1", "Host: a"), 400),
    "no version": (head_of("GET /", "Host: a"), 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2.0": (head_of("GET / HTTP/2.0", "Host: a"), 505),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "http/1.1": (head_of("GET / http/1.1", "Host: a"), 400),
    "HTTP/1.1x": (head_of("GET / HTTP/1.1x", "Host: a"), 400),
    "HTTP/01.1": (head_of("GET / HTTP/01.1", "Host: a"), 400),
    "HTTP/1": (head_of("GET / HTTP/1", "Host: a"), 400),
    "a bare LF behind the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "only bare LFs": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "a NUL in the target": (head_of("GET /\x00 HTTP/1.1", "Host: a"), 400),
    "a raw byte in the target": (head_of("GET /\xff HTTP/1.1", "Host: a"), 400),
    "a fragment in the target": (head_of("GET /a#b HTTP/1.1", "Host: a"), 400),
    "a target without a slash": (head_of("GET a HTTP/1.1", "Host: a"), 400),
    "a star for GET": (head_of("GET * HTTP/1.1", "Host: a"), 400),
    "a method that is no token": (head_of("G(T / HTTP/1.1", "Host: a"), 400),
    "user information in the target": (head_of("GET http://user@a/ HTTP/1.1", "Host: a"), 400),
    "another scheme": (head_of("GET ftp://a/ HTTP/1.1", "Host: a"), 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", 400),
    # fields
    "a space before the colon": (head_of("GET / HTTP/1.1", "Host: a", "X : y"), 400),
    "a field without a name": (head_of("GET / HTTP/1.1", "Host: a", ": y"), 400),
    "a field without a colon": (head_of("GET / HTTP/1.1", "Host: a", "X"), 400),
    "a name that is no token": (head_of("GET / HTTP/1.1", "Host: a", "X[y]: z"), 400),
    "a name in other letters": (head_of("GET / HTTP/1.1", "Host: a", "X\xe9: z"), 400),
    "a fold": (head_of("GET / HTTP/1.1", "Host: a", "X: y", "\tz"), 400),
    "a bare CR in a value": (head_of("GET / HTTP/1.1", "Host: a", "X: y\rz"), 400),
    "a bare CR at the end of a value": (head_of("GET / HTTP/1.1", "Host: a", "X: y\r"), 400),
    "a NUL in a value": (head_of("GET / HTTP/1.1", "Host: a", "X: y\x00z"), 400),
    "a control byte in a value": (head_of("GET / HTTP/1.1", "Host: a", "X: y\x01z"), 400),
    "a DEL in a value": (head_of("GET / HTTP/1.1", "Host: a", "X: y\x7fz"), 400),
    "a bare LF in a value": (head_of("GET / HTTP/1.1", "Host: a", "X: y\nZ: w"), 400),
    "a fold before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    # Host
    "no Host": (head_of("GET / HTTP/1.1"), 400),
    "Host twice": (head_of("GET / HTTP/1.1", "Host: a", "Host: a"), 400),
    "Host twice, different": (head_of("GET / HTTP/1.1", "Host: a", "Host: b"), 400),
    "Host with a space": (head_of("GET / HTTP/1.1", "Host: a b"), 400),
    "Host list": (head_of("GET / HTTP/1.1", "Host: a, b"), 400),
    "Host with a path": (head_of("GET / HTTP/1.1", "Host: a/b"), 400),
    "Host with user information": (head_of("GET / HTTP/1.1", "Host: u@a"), 400),
    "Host with a bad port": (head_of("GET / HTTP/1.1", "Host: a:b"), 400),
    "Host with a large port": (head_of("GET / HTTP/1.1", "Host: a:65536"), 400),
    "Host with a bad address": (head_of("GET / HTTP/1.1", "Host: [::1"), 400),
    "Host empty": (head_of("GET / HTTP/1.1", "Host:"), 400),
    "absolute target without a host": (head_of("GET http:///x HTTP/1.1", "Host: a"), 400),
    "no Host beside an absolute target": (head_of("GET http://a/ HTTP/1.1"), 400),
}


def expect_refusal(client, status):
    answer = client.receive_response()
    assert answer.status == status, f"{answer.line}: {answer.body!r}"
    assert answer.closes
    client.expect_closed()


def expect_nothing_at(origin, gateway):
    """The origin sees another client's request, and not a byte of anything else."""
    assert_not_seen(origin, gateway, lambda seen: seen == b"")


def assert_not_seen(origin, gateway, is_fine):
    """Another client's request is served; what all other connections to the origin have brought by then has
    to be fine."""
    with gateway.connect() as other:
        other.send(request(target="/canary"))
        served, rest = origin.accept_request("/canary")
        assert all(map(is_fine, rest)), rest
        assert served.receive_request().target == "/canary" and served.buffer == b""
        served.send(response())
        assert other.receive_response().status == 200


def is_body_error(data):
    """The head is fine, so the origin may have seen it; it must not see a whole request, or a second one."""
    return b"\r\n\r\n" in data and data.startswith(post("Transfer-Encoding: chunked"))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(gateway, client, origin, name):
    data, status = REFUSED[name]
    client.send(data, SMUGGLED)
    expect_refusal(client, status)
    if is_body_error(data):
        assert_not_seen(origin, gateway,
                        lambda seen: b"smuggled" not in seen and not seen.endswith(b"0\r\n\r\n"))
    else:
        expect_nothing_at(origin, gateway)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_behind_a_good_request(client, origin, name):
    data, status = REFUSED[name]
    client.send(request(target="/good"), data, SMUGGLED)
    served = origin.accept()
    assert served.receive_request().target == "/good"
    served.send(response(body="good"))
    assert client.receive_response().body == b"good"
    expect_refusal(client, status)
    if not is_body_error(data):
        assert served.buffer == b""
        served.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            served.sock.recv(1)


# ---- bodies that look like requests

def test_a_body_is_not_a_request(client, origin):
    """CL.0: an origin that ignores the length would answer twice; the gateway counts."""
    client.send(post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED), request(target="/next"))
    served = origin.accept()
    got = served.receive_request()
    assert (got.method, got.body) == ("POST", SMUGGLED)
    served.send(response(body="one"), response(body="two"))
    assert client.receive_response().body == b"one"
    served.expect_closed()  # a response that nobody asked for ends the connection
    again = origin.accept()
    assert again.receive_request().target == "/next"
    again.send(response(body="three"))
    assert client.receive_response().body == b"three"


def test_a_get_with_a_body_is_one_request(client, origin):
    client.send(head_of("GET / HTTP/1.1", "Host: a", f"Content-Length: {len(SMUGGLED)}"), SMUGGLED)
    served = origin.accept()
    assert served.receive_request().body == SMUGGLED
    served.send(response())
    assert client.receive_response().status == 200


def test_what_follows_an_early_answer_is_no_request(gateway, client, origin):
    """0.CL: the origin answers without the body; what the client sends next is that body and nothing else."""
    client.send(post("Content-Length: 1000"))
    served = origin.accept()
    served.receive_head()
    served.send(response(400, body="no"))
    assert client.receive_response().closes
    client.send_what_fits(SMUGGLED * 10)
    served.expect_closed()
    client.expect_closed()
    expect_nothing_at(origin, gateway)


def test_upgrade_is_not_passed_on(client, origin):
    client.send(head_of("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: h2c"), SMUGGLED)
    served = origin.accept()
    got = served.receive_request()
    assert got["Upgrade"] is None and got["Connection"] is None
    served.send(response(body="one"))
    assert client.receive_response().body == b"one"
    assert served.receive_request().target == "/smuggled"  # an ordinary second request of this client
    served.send(response(body="two"))
    assert client.receive_response().body == b"two"


# ---- responses

BROKEN = {
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "a bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "a bare CR in a value": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    "a NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "a NUL in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
    "a fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "CL beside TE": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "CL twice, different": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "CL negative": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "CL of 2^64": b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
    "TE unknown": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "TE twice": head_of("HTTP/1.1 200 OK", *["Transfer-Encoding: chunked"] * 2) + b"0\r\n\r\n",
    "TE in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a head too large": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 20000 + b"\r\n\r\n",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 41 + b"\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_response(client, origin, name):
    client.send(request(), request(target="/next"))
    served = origin.accept()
    served.receive_request()
    served.send(BROKEN[name])
    answer = client.receive_response()
    assert answer.status == 502 and not answer.closes
    served.expect_closed()
    again = origin.accept()
    assert again.receive_request().target == "/next"
    again.send(response(body="next"))
    assert client.receive_response().body == b"next"


@pytest.mark.parametrize("part", [b"", b"H", b"HTTP/1.1 200 OK\r\n",
                                  b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"])
def test_a_response_head_that_is_cut_short(client, origin, part):
    client.send(request("POST", body="once"))
    served = origin.accept()
    served.receive_request()
    served.send(part)
    served.close()
    assert client.receive_response().status == 502


@pytest.mark.parametrize("rest", [b"3\nabc\r\n0\r\n\r\n", b"zz\r\n", b"3\r\nabcX\r\n", b"0\r\nX : y\r\n\r\n",
                                  b"10000000000000000\r\n"])
def test_a_broken_chunk_cuts_the_client(client, origin, rest):
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), b"5\r\nfirst\r\n")
    client.receive_head()
    client.expect(b"5\r\nfirst\r\n")
    served.send(rest)
    client.expect_closed_without(b"0\r\n\r\n")
    served.expect_closed()


@pytest.mark.parametrize("head, part", [
    (["Content-Length: 100"], b"x" * 50), (["Transfer-Encoding: chunked"], b"64\r\n" + b"x" * 50),
    (["Transfer-Encoding: chunked"], b"5\r\nwhole\r\n"), (["Transfer-Encoding: chunked"],
                                                          b"5\r\nwhole\r\n0\r\n"),
])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_truncated_response_is_seen_to_be_truncated(client, origin, head, part, version, how):
    client.send(request(version=version))
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 200 OK", *head), part[:10])
    answer = client.receive_head()
    client.receive(1)
    served.send(part[10:])
    getattr(served, how)()
    if not answer.is_chunked and answer["Content-Length"] is None:
        with pytest.raises(ConnectionResetError):  # its end would look like the end of the body
            client.receive_all()
        return
    rest = client.receive_all_or_reset()
    assert not rest.endswith(b"0\r\n\r\n") and len(rest) < 100


def test_a_response_longer_than_said_ends_its_connection(client, origin):
    client.send(request(), request(target="/next"))
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 200 OK", "Content-Length: 3"),
                b"abcHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
    assert client.receive_response().body == b"abc"
    served.expect_closed()
    again = origin.accept()
    assert again.receive_request().target == "/next"
    again.send(response(body="next"))
    assert client.receive_response().body == b"next"


def test_a_response_that_nobody_asked_for_is_not_given_to_the_next(client, origin):
    """An origin that sends on an idle connection has lost its place, or been made to."""
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(response(body="asked"))
    assert client.receive_response().body == b"asked"
    served.send(response(body="forged"))
    served.expect_closed()
    client.send(request())
    again = origin.accept()
    again.receive_request()
    again.send(response(body="asked"))
    assert client.receive_response().body == b"asked"


def test_chunks_are_written_anew(client, origin):
    """What the client gets is framed by the gateway, whatever the origin's framing was."""
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 200 OK", "Transfer-Encoding: CHUNKED"),
                b"005;ext=1\r\nhello\r\n" + chunked())
    answer = client.receive_response()
    assert answer["Transfer-Encoding"] == "chunked" and answer.body == b"hello"
