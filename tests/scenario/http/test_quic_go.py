"""quic-go, a client of HTTP/3 that others have made: downloads and uploads, early data, and gRPC, whose own clients do not
speak HTTP/3."""
import hashlib
import pathlib
import sys
import urllib.parse

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(TESTS / "scenario/control"), str(TESTS / "quic_go_client")]

import quic_go  # noqa: E402  (found by the line above)
from certificates import Authority  # noqa: E402
from configuration import cluster, configure, listener, under  # noqa: E402
from gateway import wait_until  # noqa: E402
from grpc_echo import PATIENCE, SERVICE, serving  # noqa: E402

if quic_go.reason:
    pytest.skip(quic_go.reason, allow_module_level=True)

NAME = "site.example"
MEBIBYTE = 1 << 20
DEADLINE_EXCEEDED, FAILED_PRECONDITION, UNIMPLEMENTED, UNAVAILABLE = 4, 9, 12, 14   # of gRPC


@pytest.fixture(scope="module")
def echo():
    with serving() as echo:
        yield echo


@pytest.fixture(scope="module")
def authority(gateway):
    return Authority(gateway.folder / "authority-of-quic-go")


@pytest.fixture(name="tls", scope="module")
def certificate(gateway, authority):
    certificate, key = map(str, authority.pair(gateway.folder / "quic-go", "site", [NAME]))
    return {"certificates": [{"certificate": certificate, "key": key}]}


@pytest.fixture
def site(gateway, echo, teller, nginx, refused, tls):
    rules = [under("/files", "nginx", rewrite={"prefix": "/"}), under("/test.Nobody", "nobody"), under("/test.Echo", "echo"),
             under("/tell", "teller")]
    clusters = [cluster("nginx", nginx), cluster("teller", teller),
                cluster("echo", f"127.0.0.1:{echo.port}", protocol="http2"), cluster("nobody", refused, protocol="http2")]
    fast = listener(gateway, name="quic-go", address=f"127.0.0.1:{gateway.port_of('quic-go')}", tls=tls, protocols=["http3"],
                    quic={"early-data": True})
    table = configure(gateway, [], rules, listeners=[listener(gateway), fast])
    table["clusters"] = clusters
    gateway.serve(table)
    echo.forget()
    yield gateway
    gateway.wait_metric("exchanges", lambda count: count == 0)


@pytest.fixture
def client(site, authority):
    with quic_go.Client(authority.pem, site.port_of("quic-go"), NAME) as client:
        yield client


def digest(size):
    return hashlib.sha256((b"0123456789" * (size // 10 + 1))[:size]).hexdigest()


# ---- files

@pytest.mark.parametrize("size", [0, 1, 16384, 8 * MEBIBYTE])
def test_downloads(client, nginx, size):
    content = b"0123456789" * (size // 10 + 1)
    (nginx.files / "of-quic-go").write_bytes(content[:size])
    answer = client.ask("GET", "/files/of-quic-go")
    assert (answer["status"], answer["size"], answer["sha256"]) == (200, size, digest(size)), answer


@pytest.mark.parametrize("size", [1, 16385, 8 * MEBIBYTE])
def test_uploads(client, nginx, size):
    answer = client.ask("PUT", "/files/by-quic-go", size=size)
    assert answer["status"] in (201, 204), answer
    assert hashlib.sha256((nginx.files / "by-quic-go").read_bytes()).hexdigest() == digest(size)
    (nginx.files / "by-quic-go").unlink()


def test_many_requests_at_once(client):
    numbers = [client.begin("POST", f"/tell/{number}", size=1000 + number) for number in range(90)]
    assert [client.next(number)["status"] for number in numbers] == [200] * 90


def test_early_data(client, teller):
    """None is taken in the first seconds of a data plane; this library then says that its request was not sent. When it says
    that early data was taken, that may have been its SETTINGS alone: the handshake can be over before it writes the request.
    So it is asked until one request has come early; that each such request is marked is test_early_data.py's."""
    def is_early():
        client.reconnect()
        answer = client.ask("GET", "/tell/early", early=True)
        if answer["event"] != "answer":
            return False
        marked = teller.latest.fields.get("early-data")
        assert marked is None or (marked == "1" and answer["early"])
        return marked == "1"

    assert client.ask("GET", "/tell/first")["status"] == 200
    wait_until("a request comes early", is_early)
    client.reconnect()
    assert client.ask("POST", "/tell/late", size=10)["status"] == 200
    assert teller.latest.fields.get("early-data") is None


# ---- gRPC

def test_a_call_with_metadata_both_ways(client):
    call = client.call(SERVICE + "Unary", **{"x-asked": "this"}).send(b"hello").end()
    head = call.next("head")
    assert (head["status"], head["fields"]["content-type"], head["fields"]["x-initial"]) == (200, "application/grpc", "this")
    assert call.message() == b"hello"
    trailers = call.next("over")["trailers"]
    assert (trailers["grpc-status"], trailers["x-trailing"], trailers["x-bytes-bin"]) == ("0", "done", "AP8")


@pytest.mark.parametrize("size", [0, 1, 16384, 4 * MEBIBYTE])
def test_messages_of_many_sizes(client, size):
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    call = client.call(SERVICE + "Unary").send(message).end()
    call.next("head")
    assert call.message() == message and call.status()[0] == 0


def test_a_stream_of_requests(client):
    call = client.call(SERVICE + "Collect")
    for number in range(300):
        call.send(b"%d " % number)
    call.end().next("head")
    assert call.message() == b"".join(b"%d " % number for number in range(300)) and call.status()[0] == 0


def test_a_stream_of_responses(client):
    call = client.call(SERVICE + "Repeat").send(b"300 again").end()
    call.next("head")
    assert [call.message() for _ in range(300)] == [b"again"] * 300 and call.status()[0] == 0


def test_streams_both_ways_message_by_message(client):
    """Each message is sent only after the answer to the one before has come."""
    call = client.call(SERVICE + "Chat").send(b"0")
    call.next("head")
    for number in range(1, 50):
        assert call.message() == b"> %d" % (number - 1)
        call.send(b"%d" % number)
    assert call.message() == b"> 49"
    assert call.end().status()[0] == 0


def test_many_calls_at_once(client):
    calls = [client.call(SERVICE + "Unary").send(b"%d" % number).end() for number in range(90)]
    for number, call in enumerate(calls):
        call.next("head")
        assert call.message() == b"%d" % number and call.status()[0] == 0


def test_the_status_of_the_server_arrives(client):
    """It has no message: the server says all in one head, or in trailers."""
    call = client.call(SERVICE + "Fail").send(b"").end()
    head = call.next("head")["fields"]
    status = (int(head["grpc-status"]), head["grpc-message"]) if "grpc-status" in head else call.status()
    assert (status[0], urllib.parse.unquote(status[1])) == (FAILED_PRECONDITION, "not today: 100 % \u00e4")


def test_cancelling_reaches_the_server(client, echo):
    call = client.call(SERVICE + "HangOn").send(b"").end()
    call.next("head")
    assert call.message() == b"first" and echo.events.get(timeout=PATIENCE) == "began"
    call.cancel()
    assert echo.events.get(timeout=PATIENCE) == "cancelled"
    call.next("failed")


def test_the_deadline_of_a_call_is_kept_by_the_gateway(client, echo):
    """This client says one and does not keep it itself. The call before it makes the connections."""
    first = client.call(SERVICE + "Unary").send(b"").end()
    first.next("head")
    assert first.message() == b"" and first.status()[0] == 0
    call = client.call(SERVICE + "Hang", **{"grpc-timeout": "3S"}).send(b"").end()
    head = call.next("head")["fields"]
    assert int(head.get("grpc-status") or call.status()[0]) == DEADLINE_EXCEEDED
    told = [echo.events.get(timeout=PATIENCE) for _ in range(2)]
    assert told == ["began", "cancelled"]


@pytest.mark.parametrize("target, code, word", [("/test.Missing/Unary", UNIMPLEMENTED, "no-route"),
                                                ("/test.Nobody/Unary", UNAVAILABLE, "connect-failed")])
def test_errors_of_the_gateway_are_said_in_grpc(client, target, code, word):
    head = client.call(target).send(b"").end().next("head")
    assert (head["status"], int(head["fields"]["grpc-status"])) == (200, code) and word in head["fields"]["grpc-message"]
