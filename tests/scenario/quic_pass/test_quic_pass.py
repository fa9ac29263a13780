"""QUIC that goes through: to pools by name, to the same endpoint whatever the address, and on while endpoints come and go."""
import os

import pytest

from gateway import wait_until
from passed import Datagrams, FirstFlight, QuicProtocolVersion, Server, connect, encrypted, ids_of, long_packet, serve

MIB = 1 << 20
KEY = bytes.fromhex("8f95f09245765f80256934e50c66207f")


@pytest.fixture
def servers(loop, certificate):
    return [Server(loop, name, certificate) for name in ("one", "two", "three")]


def by_names(gateway, servers, **more):
    """Two pools by name, and one for the rest."""
    one, two, three = servers
    routes = [{"server-names": ["a.test", "aa.test"], "cluster": "a"}, {"server-names": "*.b.test", "cluster": "b"}]
    serve(gateway, {"a": [one], "b": [two], "c": [three]}, routes=routes, **more)


def test_names_lead_to_pools(gateway, loop, servers):
    by_names(gateway, servers, cluster="c")
    for name, wanted in (("a.test", "one"), ("aa.test", "one"), ("A.Test", "one"), ("x.b.test", "two"), ("b.test", "three"),
                         ("x.y.b.test", "three"), ("other.test", "three"), (None, "three")):
        client = connect(gateway, loop, name)
        assert client.whose() == wanted, name
        client.link.close()
    assert gateway.metric("quic_pass_proven_total") >= 8


def test_a_name_without_a_pool_is_dropped(gateway, loop, servers):
    by_names(gateway, servers)
    before = gateway.metric("quic_pass_dropped_unroutable_total")
    client = connect(gateway, loop, "other.test")
    loop.until("a drop", lambda: gateway.metric("quic_pass_dropped_unroutable_total") > before)
    assert not client.answers and not any(s.accepted for s in servers)
    assert connect(gateway, loop, "a.test").whose() == "one"


def test_version_2(gateway, loop, servers):
    by_names(gateway, servers)
    client = connect(gateway, loop, "x.b.test", original_version=QuicProtocolVersion.VERSION_2,
                     supported_versions=[QuicProtocolVersion.VERSION_2])
    assert client.whose() == "two"


@pytest.mark.parametrize("reverses", [False, True], ids=["as sent", "last first"])
def test_a_client_hello_of_several_datagrams(gateway, loop, servers, reverses):
    by_names(gateway, servers)
    client = connect(gateway, loop, "a.test", first_flight=FirstFlight(reverses), protocols=[c * 250 for c in "abcdefghijkl"])
    assert client.first_flight.count >= 3
    assert client.whose() == "one"


def test_nothing_is_lost_when_addresses_change(gateway, loop, servers):
    """The connection ID is known: whichever worker of the four gets the datagrams of the new address."""
    by_names(gateway, servers)
    client = connect(gateway, loop, "a.test")
    stream = client.ask(2 * MIB)
    before = gateway.metric("quic_pass_moved_total")
    for part in range(1, 9):
        client.wait(stream, at_least=part * 2 * MIB // 10)
        client.rebind()
    assert client.wait(stream) == ("one", 2 * MIB)
    assert gateway.metric("quic_pass_moved_total") >= before + 8
    assert servers[0].accepted == 1


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_ids_that_name_servers(gateway, loop, certificate, key):
    """A client takes another connection ID together with another address: only what the ID says can tell."""
    servers = [Server(loop, f"server {i}", certificate, ids_of(bytes([0xab, i]), 3, key)) for i in range(5)]
    endpoints = [{"address": s.endpoint, "metadata": {"quic-server-id": f"ab{i:02x}"}} for i, s in enumerate(servers)]
    server_ids = {"rotation": 3, "length": 2, "nonce-length": 5, **({"key": key.hex()} if key else {})}
    serve(gateway, {"all": endpoints}, cluster="all", **{"server-ids": server_ids})
    for _ in range(3):
        client = connect(gateway, loop)
        stream = client.ask(MIB)
        for part in range(1, 5):
            client.wait(stream, at_least=part * MIB // 6)
            client.migrate()
        name, n = client.wait(stream)
        assert n == MIB and client.whose() == name
        client.link.close()
    assert sum(s.accepted for s in servers) == 3


def test_ids_of_another_form_while_connections_are_open(gateway, loop, certificate):
    """Endpoints go over to longer server IDs, encrypted, by another configuration. Who has IDs of the first one still moves."""
    first, second = {"rotation": 3, "length": 2, "nonce-length": 5}, {"rotation": 4, "length": 3, "nonce-length": 4, "key": KEY.hex()}
    servers = [Server(loop, f"server {i}", certificate, ids_of(bytes([0xab, i]), 3)) for i in range(3)]
    endpoints = [{"address": s.endpoint, "metadata": {"quic-server-id": f"ab{i:02x}", "quic-server-id-4": f"cdef{i:02x}"}}
                 for i, s in enumerate(servers)]
    serve(gateway, {"all": endpoints}, cluster="all", **{"server-ids": first})
    before = connect(gateway, loop)
    name = before.whose()
    loop.until("IDs to move with", lambda: len(before.quic._peer_cid_available) >= 4)  # pylint: disable=protected-access
    serve(gateway, {"all": endpoints}, cluster="all", **{"server-ids": [first, second]})
    for i, server in enumerate(servers):
        server.make_id = ids_of(bytes([0xcd, 0xef, i]), 4, KEY)
    after = connect(gateway, loop)
    names = {before: name, after: after.whose()}
    for client in (before, after, before, after):
        client.migrate()
        assert client.whose() == names[client]
    assert sum(s.accepted for s in servers) == 2


def test_no_more_connections_than_there_may_be(own, loop, servers):
    """The bound of the cluster, over both workers. Once another one is silent there is room."""
    serve(own, {"all": servers}, cluster="all", bounds={"connections": 2})
    clients = [connect(own, loop) for _ in range(2)]
    assert all(client.whose() for client in clients)
    third = connect(own, loop)
    loop.until("it is refused", lambda: own.metric("quic_pass_dropped_overflow_total") > 0)
    assert sum(s.accepted for s in servers) == 2
    serve(own, {"all": servers}, cluster="all", bounds={"connections": 2}, **{"idle-timeout": "1s"})
    assert clients[0].whose()  # its last word counts from here
    clients[0].endpoint.close()

    def has_room():
        clients[1].ping()
        return third.quic.is_ready
    loop.until("there is room", has_room)
    assert third.whose() and clients[1].whose()
    assert sum(s.accepted for s in servers) == 3


def test_an_endpoint_that_left_keeps_its_flows_for_a_while(own, loop, servers):
    one, two, _ = servers
    serve(own, {"all": [one]}, cluster="all")
    client = connect(own, loop)
    assert client.whose() == "one"
    serve(own, {"all": [two]}, cluster="all")
    assert client.whose() == "one"
    assert own.metric("quic_pass_leaving") == 1
    serve(own, {"all": [two]}, cluster="all", **{"drain-timeout": "1s"})

    def is_cut():
        client.ping()
        return own.metric("quic_pass_drained_total") == 1
    loop.until("it is cut", is_cut)
    assert own.metric("quic_pass_leaving") == 0
    assert connect(own, loop).whose() == "two"


def test_the_example_of_the_draft():
    assert encrypted(bytes.fromhex("fdf726a9893ec05c0632d3956680baf0"), bytes.fromhex("31441a9c69c275")).hex() == "67947d29be054a"


def test_one_client_goes_to_one_endpoint(gateway, loop, servers):
    """By its address and port, on whatever worker, in whatever process."""
    serve(gateway, {"all": servers}, cluster="all")
    client = connect(gateway, loop)
    name = client.whose()
    killed = gateway.kill_dataplane()
    wait_until("another data plane", lambda: gateway.dataplane_pid() not in (None, killed))
    wait_until("it serves", lambda: gateway.probe(gateway.admin_port, "readyz") == 200)
    gateway.wait_in_sync()
    assert client.whose() == name  # nobody knows the connection any more, but its address leads there
    assert sum(s.accepted for s in servers) == 1


def test_endpoints_that_leave_keep_their_flows(gateway, loop, servers):
    one, two, _ = servers
    serve(gateway, {"all": [one]}, cluster="all")
    client = connect(gateway, loop)
    stream = client.ask(MIB)
    client.wait(stream, at_least=MIB // 8)
    serve(gateway, {"all": [{"address": one.endpoint, "priority": 1}, two]}, cluster="all")
    assert connect(gateway, loop).whose() == "two"
    client.wait(stream, at_least=MIB // 4)
    client.rebind()  # who gets nothing new is still found
    client.wait(stream, at_least=MIB // 2)
    serve(gateway, {"all": [two]}, cluster="all")
    assert connect(gateway, loop).whose() == "two"
    assert client.wait(stream) == ("one", MIB)


def test_an_endpoint_that_is_not_there(gateway, loop, servers):
    with Datagrams() as dead:
        nobody = dead.endpoint
    serve(gateway, {"all": [nobody, servers[0]]}, cluster="all")
    before = gateway.metric("retries_connect_total")
    for _ in range(20):
        client = connect(gateway, loop)
        assert client.whose() == "one"
        client.link.close()
        if gateway.metric("retries_connect_total") > before:
            break
    assert gateway.metric("retries_connect_total") > before


def test_versions_that_nobody_knows(gateway):
    """They go on by address; a version negotiation comes back."""
    with Datagrams() as origin:
        serve(gateway, {"all": [origin]}, cluster="all")
        with Datagrams(gateway.port_of("quic")) as client:
            hello = long_packet(0x1a2a3a4a, os.urandom(30), os.urandom(30))
            client.sock.send(hello)
            data, address = origin.sock.recvfrom(2000)
            assert data == hello
            negotiation = long_packet(0, hello[37:67], hello[6:36], b"\0\0\0\1", first=0x80, size=0)
            origin.sock.sendto(negotiation, address)
            assert client.sock.recv(2000) == negotiation
            client.sock.send(hello)
            assert origin.sock.recvfrom(2000) == (hello, address)


def test_an_idle_flow_ends(own, loop, servers):
    serve(own, {"all": servers[:1]}, cluster="all")
    client = connect(own, loop)
    assert client.whose() == "one"
    assert own.metric("connections") == 1
    serve(own, {"all": servers[:1]}, cluster="all", **{"idle-timeout": "1s"})
    assert client.whose() == "one"  # its last word counts from here
    client.endpoint.close()
    wait_until("no flow", lambda: own.metric("quic_pass_flows") == 0)
    assert own.metric("connections") == 0
