"""The double of HTTP/3 against itself, without a gateway: what its tests of the gateway rely on."""
import pytest

import http3_peers
from bodies import Flow, bytes_at, carry, fill
from certificates import Authority
from loop import Loop
from talk import CANCEL, INTERNAL_ERROR, Client, Origin
from udp_relay import Plan, Relay

if http3_peers.reason:
    pytest.skip(http3_peers.reason, allow_module_level=True)

from aioquic.buffer import Buffer, encode_uint_var  # noqa: E402  (there may be no aioquic)

import http3  # noqa: E402
import quic  # noqa: E402

MIB = 1 << 20


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("double")
    return Authority(folder / "authority").pair(folder, "origin", ["origin.example"])


@pytest.fixture
def origin(certificate):
    loop, config = Loop(), quic.configuration(is_client=False)
    config.load_cert_chain(*certificate)
    origin = Origin(quic.Listening(loop, None, config), lambda link: http3.Connection(loop, link, False))
    yield origin
    origin.close()


def connect(origin, port):
    config = quic.configuration(is_client=True, server_name="origin.example")
    endpoint = quic.ClientEndpoint(origin.loop, ("127.0.0.1", port), config)
    return http3.Connection(origin.loop, endpoint.link, True)


@pytest.fixture
def client(origin):
    with Client(origin.loop, lambda: connect(origin, origin.listening.port), "origin.example") as client:
        yield client


def test_heads_bodies_interims_and_trailers(client, origin):
    asked = client.ask("POST", "/a?b", "X-A: 1", is_open=True).send("some", "body").end("X-T: trailer")
    served = origin.request()
    assert (served.head.method, served.head.target, served.head["x-a"]) == ("POST", "/a?b", "1")
    assert served.rest() == b"somebody" and served.trailers.get("x-t") == "trailer"
    served.interim(103, "Link: x")
    assert asked.next_interim()["link"] == "x"
    served.respond(200, "X-B: 2", is_open=True).send("answer").end("X-E: done")
    assert asked.answer()["x-b"] == "2" and asked.rest() == b"answer" and asked.trailers.get("x-e") == "done"


def test_large_bodies_both_ways(client, origin):
    asked = client.ask("POST", "/", is_open=True)
    served = origin.request()
    served.respond(200, is_open=True)
    up = Flow(asked, served, 4 * MIB)
    carry(up, Flow(served, asked, 4 * MIB, after=up))


def test_who_does_not_read_stops_the_other(client, origin):
    asked = client.ask(target="/large")
    served = origin.request()
    served.respond(200, length=2 * MIB, is_open=True)
    assert asked.answer().status == 200
    fill(served, 2 * MIB)
    assert quic.WINDOW // 2 < len(asked.received) <= quic.WINDOW
    assert asked.receive(2 * MIB) == bytes_at(0, 2 * MIB)
    served.end()
    assert asked.rest() == b""


def test_resets(client, origin):
    asked = client.ask("POST", "/", is_open=True).send("some")
    served = origin.request()
    assert served.receive(4) == b"some"
    asked.cancel()
    assert served.fate() == CANCEL
    again = client.ask()
    origin.request().respond(200, is_open=True).send("some").flush().cancel(INTERNAL_ERROR)
    assert again.fate() == INTERNAL_ERROR


def test_many_streams_with_fields_from_the_table(client, origin):
    for number in range(200):
        asked = client.ask("GET", f"/{number}", f"X-Long-Name-Of-A-Field: value {number % 7} that comes again")
        served = origin.request()
        served.respond(200, f"X-Another-Long-Name: value {number % 7}", body=f"{number}")
        assert asked.rest() == f"{number}".encode() and asked.answer()["x-another-long-name"] == f"value {number % 7}"


def test_a_tunnel(client, origin):
    asked = client.ask_tunnel()
    served = origin.request()
    served.agree_on_tunnel()
    assert asked.answer().status == 200
    asked.send("there")
    served.send("back")
    assert served.receive(5) == b"there" and asked.receive(4) == b"back"


def test_the_end_of_a_connection(client, origin):
    asked = client.ask()
    origin.request().connection.close()
    assert asked.fate() == "cut"
    assert client.ask().connection is not asked.connection
    origin.request().respond(204)


def test_another_port_in_the_middle_of_a_transfer(client, origin):
    asked = client.ask(target="/large")
    served = origin.request()
    served.respond(200, is_open=True)
    flow = Flow(served, asked, 4 * MIB)
    client.loop.until("a part of it", lambda: flow.step() and flow.seen > MIB)
    asked.connection.pipe.endpoint.rebind()
    carry(flow)


def test_a_bad_network(origin):
    """A tenth is lost both ways, others come twice or late. (The client's address stays: aioquic as a server asks a new one
    only once whether it is there, and waits forever when that is lost.)"""
    relay = Relay(origin.loop, ("127.0.0.1", origin.listening.port), Plan(loss=0.1, duplicate=0.05, reorder=0.05))
    with Client(origin.loop, lambda: connect(origin, relay.port), "origin.example") as client:
        asked = client.ask("POST", "/", is_open=True)
        served = origin.request()
        served.respond(200, is_open=True)
        up = Flow(asked, served, MIB)
        carry(up, Flow(served, asked, MIB, after=up))
    counts = relay.counts()
    assert all(counts[way]["lost"] and counts[way]["overtaken"] for way in ("there", "back"))
    relay.close()


def test_a_second_copy_of_a_stop_is_no_error(client, origin):
    asked = client.ask("POST", "/", is_open=True)
    served = origin.request()
    served.respond(200, is_open=True)
    engine, frame = served.connection.quic, encode_uint_var(served.number) + encode_uint_var(http3.REQUEST_CANCELLED)
    for _ in range(2):
        engine._handle_stop_sending_frame(None, 5, Buffer(data=frame))  # pylint: disable=protected-access
    served.connection.pipe.go_on()
    assert asked.fate() == 0
    other = client.ask(target="/other")
    origin.request("/other").respond(200, body="still here")
    assert other.rest() == b"still here"
