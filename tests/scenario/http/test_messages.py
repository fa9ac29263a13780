"""Messages through the gateway, as dialogues between a client, the gateway and an origin."""
import pathlib
import threading

import pytest

from wire import chunked, head_of, request, response


# ---- keep-alive and pipelining

def test_both_connections_are_kept(client, origin):
    served = None
    for number in range(5):
        client.send(request(target=f"/{number}"))
        served = served or origin.accept()
        got = served.receive_request()
        assert (got.method, got.target) == ("GET", f"/{number}")
        served.send(response(body=f"answer {number}"))
        answer = client.receive_response()
        assert (answer.status, answer.body) == (200, f"answer {number}".encode())


def test_a_hundred_pipelined_requests_are_answered_in_order(client, origin):
    client.send(*(request(target=f"/{number}") for number in range(100)))
    served = origin.accept()
    for number in range(100):
        assert served.receive_request().target == f"/{number}"
        served.send(response(body=f"{number}"))
    for number in range(100):
        assert client.receive_response().body == f"{number}".encode()


def held_on_the_way():
    """The most bytes of requests that nobody waits for: what kernels hold at both ends, what was read for answers that the
    gateway's kernel holds (each is larger than its request), and some in the gateway."""
    read, write = (int(pathlib.Path(f"/proc/sys/net/ipv4/{name}").read_text().split()[2]) for name in ("tcp_rmem", "tcp_wmem"))
    return read + 2 * write + (2 << 20)


def test_a_client_that_pipelines_and_does_not_read(gateway, origin):
    """Reading its requests stops while its answers wait, and goes on with them."""
    large = request("GET", "/large-answer", "X: " + "y" * 7800, "Y: " + "y" * 7800)
    count = held_on_the_way() // len(large) + 1000
    with gateway.connect(receive_buffer=4096) as client:
        rest = client.send_until_full(large * count)
        assert rest, "kernels held it all"
        assert gateway.metric("buffered_bytes") < 1 << 20
        sender = threading.Thread(target=client.send, args=[rest])
        sender.start()
        for _ in range(count):
            assert len(client.receive_response().body) == 20000
        sender.join()


def test_pipelined_bodies_stay_apart(client, origin):
    client.send(request("POST", "/1", body="first"), head_of("POST /2 HTTP/1.1", "Host: a",
                                                             "Transfer-Encoding: chunked"),
                chunked("sec", "ond"), request("GET", "/3"))
    served = origin.accept()
    for target, body in (("/1", b"first"), ("/2", b"second"), ("/3", b"")):
        got = served.receive_request()
        assert (got.target, got.body) == (target, body)
        served.send(response(body=target))
        assert client.receive_response().body == target.encode()


def test_a_request_that_comes_byte_by_byte(client, origin):
    for byte in request("POST", "/slow", body="abc"):
        client.send(bytes([byte]))
    served = origin.accept()
    got = served.receive_request()
    assert (got.target, got.body) == ("/slow", b"abc")
    for byte in head_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunked("de", "f",
                                                                                   trailers=["T: 1"]):
        served.send(bytes([byte]))
    answer = client.receive_response()
    assert (answer.body, answer.trailers.get("T")) == (b"def", "1")


def test_an_empty_line_before_a_request_is_skipped(client, origin):
    client.send("\r\n", request())
    origin.accept().send(response())
    assert client.receive_response().status == 200
    assert client.exchange("\r\n\r\n", request()).status == 400


@pytest.mark.parametrize("version, fields, stays", [
    ("HTTP/1.1", [], True), ("HTTP/1.1", ["Connection: close"], False),
    ("HTTP/1.1", ["Connection: x, Close"], False),
    ("HTTP/1.1", ["Connection: keep-alive"], True), ("HTTP/1.0", [], False),
    ("HTTP/1.0", ["Connection: keep-alive"], True),
])
def test_the_client_decides_whether_its_connection_is_kept(gateway, client, usual, version, fields, stays):
    gateway.serve(usual)
    answer = client.exchange(request("GET", "/respond", *fields, version=version))
    assert answer.body == b"here\n"
    assert answer.version == "HTTP/1.1"
    if stays:
        assert not answer.closes
        assert (answer["Connection"] or "").lower() == ("keep-alive" if version == "HTTP/1.0" else "")
        assert client.exchange(request("GET", "/respond")).status == 200
    else:
        assert answer.closes
        client.expect_closed()


def test_an_origin_that_closes_costs_the_client_nothing(client, origin):
    for number in range(3):
        client.send(request())
        served = origin.accept()
        served.receive_request()
        served.send(response(200, "Connection: close", body=f"{number}"))
        answer = client.receive_response()
        assert answer.body == f"{number}".encode() and not answer.closes
        served.expect_closed()


# ---- request bodies

@pytest.mark.parametrize("size", [0, 1, 1000, 16384, 65536, 1 << 20])
def test_a_body_with_a_length(client, origin, size):
    body = bytes(i * 7 % 251 for i in range(size))
    client.send(head_of("PUT /b HTTP/1.1", "Host: a", f"Content-Length: {size}"), body)
    served = origin.accept()
    got = served.receive_request()
    assert got["Content-Length"] == str(size) and not got.is_chunked
    assert got.body == body
    served.send(response(201))
    assert client.receive_response().status == 201


def test_a_chunked_body_with_trailers(client, origin):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Trailer: X-Sum", "Transfer-Encoding: chunked"),
                chunked("one", "two" * 10000, "3", trailers=["X-Sum: 42", "X-Other: yes"]))
    served = origin.accept()
    got = served.receive_request()
    assert got.is_chunked and got["Content-Length"] is None
    assert got.body == b"one" + b"two" * 10000 + b"3"
    assert got.trailers == [("x-sum", "42"), ("x-other", "yes")] or got.trailers == [("X-Sum", "42"),
                                                                                     ("X-Other", "yes")]
    served.send(response())
    assert client.receive_response().status == 200


@pytest.mark.parametrize("fields, body, length", [
    (["Content-Length: 0003"], b"abc", "3"), (["Content-Length:\t3 \t"], b"abc", "3"),
    (["content-LENGTH:3"], b"abc", "3"),
    (["Transfer-Encoding: CHUNKED"], b"3\r\nabc\r\n0\r\n\r\n", None),
    (["tRANSFER-eNCODING:chunked\t"], b"3\r\nabc\r\n0\r\n\r\n", None),
])
def test_framing_is_written_in_one_form(client, origin, fields, body, length):
    client.send(head_of("POST / HTTP/1.1", "Host: a", *fields), body)
    served = origin.accept()
    got = served.receive_request()
    assert got.body == b"abc" and got["Content-Length"] == length
    assert got["Transfer-Encoding"] == (None if length else "chunked")
    served.send(response())
    assert client.receive_response().status == 200


@pytest.mark.parametrize("field", ["Content-Length: 7", "Transfer-Encoding: chunked", "Host: evil.example",
                                   "Connection: close",
                                   "Upgrade: h2c"])
def test_a_trailer_that_would_decide_anew_is_refused(client, origin, field):
    """RFC 9110 section 6.5.1: framing and routing are decided by the head."""
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"), b"3\r\nabc\r\n")
    served = origin.accept()
    served.receive_head()
    served.expect(b"3\r\nabc\r\n")
    client.send(b"0\r\n", field, "\r\n\r\n")
    assert client.receive_response().status == 400
    served.expect_closed()


@pytest.mark.parametrize("field", ["X-Forwarded-For: 192.0.2.1", "Via: 1.1 x", "X-Real-IP: 192.0.2.1",
                                   "Forwarded: for=x",
                                   "X-Request-Id: x", "Trailer: x"])
def test_a_trailer_does_not_say_who_the_client_is(client, origin, field):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"),
                chunked("abc", trailers=["X-Fine: 1", field]))
    served = origin.accept()
    got = served.receive_request()
    assert got.trailers.get("X-Fine") == "1" and got.trailers.get(field.split(":")[0]) is None
    served.send(response())
    assert client.receive_response().status == 200


@pytest.mark.parametrize("coded", [
    b"5;name=value\r\nhello\r\n0\r\n\r\n", b"5;quoted=\"a\\\"b\"\r\nhello\r\n0;last\r\n\r\n",
    b"0000000000000005\r\nhello\r\n0\r\n\r\n",
    b"2\r\nhe\r\n3\r\nllo\r\n00\r\n\r\n",
])
def test_chunk_extensions_and_zeros_are_read_and_not_passed_on(client, origin, coded):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"), coded)
    served = origin.accept()
    head = served.receive_head()
    served.receive_chunked(head)
    assert head.body == b"hello"
    served.send(response())
    assert client.receive_response().status == 200


def test_a_request_body_streams(client, origin):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"), b"3\r\none\r\n")
    served = origin.accept()
    served.receive_head()
    served.expect(b"3\r\none\r\n")
    client.send(b"3\r\ntwo\r\n")
    served.expect(b"3\r\ntwo\r\n")
    client.send(b"0\r\n\r\n")
    served.expect(b"0\r\n\r\n")
    served.send(response())
    assert client.receive_response().status == 200


def test_no_body_is_not_made_up(client, origin):
    client.send(request("POST", "/"), request("DELETE", "/"))
    served = origin.accept()
    for method in ("POST", "DELETE"):
        got = served.receive_request()
        assert got.method == method and not got.is_chunked
        assert got["Content-Length"] in (None, "0")
        served.send(response())
    assert [client.receive_response().status for _ in range(2)] == [200, 200]


# ---- response bodies

def test_a_response_streams(client, origin):
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), b"5\r\nearly\r\n")
    head = client.receive_head()
    assert head.is_chunked
    client.expect(b"5\r\nearly\r\n")
    served.send(b"4\r\nlate\r\n")
    client.expect(b"4\r\nlate\r\n")
    served.send(b"0\r\n\r\n")
    client.expect(b"0\r\n\r\n")


@pytest.mark.parametrize("size", [0, 1, 4096, 16384, 100000, 1 << 20])
def test_a_response_with_a_length(client, origin, size):
    body = bytes(i * 11 % 253 for i in range(size))
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(response(200, "X-A: b", body=body))
    answer = client.receive_response()
    assert (answer["Content-Length"], answer["X-A"]) == (str(size), "b")
    assert answer.body == body


def test_response_trailers(client, origin):
    client.send(request("GET", "/", "TE: trailers"))
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 200 OK", "Trailer: X-Sum", "Transfer-Encoding: chunked"),
                chunked("body" * 5000, trailers=["X-Sum: 7"]))
    answer = client.receive_response()
    assert answer.body == b"body" * 5000
    assert answer.trailers.get("X-Sum") == "7"


def test_a_body_until_the_close_becomes_chunked(client, origin):
    client.send(request(), request(target="/next"))
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 200 OK"), b"until the end")
    served.close()
    answer = client.receive_response()
    assert answer.is_chunked and answer.body == b"until the end"
    again = origin.accept()
    assert again.receive_request().target == "/next"
    again.send(response(body="next"))
    assert client.receive_response().body == b"next"


def test_an_old_client_gets_no_chunks(gateway, origin):
    with gateway.connect() as client:
        client.send(request(version="HTTP/1.0"))
        served = origin.accept()
        assert served.receive_request().version == "HTTP/1.1"
        served.send(head_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"),
                    chunked("a", "b" * 20000, trailers=["T: 1"]))
        answer = client.receive_response()
        assert not answer.is_chunked and answer["Content-Length"] is None and answer.closes
        assert answer.body == b"a" + b"b" * 20000


def test_an_old_origin_is_understood(client, origin):
    client.send(request(), request())
    served = origin.accept()
    served.receive_request()
    served.send(b"HTTP/1.0 200 Fine\r\nContent-Length: 3\r\n\r\nold")
    assert client.receive_response().body == b"old"
    served.expect_closed()  # without keep-alive it carries one exchange
    served = origin.accept()
    served.receive_request()
    served.send(b"HTTP/1.0 200\r\n\r\nuntil the end")
    served.close()
    answer = client.receive_response()
    assert answer.version == "HTTP/1.1" and answer.body == b"until the end"


@pytest.mark.parametrize("fields", [["Content-Length: 1000"], ["Transfer-Encoding: chunked"],
                                    ["Content-Length: 0"], []])
def test_head_has_no_body_whatever_the_fields_say(client, origin, fields):
    client.send(request("HEAD"), request("GET", "/next"))
    served = origin.accept()
    assert served.receive_request().method == "HEAD"
    served.send(head_of("HTTP/1.1 200 OK", "X-A: b", *fields))
    answer = client.receive_response(to="HEAD")
    assert answer["X-A"] == "b"
    if fields and fields[0].startswith("Content-Length"):
        assert answer["Content-Length"] == fields[0].split()[1]
    assert served.receive_request().target == "/next"
    served.send(response(body="next"))
    assert client.receive_response().body == b"next"


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(client, origin, status):
    client.send(request(), request("GET", "/next"))
    served = origin.accept()
    served.receive_request()
    served.send(head_of(f"HTTP/1.1 {status} X", "ETag: \"e\"",
                        *(["Content-Length: 10"] if status == 304 else [])))
    answer = client.receive_response()
    assert (answer.status, answer["ETag"]) == (status, '"e"')
    if status == 204:
        assert answer["Content-Length"] is None and not answer.is_chunked
    assert served.receive_request().target == "/next"
    served.send(response(body="next"))
    assert client.receive_response().body == b"next"


# ---- interim responses

def test_interim_responses_are_passed_on(client, origin):
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload"),
                head_of("HTTP/1.1 102 Processing"))
    served.send(response(body="final"))
    answer = client.receive_response()
    assert [message.status for message in answer.interim] == [103, 102]
    assert answer.interim[0]["Link"] == "</a.css>; rel=preload"
    assert answer.body == b"final"


def test_an_old_client_gets_no_interim_responses(client, origin):
    client.send(request(version="HTTP/1.0"))
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 103 Early Hints"), response(body="final"))
    answer = client.receive_response()
    assert answer.interim == [] and answer.body == b"final"


def test_endless_interim_responses_are_cut(client, origin):
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 103 Early Hints") * 100)
    answer = client.receive_response()
    assert answer.status == 502 and len(answer.interim) <= 8
    served.expect_closed()


def test_nobody_asked_to_switch_protocols(client, origin):
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 101 Switching Protocols", "Upgrade: x", "Connection: upgrade"), b"garbage")
    assert client.receive_response().status == 502
    served.expect_closed()


# ---- Expect: 100-continue

EXPECTING = head_of("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: 100-continue")


def test_the_origin_says_continue(client, origin):
    client.send(EXPECTING)
    served = origin.accept()
    assert served.receive_head()["Expect"] == "100-continue"
    served.send(head_of("HTTP/1.1 100 Continue"))
    assert client.receive_head().status == 100
    client.send("hello")
    served.expect("hello")
    served.send(response(body="thanks"))
    answer = client.receive_response()
    assert (answer.status, answer.body, answer.interim) == (200, b"thanks", [])
    client.send(request())  # the connections are as good as before
    served.receive_request()
    served.send(response())
    assert client.receive_response().status == 200


def test_the_origin_refuses_before_the_body(client, origin):
    client.send(EXPECTING)
    served = origin.accept()
    served.receive_head()
    served.send(response(413, body="too large for me"))
    answer = client.receive_response()
    assert (answer.status, answer.body, answer.interim) == (413, b"too large for me", [])
    assert answer.closes  # whether the body follows nobody knows
    client.expect_closed()
    served.expect_closed()


def test_a_silent_origin_does_not_hold_the_body_for_ever(client, origin):
    client.send(EXPECTING)
    served = origin.accept()
    served.receive_head()
    assert client.receive_head().status == 100
    client.send("hello")
    served.expect("hello")
    served.send(response(body="thanks"))
    assert client.receive_response().body == b"thanks"


def test_a_body_that_does_not_wait_is_welcome(client, origin):
    client.send(EXPECTING, "hello")
    served = origin.accept()
    served.receive_head()
    served.send(head_of("HTTP/1.1 100 Continue"))
    served.expect("hello")
    served.send(response(body="thanks"))
    assert client.receive_response().body == b"thanks"


def test_another_expectation_cannot_be_met(client, origin):
    answer = client.exchange(head_of("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: miracles"))
    assert answer.status == 417


def test_a_direct_response_needs_no_body(client, origin):
    answer = client.exchange(request("POST", "/respond", "Expect: 100-continue", "Content-Length: 5"))
    assert answer.status == 200 and answer.interim == []
    assert answer.closes


# ---- early responses

def test_an_early_response_stops_the_request(client, origin):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Content-Length: 1000000"), b"x" * 1000)
    served = origin.accept()
    served.receive_head()
    served.receive(1000)
    served.send(response(403, body="no"))
    answer = client.receive_response()
    assert (answer.status, answer.body) == (403, b"no") and answer.closes
    served.expect_closed()
    client.send_what_fits(b"x" * 100000)
    client.expect_closed()


def test_an_early_response_streams_beside_its_request(client, origin):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"), b"4\r\nping\r\n")
    served = origin.accept()
    served.receive_head()
    served.expect(b"4\r\nping\r\n")
    served.send(head_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), b"4\r\npong\r\n")
    client.receive_head()
    client.expect(b"4\r\npong\r\n")
    for _ in range(3):
        client.send(b"4\r\nping\r\n")
        served.expect(b"4\r\nping\r\n")
        served.send(b"4\r\npong\r\n")
        client.expect(b"4\r\npong\r\n")
    client.send(b"0\r\n\r\n")
    served.expect(b"0\r\n\r\n")
    served.send(b"0\r\n\r\n")
    client.expect(b"0\r\n\r\n")
    client.send(request("GET", "/next"))
    assert served.receive_request().target == "/next"
    served.send(response(body="next"))
    assert client.receive_response().body == b"next"


def test_a_client_that_only_writes_still_gets_the_early_answer(gateway, origin):
    """It sends all of its body before it looks for an answer, as simple clients do."""
    body = b"x" * 4_000_000
    with gateway.connect() as client:
        client.send(head_of("POST /respond HTTP/1.1", "Host: a", f"Content-Length: {len(body)}"))
        assert client.send_what_fits(body) == len(body)
        answer = client.receive_response()
        assert (answer.status, answer.body) == (200, b"here\n")


def test_an_early_answer_of_an_origin_that_closes(client, origin):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Content-Length: 10000000"), b"x" * 200000)
    served = origin.accept()
    served.receive_head()
    served.send(response(413, "Connection: close", body="enough"))
    served.end_sending()
    answer = client.receive_response()
    assert (answer.status, answer.body) == (413, b"enough")


# ---- half-closed peers

def test_a_half_closed_client_is_answered(client, origin):
    client.send(request("POST", "/", body="all of it")).end_sending()
    served = origin.accept()
    assert served.receive_request().body == b"all of it"
    served.send(head_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), b"5\r\nfirst\r\n")
    client.receive_head()
    client.expect(b"5\r\nfirst\r\n")
    served.send(b"4\r\nlast\r\n0\r\n\r\n")
    client.expect(b"4\r\nlast\r\n0\r\n\r\n")
    client.expect_closed()


def test_pipelined_requests_of_a_half_closed_client_are_all_answered(client, origin):
    client.send(*(request(target=f"/{number}") for number in range(5))).end_sending()
    served = origin.accept()
    for number in range(5):
        assert served.receive_request().target == f"/{number}"
        served.send(response(body=f"{number}"))
    for number in range(5):
        assert client.receive_response().body == f"{number}".encode()
    client.expect_closed()


def test_a_client_that_ends_in_the_middle_of_a_body(client, origin):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Content-Length: 10"), b"half ")
    served = origin.accept()
    served.receive_head()
    served.expect(b"half ")
    client.end_sending()
    served.expect_closed()  # the origin must not take it for a whole request
    client.expect_closed()


def test_a_client_that_ends_in_the_middle_of_a_chunk(client, origin):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"), b"a\r\nhalf ")
    served = origin.accept()
    served.receive_head()
    served.expect(b"5\r\nhalf \r\n")
    client.end_sending()
    served.expect_closed()
    client.expect_closed()


def test_a_client_that_ends_after_a_chunk(client, origin):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"),
                b"4\r\nhalf\r\n").end_sending()
    served = origin.accept()
    served.expect_closed_without(b"0\r\n\r\n")
    client.expect_closed()


def test_a_client_that_ends_in_the_middle_of_a_head(client, origin):
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n").end_sending()
    client.expect_closed()


def test_a_client_that_goes_away_takes_its_request_with_it(client, origin):
    client.send(request())
    served = origin.accept()
    served.receive_request()
    client.reset()
    served.expect_closed()


def test_a_half_closed_origin_that_reads_on(client, origin):
    """It has answered in full and said that it will say no more, while the request is still under way."""
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Content-Length: 10"), b"half ")
    served = origin.accept()
    served.receive_head()
    served.send(response(200, "Connection: close", body="answer")).end_sending()
    assert client.receive_response().body == b"answer"


# ---- targets and hosts

def test_an_absolute_target_names_the_host(client, origin):
    client.send(head_of("GET http://Site.Example:8080/a?b=c HTTP/1.1", "Host: other.example"))
    served = origin.accept()
    got = served.receive_request()
    assert got.target == "/a?b=c"
    assert got.fields.all("Host") == ["site.example:8080"]
    served.send(response())
    assert client.receive_response().status == 200


@pytest.mark.parametrize("target, expected", [
    ("http://a.example", "/"), ("http://a.example?q", "/?q"), ("HTTP://A.EXAMPLE/x", "/x"),
    ("http://[::1]:80/x", "/x"),
    ("/x?", "/x?"), ("/x?a=b?c&d", "/x?a=b?c&d"), ("/%7Euser", "/~user"), ("/a%20b", "/a%20b"),
])
def test_targets_that_are_passed_on(client, origin, target, expected):
    client.send(request("GET", target))
    served = origin.accept()
    assert served.receive_request().target == expected
    served.send(response())
    assert client.receive_response().status == 200


def test_options_for_the_whole_server(client, origin):
    client.send(request("OPTIONS", "*"))
    served = origin.accept()
    assert served.receive_request().target == "*"
    served.send(response())
    assert client.receive_response().status == 200


@pytest.mark.parametrize("method", ["PROPFIND", "get", "M-SEARCH", "PATCH", "X" * 30])
def test_methods_are_passed_on_as_they_are(client, origin, method):
    client.send(request(method))
    served = origin.accept()
    assert served.receive_request().method == method
    served.send(response())
    assert client.receive_response(method).status == 200


@pytest.mark.parametrize("host", ["a.example", "A.Example:8080", "127.0.0.1", "[::1]:80",
                                  "xn--bcher-kva.example", "under_score"])
def test_hosts_that_are_passed_on(client, origin, host):
    client.send(request(host=host))
    served = origin.accept()
    assert served.receive_request().fields.all("Host") == [host.lower()]
    served.send(response())
    assert client.receive_response().status == 200


def test_an_old_client_may_leave_the_host_out(client, origin):
    client.send(request(host=None, version="HTTP/1.0"))
    served = origin.accept()
    assert served.receive_request().version == "HTTP/1.1"
    served.send(response())
    assert client.receive_response().status == 200


def test_a_later_minor_version_is_read_as_this_one(client, origin):
    client.send(request(version="HTTP/1.2"))  # RFC 9110 section 2.5
    served = origin.accept()
    assert served.receive_request().version == "HTTP/1.1"
    served.send(response())
    assert client.receive_response().version == "HTTP/1.1"


def test_fields_pass_as_they_are(client, origin):
    fields = ["X-Empty:", "X-Spaced: a  b", "Cookie: a=1", "Cookie: b=2", "X-Bytes: \xff\x80", "Accept: */*",
              "x-lower: CASE"]
    client.send(request("GET", "/", *fields))
    served = origin.accept()
    got = served.receive_request()
    for line in fields:
        name, value = line.split(":", 1)
        assert value.strip() in got.fields.all(name)
    assert got.fields.all("Cookie") == ["a=1", "b=2"]
    served.send(response(200, "Set-Cookie: a=1", "Set-Cookie: b=2", "X-Bytes: \xff", "Server: mine"))
    answer = client.receive_response()
    assert answer.fields.all("Set-Cookie") == ["a=1", "b=2"]
    assert (answer["X-Bytes"], answer["Server"]) == ("\xff", "mine")


def test_answers_of_the_gateway_are_complete(client, origin):
    answer = client.exchange(request("GET", "/respond"))
    assert (answer.status, answer.body, answer["Content-Length"]) == (200, b"here\n", "5")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Date"].endswith(" GMT") and answer["Server"]
    answer = client.exchange(request("HEAD", "/respond"), to="HEAD")
    assert answer["Content-Length"] == "5"
    answer = client.exchange(request("GET", "/none"))
    assert answer.status == 503 and b"no-endpoint" in answer.body and not answer.closes
    assert client.exchange(request("GET", "/respond")).status == 200


# ---- answers of our own to requests with bodies

def test_a_short_body_does_not_cost_the_connection(client):
    for number in range(3):
        client.send(request("POST", "/respond", body=f"body {number}"))
        assert client.receive_response().body == b"here\n"
        client.send(head_of("POST /respond HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"), chunked("some", "more"))
        answer = client.receive_response()
        assert (answer.body, answer.closes) == (b"here\n", False)


def test_a_stream_without_an_end_is_answered_all_the_same(client):
    client.send(head_of("POST /respond HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"), "4\r\nsome\r\n")
    answer = client.receive_response()
    assert (answer.body, answer.closes) == (b"here\n", True)
