"""What nobody honest sends to a listener that passes QUIC through: it is bounded and counted, and those who are served do not
notice."""
import os

import pytest

from gateway import wait_until
from passed import Client, Datagrams, FirstFlight, Server, connect, long_packet, serve

MIB, FLOWS, WORKERS = 1 << 20, 16, 4
INITIAL = 1


@pytest.fixture
def server(loop, certificate):
    return Server(loop, "one", certificate)


def initial(n=1200, dcid=None):
    """It cannot be opened. Token of no octets, and a length up to the end."""
    header = long_packet(INITIAL, dcid or os.urandom(8), os.urandom(8), size=0)
    return (header + b"\0" + (0x4000 | n - len(header) - 3).to_bytes(2, "big")).ljust(n, b"x")


def dropped(gateway, why):
    return gateway.metric(f"quic_pass_dropped_{why}_total")


def test_each_drop_has_a_counter(own, loop, server):
    serve(own, {"a": [server]}, routes=[{"server-names": "a.test", "cluster": "a"}])
    hostile = {
        "malformed": [b"\x40", long_packet(INITIAL, b"1" * 21, b"", size=1200), initial(dcid=b"short"),
                      long_packet(0, b"12345678", b"12345678"), long_packet(INITIAL, b"1" * 8, b"", first=0xF0)],
        "small": [initial(1199), long_packet(0x1a2a3a4a, b"12345678", b"", size=1100)],
        "hello": [initial()],
        "unroutable": [b"\x40" + os.urandom(40), long_packet(0x1a2a3a4a, b"12345678", b"")],
    }
    for why, datagrams in hostile.items():
        for datagram in datagrams:
            before = dropped(own, why)
            with Datagrams(own.port_of("quic")) as client:
                client.sock.send(datagram)
                wait_until(f"{datagram[:40]} is {why}", lambda count=before, w=why: dropped(own, w) == count + 1)
    assert own.metric("quic_pass_flows") == 0
    assert connect(own, loop).whose() == "one"


def test_a_flood_takes_nothing_from_those_who_are_served(gateway, loop, server):
    """Every forged client has an address of its own. The flows of the real one are older than all of them."""
    serve(gateway, {"all": [server]}, cluster="all", **{"max-flows": FLOWS})
    client = connect(gateway, loop)
    stream = client.ask(MIB)
    client.wait(stream, at_least=MIB // 4)
    evicted = gateway.metric("quic_pass_evicted_total")
    for _ in range(20 * FLOWS * WORKERS):
        with Datagrams(gateway.port_of("quic")) as forged:
            forged.sock.send(initial())
        loop.turn(0)
    wait_until("evictions", lambda: gateway.metric("quic_pass_evicted_total") - evicted >= 18 * FLOWS * WORKERS)
    assert gateway.metric("quic_pass_flows") <= FLOWS * WORKERS
    assert client.wait(stream) == ("one", MIB)
    assert client.whose() == "one"
    assert connect(gateway, loop).whose() == "one"  # newcomers take the places of forged ones


def test_no_room_but_for_those_who_are_served(own, loop, server):
    """All flows of both workers are proven: whoever comes then is turned away, and counted."""
    serve(own, {"all": [server]}, cluster="all", **{"max-flows": FLOWS})
    clients = []
    while dropped(own, "full") == 0:
        clients.append(connect(own, loop))
        assert len(clients) < 8 * FLOWS, "nobody is turned away"
        loop.is_quiet(lambda: clients[-1].quic.is_ready, 0.05)
    for client in clients:
        if client.quic.is_ready:
            assert client.whose() == "one"
    assert own.metric("quic_pass_proven_total") <= 2 * FLOWS


def test_names_that_never_come(own, loop, certificate):
    """The last part of a ClientHello, from many: what is held for them is bounded."""
    server = Server(loop, "one", certificate)
    serve(own, {"a": [server]}, routes=[{"server-names": "a.test", "cluster": "a"}], **{"max-hellos": 4, "handshake-timeout": "1s"})
    parts = last_datagrams(loop, 40)
    for part in parts:
        with Datagrams(own.port_of("quic")) as client:
            client.sock.send(part)
    wait_until("evictions", lambda: own.metric("quic_pass_evicted_total") >= 40 - 2 * 4)
    assert own.metric("quic_pass_hellos") <= 2 * 4
    assert connect(own, loop).whose() == "one"
    wait_until("the time-out", lambda: own.metric("quic_pass_hellos") == 0)


def last_datagrams(loop, count):
    """Of so many clients, each the last of several that its ClientHello needs."""
    found = []
    for _ in range(count):
        with Datagrams() as nowhere:
            flight = FirstFlight(reverses=True)
            client = Client(loop, nowhere.port, "a.test", first_flight=flight, protocols=["x" * 250] * 12)
            assert flight.count >= 3
            found.append(nowhere.sock.recv(2000))
            client.endpoint.close()
            client.link.end()
    return found


def test_addresses_that_nobody_answers(own):
    """An endpoint that says nothing: flows end after the handshake's time-out."""
    with Datagrams() as origin:
        serve(own, {"all": [origin]}, cluster="all", **{"handshake-timeout": "500ms"})
        with Datagrams(own.port_of("quic")) as client:
            client.sock.send(initial())
            assert origin.sock.recv(2000)[:1] == b"\xc0"
            wait_until("the flow ends", lambda: own.metric("quic_pass_unanswered_total") == 1)
            assert own.metric("quic_pass_flows") == 0
