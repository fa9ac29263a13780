"""Daemons killed under load: what may fail fails, and nothing else."""
import pytest

from configuration import QUICK, cluster, configure, under
from gateway import Gateway, wait_until
from load import Clients, Wrk
from tunnels import open_websocket
from wire import head_of, request, response

CONTROL_PLANE_KILLS, DATA_PLANE_KILLS = 10, 5


@pytest.fixture
def own():
    """A gateway that the test may kill."""
    gateway = Gateway()
    try:
        yield gateway.start()
    finally:
        gateway.stop()


def version(gateway, number, *origins):
    clusters = [cluster("told", *origins)] if origins else []
    return configure(gateway, clusters, [under("/version", {"respond": {"body": f"{number}"}}),
                                         {"respond": {"body": "here\n"}}])


def test_killing_the_control_plane_fails_no_request(own):
    own.serve(version(own, 0))
    with Wrk(own.port) as wrk:
        for number in range(1, CONTROL_PLANE_KILLS + 1):
            own.kill_control_plane()
            assert own.get("/version").body == f"{number - 1}".encode()
            own.start_control_plane()
            own.wait_in_sync()
            own.serve(version(own, number))
        requests, failures = wrk.stop()
    assert failures == 0 and requests > 0
    assert own.get("/version").body == f"{CONTROL_PLANE_KILLS}".encode()


def wait_restarted(gateway, killed):
    """Another data plane serves."""
    wait_until("another data plane", lambda: gateway.dataplane_pid() not in (None, killed))
    wait_until("it serves", lambda: gateway.probe(gateway.admin_port, "readyz") == 200)


def test_killing_the_data_plane_refuses_no_connection(own):
    """Its sockets outlive it: a new connection waits for the next one, and only exchanges in flight are lost.
    """
    own.serve(version(own, 0))
    threads = 4
    with Clients(own, threads=threads, keep=False) as clients:
        for number in range(1, DATA_PLANE_KILLS + 1):
            wait_restarted(own, own.kill_dataplane())
            answered = clients.answered
            wait_until("requests are answered again", lambda: clients.answered > answered)
            own.wait_in_sync()
            own.serve(version(own, number))
            assert own.get("/version").body == f"{number}".encode()
    assert clients.refused == 0
    # A client has at most one exchange in flight, and one connection that was accepted and not yet read from.
    assert len(clients.failures) <= DATA_PLANE_KILLS * threads, clients.failures
    assert all("Reset" in text or "closed before" in text for text in clients.failures), clients.failures


def test_the_data_plane_starts_without_a_control_plane(own, teller):
    """From its last good snapshot, again and again; and it comes back to its control plane."""
    own.serve(version(own, 1, teller))
    own.kill_control_plane()
    for _ in range(3):
        wait_restarted(own, own.kill_dataplane())
        assert own.get("/version").body == b"1"
        assert own.get("/x").body == b"here\n"
        assert own.metric("snapshot_is_last_known_good") == 1
    own.start_control_plane()
    own.wait_in_sync()
    own.serve(version(own, 2, teller))
    assert own.metric("snapshot_is_last_known_good") == 0
    assert own.get("/version").body == b"2"


def test_an_acknowledged_push_survives_whatever_is_killed(own):
    """The moment a push is acknowledged it is on disk, whole."""
    for number in range(5):
        own.serve(version(own, number))
        killed = own.kill_dataplane()
        own.kill_control_plane()
        wait_restarted(own, killed)
        assert own.get("/version").body == f"{number}".encode()
        own.start_control_plane()
        own.wait_in_sync()


def test_a_killed_holder_takes_nothing_with_it_but_its_sockets(own):
    """Both processes go and both are started anew, from disk."""
    own.serve(version(own, 7))
    dataplane = own.dataplane_pid()
    own.holder.kill()
    own.holder.wait()
    wait_until("the data plane goes with its holder", lambda: own.probe(own.admin_port, "livez") == 0)
    own.kill_control_plane()
    own.start_holder()
    wait_until("it serves", lambda: own.probe(own.admin_port, "readyz") == 200)
    assert own.dataplane_pid() != dataplane
    assert own.get("/version").body == b"7"
    own.start_control_plane()
    own.wait_in_sync()


def test_term_lets_exchanges_end(own, scripted):
    own.serve(configure(own, [cluster("origin", scripted)], timeouts={"drain": "60s"}))
    with own.connect() as client, own.connect() as idle:
        idle.send(request(target="/first"))
        first, _ = scripted.accept_request("/first")
        first.receive_request()
        first.send(response())
        assert idle.receive_response().status == 200
        client.send(request(target="/long"))
        served, _ = scripted.accept_request("/long")
        served.receive_request()
        served.send(head_of("HTTP/1.1 200 OK", "Content-Length: 10"), b"half ")
        client.receive_head()
        client.expect(b"half ")
        own.holder.terminate()
        wait_until("it drains", lambda: own.probe(own.admin_port, "readyz") == 503)
        served.send(b"done.")
        client.expect(b"done.")
        client.expect_closed()
        idle.expect_closed()
        assert own.holder.wait(timeout=60) == 0
    scripted.drop_connections()


def test_term_lets_tunnels_go_on(own, scripted):
    """For as long as a process that goes away may finish what is open: they end by themselves."""
    own.serve(configure(own, [cluster("origin", scripted)], timeouts={"drain": "60s"}))
    with own.connect() as client:
        served = open_websocket(client, scripted)
        own.holder.terminate()
        wait_until("it drains", lambda: own.probe(own.admin_port, "readyz") == 503)
        client.send(b"still")
        served.expect(b"still")
        served.send(b"there")
        client.expect(b"there")
        client.end_sending()
        served.expect_closed()
        served.close()
        client.expect_closed()
        assert own.holder.wait(timeout=60) == 0
    scripted.drop_connections()


def test_tunnels_end_with_the_time_to_drain(own, scripted):
    own.serve(configure(own, [cluster("origin", scripted)], timeouts={"drain": QUICK}))
    with own.connect() as client:
        served = open_websocket(client, scripted)
        own.holder.terminate()
        client.expect_closed_or_reset()
        served.expect_closed_or_reset()
        assert own.holder.wait(timeout=60) == 0
    scripted.drop_connections()
