"""gRPC through the gateway, with the clients and servers of Debian's python3-grpcio: all four forms of calls, metadata, cancellation,
deadlines, large messages, and errors that the gateway makes itself; in plaintext and over TLS."""
import pathlib
import queue
import sys

import grpc
import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "control"))

from certificates import Authority  # noqa: E402  (found by the line above)
from configuration import QUICK, cluster, configure, listener, under  # noqa: E402
from gateway import resident_bytes, wait_until  # noqa: E402
from grpc_echo import OPTIONS, PATIENCE, SERVICE, serving  # noqa: E402

MEBIBYTE = 1 << 20
HELD_MOST = 512 << 10  # body bytes of one exchange, both ways (`limits.buffer` is 256 KiB for each)
NAME = "grpc.example"


@pytest.fixture(scope="module")
def echo():
    with serving() as echo:
        yield echo


@pytest.fixture(scope="module")
def authority(gateway):
    return Authority(gateway.folder / "authority-of-grpc")


@pytest.fixture(scope="module")
def tls(gateway, authority):
    certificate, key = map(str, authority.pair(gateway.folder / "grpc", "site", [NAME]))
    return {"certificates": [{"certificate": certificate, "key": key}]}


@pytest.fixture
def site(gateway, echo, refused, tls):
    rules = [under("/test.Echo/Quick", "echo", timeouts={"request": QUICK}),
             under("/test.Nobody", "nobody"),
             under("/test.Echo", "echo")]
    both = listener(gateway, protocols=["http1", "http2"])
    secure = listener(gateway, name="grpc-tls", address=f"127.0.0.1:{gateway.port_of('grpc-tls')}", tls=tls)
    table = configure(gateway, [], rules, listeners=[both, secure])
    table["clusters"] = [cluster("echo", f"127.0.0.1:{echo.port}", protocol="http2"), cluster("nobody", refused, protocol="http2")]
    gateway.serve(table)
    echo.forget()
    yield gateway
    gateway.wait_metric("exchanges", lambda count: count == 0)


def connect(site, authority, is_secure):
    if not is_secure:
        return grpc.insecure_channel(f"127.0.0.1:{site.port}", options=OPTIONS)
    return grpc.secure_channel(f"127.0.0.1:{site.port_of('grpc-tls')}", grpc.ssl_channel_credentials(authority.pem.read_bytes()),
                               options=[*OPTIONS, ("grpc.ssl_target_name_override", NAME)])


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def channel(request, site, authority):
    with connect(site, authority, request.param) as channel:
        yield channel


def code_of(call):
    """The status with which a call fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_unary_with_metadata_both_ways(channel):
    answer, call = channel.unary_unary(SERVICE + "Unary").with_call(b"hello", metadata=[("x-asked", "this")], timeout=PATIENCE)
    assert answer == b"hello"
    assert dict(call.initial_metadata())["x-initial"] == "this"
    trailing = dict(call.trailing_metadata())
    assert (trailing["x-trailing"], trailing["x-bytes-bin"]) == ("done", b"\x00\xff")


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 65536, 4 * MEBIBYTE, 16 * MEBIBYTE])
def test_messages_of_many_sizes(channel, size):
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert channel.unary_unary(SERVICE + "Unary")(message, timeout=PATIENCE) == message


def test_a_stream_of_requests(channel):
    parts = [b"%d " % number for number in range(1000)]
    assert channel.stream_unary(SERVICE + "Collect")(iter(parts), timeout=PATIENCE) == b"".join(parts)


def test_a_stream_of_responses(channel):
    assert list(channel.unary_stream(SERVICE + "Repeat")(b"1000 again", timeout=PATIENCE)) == [b"again"] * 1000


def test_streams_both_ways_message_by_message(channel):
    """Each message is sent only after the answer to the one before has come."""
    asked = queue.Queue()
    answers = channel.stream_stream(SERVICE + "Chat")(iter(asked.get, None), timeout=PATIENCE)
    for number in range(50):
        asked.put(b"%d" % number)
        assert next(answers) == b"> %d" % number
    asked.put(None)
    assert list(answers) == []


def test_many_calls_at_once(channel):
    unary = channel.unary_unary(SERVICE + "Unary")
    calls = [unary.future(b"%d" % number, timeout=PATIENCE) for number in range(300)]
    assert [call.result() for call in calls] == [b"%d" % number for number in range(300)]


def test_the_status_of_the_server_arrives(channel):
    assert code_of(lambda: channel.unary_unary(SERVICE + "Fail")(b"", timeout=PATIENCE)) == (
        grpc.StatusCode.FAILED_PRECONDITION, "not today: 100 % \u00e4")


def test_cancelling_reaches_the_server(channel, echo):
    call = channel.unary_unary(SERVICE + "Hang").future(b"", timeout=PATIENCE)
    assert echo.events.get(timeout=PATIENCE) == "began"
    call.cancel()
    assert echo.events.get(timeout=PATIENCE) == "cancelled"


def test_cancelling_in_a_stream_of_responses(channel, echo):
    answers = channel.unary_stream(SERVICE + "HangOn")(b"", timeout=PATIENCE)
    assert next(answers) == b"first"
    assert echo.events.get(timeout=PATIENCE) == "began"
    answers.cancel()
    assert echo.events.get(timeout=PATIENCE) == "cancelled"


def test_the_deadline_of_a_call_holds_for_the_server_too(channel, echo):
    channel.unary_unary(SERVICE + "Unary")(b"", timeout=PATIENCE)  # now all connections are there
    code, _ = code_of(lambda: channel.unary_unary(SERVICE + "Hang")(b"", timeout=3))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert [echo.events.get(timeout=PATIENCE) for _ in range(2)] == ["began", "cancelled"]


def test_what_a_call_says_of_its_deadline_is_kept_here(site, channel):
    """A client that says a deadline and does not keep it itself: the gateway ends the call."""
    call = channel.unary_unary(SERVICE + "Hang").future(b"", metadata=[("grpc-timeout", "200m")])
    assert call.exception(timeout=PATIENCE).code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_time_out_of_the_route_is_a_deadline(channel):
    """The call has no deadline of its own."""
    ended = channel.unary_unary("/test.Echo/Quick/Hang").future(b"").exception(timeout=PATIENCE)
    assert ended.code() == grpc.StatusCode.DEADLINE_EXCEEDED and "request-timeout" in ended.details(), ended


def test_errors_of_the_gateway_are_said_in_grpc(channel):
    code, details = code_of(lambda: channel.unary_unary("/test.Missing/Unary")(b"", timeout=PATIENCE))
    assert code == grpc.StatusCode.UNIMPLEMENTED and "no-route" in details, (code, details)
    code, details = code_of(lambda: channel.unary_unary("/test.Nobody/Unary")(b"", timeout=PATIENCE))
    assert code == grpc.StatusCode.UNAVAILABLE and "connect-failed" in details


def test_a_client_that_pings_is_well_behaved(site):
    """Keep-alive pings while a call is open, as often as clients may be told to."""
    options = [*OPTIONS, ("grpc.keepalive_time_ms", 100), ("grpc.keepalive_permit_without_calls", 1),
               ("grpc.http2.max_pings_without_data", 0), ("grpc.http2.bdp_probe", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{site.port}", options=options) as channel:
        asked = queue.Queue()
        answers = channel.stream_stream(SERVICE + "Chat")(iter(asked.get, None), timeout=PATIENCE)
        asked.put(b"one")
        assert next(answers) == b"> one"
        pings = site.metric("client_received_bytes_total")
        site.wait_metric("client_received_bytes_total", lambda bytes: bytes >= pings + 5 * 17)
        asked.put(b"two")
        assert next(answers) == b"> two"
        asked.put(None)


def is_at_rest(site, channel):
    """Other calls on the same connections have come and gone, and of the stream no byte has moved."""
    held = site.metric("buffered_bytes")
    for _ in range(5):
        channel.unary_unary(SERVICE + "Unary")(b"", timeout=PATIENCE)
    return held > 0 and site.metric("buffered_bytes") == held


def test_a_large_stream_to_a_slow_reader(channel, site):
    """32 MiB of which the client takes nothing at first: the gateway holds a bounded part of it."""
    before = resident_bytes(site.dataplane_pid())
    answers = channel.unary_stream(SERVICE + "Repeat")(b"512 " + b"x" * 65536, timeout=60)
    assert next(answers) == b"x" * 65536
    wait_until("the flow has come to rest", lambda: is_at_rest(site, channel))
    assert site.metric("buffered_bytes") <= HELD_MOST
    assert resident_bytes(site.dataplane_pid()) - before < 16 * MEBIBYTE
    assert sum(1 for _ in answers) == 511
