"""Bytes between a client and an endpoint, and how connections end."""
import contextlib
import hashlib
import json
import os
import threading

import pytest

from configuration import QUICK
from gateway import resident_bytes, wait_until
from relayed import connect, ended, joined, relay_to
from wire import kernels_hold

MIB = 1 << 20


@pytest.fixture
def pair(gateway, endpoint):
    relay_to(gateway, endpoint)
    with joined(gateway, endpoint) as ends:
        yield ends


def test_bytes_pass_both_ways_as_they_are(pair):
    client, served = pair
    every = bytes(range(256)) * 40
    client.send(b"GET / HTTP/1.1\r\n\r\n", every)
    served.expect(b"GET / HTTP/1.1\r\n\r\n" + every)
    served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", every)
    client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + every)


def test_the_endpoint_may_speak_first(pair):
    client, served = pair
    served.send(b"220 welcome\r\n")
    client.expect(b"220 welcome\r\n")


def test_many_turns(pair):
    client, served = pair
    for turn in range(300):
        client.send(b"%d?" % turn)
        served.expect(b"%d?" % turn)
        served.send(b"%d!" % turn)
        client.expect(b"%d!" % turn)


# ---- ends

def test_a_client_that_has_ended_still_hears(pair):
    client, served = pair
    client.send(b"all of it").end_sending()
    assert served.receive_all() == b"all of it"
    served.send(b"an answer").end_sending()
    assert client.receive_all() == b"an answer"


def test_an_endpoint_that_has_ended_still_hears(pair):
    client, served = pair
    served.send(b"good bye").end_sending()
    assert client.receive_all() == b"good bye"
    client.send(b"wait: ", b"one more").end_sending()
    assert served.receive_all() == b"wait: one more"


def test_a_client_may_say_all_before_the_endpoint_is_there(gateway, endpoint):
    relay_to(gateway, endpoint)
    with connect(gateway) as client:
        client.send(b"at once").end_sending()
        with endpoint.accept() as served:
            assert served.receive_all() == b"at once"
            served.send(b"heard")
        assert client.receive_all() == b"heard"
    ended(gateway, request_bytes=7, response_bytes=5)


def test_a_reset_of_the_client_is_one_for_the_endpoint(gateway, pair):
    client, served = pair
    client.send(b"x")
    served.expect(b"x")
    client.reset()
    with pytest.raises(ConnectionResetError):
        served.receive_all()
    ended(gateway, error="client-gone", request_bytes=1)


def test_a_reset_of_the_endpoint_is_one_for_the_client(gateway, pair):
    client, served = pair
    served.send(b"x")
    client.expect(b"x")
    served.reset()
    with pytest.raises(ConnectionResetError):
        client.receive_all()
    ended(gateway, error="origin-reset", response_bytes=1)


def test_an_endpoint_that_closes_does_not_take_its_last_words_back(gateway, pair):
    """The client still sends; what the endpoint does not read any more is dropped, and the client reads in peace."""
    client, served = pair
    data = os.urandom(200000)
    served.send(data)
    wait_until("the gateway's kernel has it all", lambda: served.unacknowledged() == 0)
    served.close()

    def is_over():
        client.send_what_fits(b"x" * 1000)
        return gateway.metric("exchanges") == 0
    wait_until("the end of the exchange", is_over)
    assert client.receive_all() == data


def test_nothing_for_too_long(gateway, endpoint):
    relay_to(gateway, endpoint, tcp={"idle-timeout": QUICK})
    with joined(gateway, endpoint) as (client, served):
        client.expect_closed()
        served.expect_closed()
    ended(gateway, error="tunnel-idle")


def test_the_time_is_that_of_the_settings_without_a_word(gateway, endpoint):
    relay_to(gateway, endpoint, settings={"timeouts": {"tunnel-idle": QUICK}})
    with joined(gateway, endpoint) as (client, served):
        client.expect_closed()
        served.expect_closed()


def test_who_takes_nothing_is_cut(gateway, endpoint):
    relay_to(gateway, endpoint, listener={"timeouts": {"write": QUICK}})
    with joined(gateway, endpoint, receive_buffer=8192) as (client, served):
        served.send_what_fits(b"x" * 4 * kernels_hold())
        served.expect_closed_or_reset()
    ended(gateway, error="client-write-timeout")


# ---- much of it

def pump(connection, total, seed):
    """Sends `total` bytes and the end; returns their hash."""
    digest, block = hashlib.sha256(), hashlib.sha256(seed).digest() * 4096
    for at in range(0, total, len(block)):
        part = block[:min(len(block), total - at)]
        digest.update(part)
        connection.send(part)
    connection.end_sending()
    return digest.hexdigest()


def drink(connection):
    digest = hashlib.sha256()
    while connection.more():
        digest.update(connection.take(len(connection.buffer)))
    return digest.hexdigest()


def test_a_hundred_mebibytes_both_ways_at_once(pair):
    client, served = pair
    sent, threads = {}, []
    for name, end in (("up", client), ("down", served)):
        threads.append(threading.Thread(target=lambda n=name, e=end: sent.update({n: pump(e, 100 * MIB, n.encode())})))
    got = {}
    threads.append(threading.Thread(target=lambda: got.update(down=drink(client))))
    for thread in threads:
        thread.start()
    got["up"] = drink(served)
    for thread in threads:
        thread.join()
    assert got == sent


@pytest.mark.parametrize("reader", ["client", "endpoint"])
def test_a_slow_reader_costs_little(gateway, endpoint, reader):
    """Of 100 MiB nobody takes at first: the gateway holds its bound, and all of it arrives."""
    relay_to(gateway, endpoint, settings={"limits": {"buffer": "256KiB"}})
    with joined(gateway, endpoint, receive_buffer=8192 if reader == "client" else None) as (client, served):
        before = resident_bytes(gateway.dataplane_pid())
        source, sink = (served, client) if reader == "client" else (client, served)
        result = []
        thread = threading.Thread(target=lambda: result.append(pump(source, 100 * MIB, b"slow")))
        thread.start()
        gateway.wait_metric("buffered_bytes", lambda held: held >= 64 << 10)
        assert sink.receive(1)
        assert gateway.metric("buffered_bytes") < MIB
        first = hashlib.sha256(hashlib.sha256(b"slow").digest()[:1])
        while sink.more():
            first.update(sink.take(len(sink.buffer)))
        thread.join()
        assert [first.hexdigest()] == result
        assert resident_bytes(gateway.dataplane_pid()) - before < 16 * MIB


def test_idle_connections_take_no_buffers(gateway, endpoint):
    """What may come is not counted, only what has: else 6 MiB would be used up by some twenty of them."""
    relay_to(gateway, endpoint, settings={"limits": {"worker-buffer": "8MiB"}})
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(joined(gateway, endpoint)) for _ in range(300)]
        for client, served in pairs:
            client.send(b"ping")
            served.expect(b"ping")
            served.send(b"pong")
            client.expect(b"pong")
        assert gateway.metric("tcp_connections") == 300
        assert gateway.metric("buffered_bytes") == 0


# ---- what is seen

def test_the_record_of_a_connection(gateway, endpoint):
    relay_to(gateway, endpoint)
    counts = {name: gateway.metric(name) for name in ("tcp_connections_total", "tcp_received_bytes_total", "tcp_sent_bytes_total",
                                                      "requests_total", "tunnels_total", "tcp_unconnected_total")}
    with joined(gateway, endpoint) as (client, served):
        assert gateway.metric("tcp_connections") == 1
        client.send(b"12345")
        served.expect(b"12345")
        served.send(b"1234567")
        client.expect(b"1234567")
    record = ended(gateway, request_bytes=5, response_bytes=7)
    assert (record["client"], record["listener"], record["cluster"], record["endpoint"]) == ("127.0.0.1", "tcp", "origin",
                                                                                           endpoint.endpoint)
    assert 0 < record["connect_us"] <= record["duration_us"]
    assert not {"error", "method", "status", "target", "route", "request_id"} & set(record)
    gateway.wait_metric("tcp_connections", lambda count: count == 0)
    changes = {name: gateway.metric(name) - before for name, before in counts.items()}
    assert changes == {"tcp_connections_total": 1, "tcp_received_bytes_total": 5, "tcp_sent_bytes_total": 7, "requests_total": 0,
                       "tunnels_total": 0, "tcp_unconnected_total": 0}


@pytest.mark.parametrize("form, start", [("text", " TCP - - "), ("combined", '"TCP - TCP" ')])
def test_the_other_formats_of_the_log(own, form, start):
    from wire import Origin
    with Origin() as endpoint:
        relay_to(own, endpoint, settings={"access-log": {"format": form, "path": str(own.access_log)}})
        with joined(own, endpoint) as (client, served):
            client.send(b"12345")
            served.expect(b"12345")
        line = wait_until("a record", lambda: own.access_log.exists() and own.access_log.read_text())
    assert start in line and ("127.0.0.1" in line)


def test_top_counts_connections(gateway, endpoint):
    """As attempts of the cluster: those that were begun, and those that are under way."""
    relay_to(gateway, endpoint)

    def ask():
        reply = json.loads(gateway.headgate("top", "--once", "--output", "json").stdout)
        return reply["clusters"][0], reply["data_planes"][0]
    before = ask()[0]["attempts"]
    with joined(gateway, endpoint), joined(gateway, endpoint), joined(gateway, endpoint):
        wait_until("three are shown", lambda: ask()[0]["under_way"] == 3)
        of_cluster, of_node = ask()
        assert of_cluster["attempts"] == before + 3 and of_cluster["connections"] == 3
        assert of_node["connections"] == 3
    wait_until("they are gone", lambda: ask()[0]["under_way"] == 0)


def test_what_users_wrote_is_shown(gateway, endpoint):
    relay_to(gateway, endpoint, tcp={"idle-timeout": "8h"})
    shown = json.loads(gateway.headgate("show", "listener/tcp", "--output", "json").stdout)
    assert shown["tcp"] == {"cluster": "origin", "idle-timeout": "8h"}
    refused = gateway.push({"listeners": [{"name": "a", "address": "127.0.0.1:1", "tcp": {"cluster": "nowhere"}}]})
    fault, = refused.reply["problems"]
    assert (refused.reply["outcome"], fault["path"]) == ("refused", "listeners[0].tcp.cluster")
    assert fault["message"] == 'there is no cluster "nowhere"'
