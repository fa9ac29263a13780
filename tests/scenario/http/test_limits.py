"""Each limit with its status, and peers that are slow or greedy."""
import select
import socket
import threading

import pytest

from configuration import QUICK, cluster, configure, under
from gateway import resident_bytes
from wire import Origin, chunked, head_of, kernels_hold, request, response

HEADER_BYTES, HEADERS, URI_BYTES, BODY = 16384, 40, 2048, 1000  # of the usual configuration


def expect_status(client, status, word=b""):
    answer = client.receive_response()
    assert answer.status == status, f"{answer.line}: {answer.body!r}"
    assert word in answer.body
    return answer


def expect_end(client, status, word=b""):
    assert expect_status(client, status, word).closes
    client.expect_closed()


def with_rule(usual, rule):
    """The usual configuration with a rule before the others."""
    table = usual["route-tables"][0]
    host = table["hosts"][0]
    return {**usual, "route-tables": [{**table, "hosts": [{**host, "rules": [rule, *host["rules"]]}]}]}


# ---- sizes of heads

def test_a_target_up_to_the_limit_and_beyond(gateway, client, origin):
    longest = "/" + "a" * (URI_BYTES - 1)
    client.send(request(target=longest))
    served = origin.accept()
    assert served.receive_request().target == longest
    served.send(response())
    expect_status(client, 200)
    client.send(request(target=longest + "a"))
    expect_end(client, 414)
    with gateway.connect() as other:  # the end of an endless line is not waited for
        other.send("GET /" + "a" * (2 * URI_BYTES))
        expect_end(other, 414)


def test_fields_up_to_the_limit_and_beyond(client, origin):
    fields = [f"X-{number}: y" for number in range(HEADERS)]
    client.send(request("GET", "/", *fields[1:]))
    served = origin.accept()
    assert served.receive_request()["X-39"] == "y"
    served.send(response())
    expect_status(client, 200)
    client.send(request("GET", "/", *fields))
    expect_end(client, 431)


def test_bytes_of_a_head_up_to_the_limit_and_beyond(gateway, client, origin):
    frame = len(request("GET", "/", "X: "))
    client.send(request("GET", "/", "X: " + "y" * (HEADER_BYTES - frame)))
    served = origin.accept()
    assert len(served.receive_request()["X"]) == HEADER_BYTES - frame
    served.send(response())
    expect_status(client, 200)
    client.send(request("GET", "/", "X: " + "y" * (HEADER_BYTES - frame + 1)))
    expect_end(client, 431)
    with gateway.connect() as other:  # nor of an endless field
        other.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + "y" * (2 * HEADER_BYTES))
        expect_end(other, 431)
    with gateway.connect() as other:
        other.send("GET / HTTP/1.1\r\n" + "X: y\r\n" * 100)
        expect_end(other, 431)


def test_trailers_beyond_the_limit(client, origin):
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"),
                chunked("a", trailers=["X: " + "y" * 10000]))
    expect_end(client, 431)


def test_response_trailers_beyond_the_limit(client, origin):
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), b"5\r\nfirst\r\n")
    client.receive_head()
    client.expect(b"5\r\nfirst\r\n")
    served.send(b"0\r\n", "X: " + "y" * 10000 + "\r\n\r\n")
    client.expect_closed()


# ---- sizes of bodies

def test_a_length_up_to_the_limit_and_beyond(client, origin):
    client.send(request("POST", "/small", body="x" * BODY))
    served = origin.accept()
    assert len(served.receive_request().body) == BODY
    served.send(response())
    expect_status(client, 200)
    client.send(head_of("POST /small HTTP/1.1", "Host: a", f"Content-Length: {BODY + 1}"))
    expect_end(client, 413)


def test_a_refused_length_gets_no_continue(client, origin):
    client.send(head_of("POST /small HTTP/1.1", "Host: a", f"Content-Length: {BODY + 1}",
                        "Expect: 100-continue"))
    answer = expect_status(client, 413)
    assert answer.interim == []


def test_chunks_up_to_the_limit_and_beyond(client, origin):
    head = head_of("POST /small HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
    client.send(head, chunked("x" * 600, "y" * 400))
    served = origin.accept()
    assert len(served.receive_request().body) == BODY
    served.send(response())
    expect_status(client, 200)
    client.send(head, b"258\r\n" + b"x" * 600 + b"\r\n")
    served.receive_head()
    served.expect(b"258\r\n" + b"x" * 600 + b"\r\n")
    client.send(b"200\r\n" + b"y" * 401)
    expect_end(client, 413)
    served.expect_closed_without(b"0\r\n\r\n")


def test_tiny_chunks_beyond_the_limit(client, origin):
    """Each of them is refused in the middle of what one read brought."""
    head = head_of("POST /small HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
    client.send(head, b"1\r\nx\r\n" * 8000)
    expect_end(client, 413)


# ---- slow clients

@pytest.fixture
def quick(gateway, origin):
    """A client of the listener with short deadlines."""
    with gateway.connect(gateway.port_of("quick")) as connection:
        yield connection


@pytest.mark.parametrize("part", ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: y"])
def test_a_slow_head(gateway, origin, part):
    before = gateway.metric("client_header_timeouts_total")  # first, as a connection that says nothing is soon closed
    with gateway.connect(gateway.port_of("quick")) as quick:
        quick.send(part)
        expect_end(quick, 408)
    assert gateway.metric("client_header_timeouts_total") == before + 1


def test_a_head_that_drips_is_not_given_more_time(quick):
    """The deadline is for the whole head: bytes do not move it."""
    try:
        for byte in b"GET / HTTP/1.1\r\nX: " + b"y" * 10000:
            quick.send(bytes([byte]))
            quick.sock.settimeout(0.005)
            try:
                if quick.more():
                    break
            except TimeoutError:
                continue
            finally:
                quick.sock.settimeout(20)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert quick.receive_response().status == 408


def test_a_connection_without_a_request(gateway, quick):
    quick.expect_closed()


def test_an_idle_connection(gateway, origin):
    before = gateway.metric("client_idle_timeouts_total")  # first, as above
    with gateway.connect(gateway.port_of("quick")) as quick:
        assert quick.exchange(request(target="/respond")).status == 200
        quick.expect_closed()
    assert gateway.metric("client_idle_timeouts_total") == before + 1


@pytest.mark.parametrize("fields, part", [(["Content-Length: 10"], b"half "),
                                          (["Transfer-Encoding: chunked"], b"a\r\nhalf "),
                                          (["Content-Length: 10"], b"")])
def test_a_slow_body(client, origin, fields, part):
    client.send(head_of("POST /quick HTTP/1.1", "Host: a", *fields), part)
    served = origin.accept()
    served.receive_head()
    expect_end(client, 408)
    served.expect_closed_without(b"0\r\n\r\n")


def test_a_body_that_drips(gateway, usual, origin):
    """Each byte comes in time, and all of them too slowly."""
    gateway.serve(with_rule(usual, under("/drip", "origin", timeouts={"body": "2s"})))
    with gateway.connect() as client:
        client.send(head_of("POST /drip HTTP/1.1", "Host: a", "Content-Length: 100000"))
        while not select.select([client.sock], [], [], 0.03)[0]:
            client.send("x")
        expect_status(client, 408, b"rate")
    origin.accept().expect_closed_without(b"\r\n\r\n")


# ---- origins that fail

def test_no_endpoint(client):
    client.send(request(target="/none"))
    expect_status(client, 503, b"no-endpoint")
    client.send(request("POST", "/none", body="x" * 100))
    expect_status(client, 503)


def test_a_refused_connection(gateway, refused):
    gateway.serve(configure(gateway, [cluster("refused", refused)]))
    with gateway.connect() as client:
        client.send(request(), request("POST", body="abc"))
        expect_status(client, 503, b"connect-failed")
        expect_status(client, 503, b"connect-failed")


def connect_without_waiting(port):
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", port))
    return sock


def test_a_connection_that_does_not_come_about(gateway):
    """A full backlog: the kernel answers nothing."""
    with Origin(backlog=0) as full:
        waiting = [connect_without_waiting(full.port) for _ in range(8)]
        clusters = [cluster("full", full), cluster("quick", full, **{"connect-timeout": QUICK})]
        gateway.serve(configure(gateway, clusters, [under("/cluster", "quick"),
                                                    under("/route", "full", timeouts={"connect": QUICK})]))
        assert gateway.get("/cluster").status == 503
        assert gateway.get("/route").status == 503
        for sock in waiting:
            sock.close()


def test_an_origin_that_does_not_answer(client, origin):
    client.send(request(target="/quick"), request("POST", "/quick", body="abc"))
    for method in ("GET", "POST"):
        served = origin.accept()
        assert served.receive_request().method == method
        expect_status(client, 504, b"origin-timeout")
        served.expect_closed()


def expect_half(client, origin, target):
    """The origin stops in its response, and the connection is cut. Returns the origin's end."""
    client.send(request(target=target))
    served = origin.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 200 OK", "Content-Length: 10"), b"half ")
    client.receive_head()
    client.expect(b"half ")
    client.expect_closed()
    return served


def test_an_origin_that_stops_in_its_response(gateway, usual, origin):
    gateway.serve(with_rule(usual, under("/half", "origin", timeouts={"response-body": QUICK})))
    with gateway.connect() as client:
        expect_half(client, origin, "/half").expect_closed()


def test_a_request_that_takes_too_long_as_a_whole(gateway, usual, origin):
    """The origin has time for the head of its response, where it is to send one."""
    gateway.serve(with_rule(usual, under("/half", "origin", timeouts={"request": "2s"})))
    with gateway.connect() as client:
        client.send(request(target="/request-timeout"))
        served = origin.accept()
        served.receive_request()
        expect_status(client, 504, b"request-timeout")
        served.expect_closed()
        expect_half(client, origin, "/half")


# ---- greedy clients

def test_connections_of_one_address_are_capped(gateway, usual):
    gateway.serve({**usual, "limits": {**usual["limits"], "connections-per-ip": 5}})
    before = gateway.metric("connections_refused_per_ip_total")
    source = "127.0.0.77"
    clients = [gateway.connect(source=source) for _ in range(5)]
    for one in clients:
        assert one.exchange(request(target="/respond")).status == 200
    with gateway.connect(source=source) as sixth:
        sixth.expect_closed()
    assert gateway.metric("connections_refused_per_ip_total") == before + 1
    with gateway.connect(source="127.0.0.78") as other:
        assert other.exchange(request(target="/respond")).status == 200
    clients.pop().close()
    gateway.wait_metric("connections", lambda count: count <= 4)
    with gateway.connect(source=source) as again:
        assert again.exchange(request(target="/respond")).status == 200
    for one in clients:
        one.close()


def test_requests_of_one_connection_are_capped(gateway, usual):
    gateway.serve({**usual, "limits": {**usual["limits"], "requests-per-connection": 3}})
    with gateway.connect() as client:
        client.send(request(target="/respond") * 5)
        answers = [client.receive_response() for _ in range(3)]
        assert [answer.closes for answer in answers] == [False, False, True]
        client.expect_closed()


def test_a_slow_reader_is_held_back_and_cut(gateway, origin):
    """It takes nothing of a large response: little is kept for it, the origin waits, others are served, and
    then it is cut."""
    pid, large = gateway.dataplane_pid(), 4 * kernels_hold()
    port = gateway.port_of("quick")
    resident = resident_bytes(pid)
    before = gateway.metric("client_write_timeouts_total")  # first, as a connection that says nothing is soon closed
    with gateway.connect(port, receive_buffer=4096) as reader:
        reader.send(request())
        served = origin.accept()
        served.receive_request()
        served.send(head_of("HTTP/1.1 200 OK", f"Content-Length: {large}"))
        taken = served.send_what_fits(b"x" * large)
        assert taken < kernels_hold() + (1 << 20)  # what kernels and the gateway hold is far from all of it
        assert gateway.metric("client_write_timeouts_total") == before + 1
    assert resident_bytes(pid) - resident < 48 << 20


def test_slow_readers_do_not_hold_others_up(gateway, client, origin):
    readers, pid = [], gateway.dataplane_pid()
    before = resident_bytes(pid)
    for _ in range(20):
        reader = gateway.connect(receive_buffer=4096)
        reader.send(request(target="/large"))
        served = origin.accept()
        served.receive_request()
        served.send(head_of("HTTP/1.1 200 OK", "Content-Length: 100000000"))
        served.sock.setblocking(False)
        readers.append((reader, served))
    for _reader, served in readers:
        fill(served.sock)
    for number in range(50):
        client.send(request(target=f"/{number}"))
        other, _ = origin.accept_request(f"/{number}")
        other.receive_request()
        other.send(response(body="quick"))
        assert client.receive_response().body == b"quick"
        for _reader, served in readers:
            fill(served.sock)
    assert gateway.metric("buffered_bytes") <= 21 * 2 * 262144
    assert resident_bytes(pid) - before < 100 << 20
    for reader, served in readers:
        reader.close()
        served.sock.settimeout(20)


def fill(sock):
    """Sends until the kernel takes no more."""
    try:
        while True:
            sock.send(b"x" * 65536)
    except BlockingIOError:
        pass


def test_a_slow_origin_holds_its_client_back(gateway, client, origin):
    """An upload that the origin does not read: credit ends, and the client's kernel is full before the
    gateway's memory is."""
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Content-Length: 500000000"))
    served = origin.accept()
    served.receive_head()
    client.sock.setblocking(False)
    fill(client.sock)
    assert gateway.metric("buffered_bytes") <= 3 * 262144
    served.reset()
    client.sock.settimeout(20)
    assert client.receive_response().status == 502
    gateway.wait_metric("exchanges", lambda count: count == 0)
    assert gateway.metric("buffered_bytes") == 0


def test_a_large_response_arrives_while_its_request_is_not_read(client, origin):
    """Both directions are full, and the client begins to read: only credit moves what was kept of the
    response."""
    body = b"x" * (kernels_hold() + (8 << 20))
    client.send(head_of("POST / HTTP/1.1", "Host: a", "Content-Length: 500000000"))
    served = origin.accept()
    served.receive_head()
    assert client.send_until_full(b"u" * len(body))
    rest = served.send_until_full(response(body=body))
    assert rest
    sender = threading.Thread(target=served.send_what_fits, args=(rest,))
    sender.start()
    try:
        assert client.receive_response().body == body
    finally:
        client.close()  # lets the sender go, whatever happened
        sender.join()


def test_waiting_requests_reserve_little(gateway, usual, origin):
    """Many requests wait for their origin at the same time, within a small budget."""
    gateway.serve({**usual, "limits": {**usual["limits"], "worker-buffer": "8MiB"}})
    waiting = []
    for number in range(120):
        one = gateway.connect()
        one.send(request(target=f"/{number}"))
        served = origin.accept()  # its connection is there: what it reserves is reserved
        assert served.receive_request().target == f"/{number}"
        waiting.append((one, served))
    for number, (one, served) in enumerate(waiting):
        served.send(response(body=f"{number}"))
        assert one.receive_response().body == f"{number}".encode()
        one.close()


def test_nothing_is_held_when_nothing_runs(gateway, origin):
    gateway.wait_metric("connections", lambda count: count == 0)
    assert gateway.metric("exchanges") == 0
    assert gateway.metric("buffered_bytes") == 0
