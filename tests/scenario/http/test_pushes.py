"""Configuration that changes under traffic: nothing that a change does not concern notices it."""
import errno
import json
import socket
import threading

import pytest

from configuration import cluster, configure, listener, under
from load import Clients, Wrk
from wire import Origin, head_of, request, response

PUSHES = 50


def respond(text):
    return {"respond": {"body": text}}


def begin_response(client, origin, target="/long"):
    """An exchange in the middle of its response; returns the origin's connection."""
    client.send(request(target=target))
    served, _ = origin.accept_request(target)
    served.receive_request()
    served.send(head_of("HTTP/1.1 200 OK", "Content-Length: 10"), b"half ")
    client.receive_head()
    client.expect(b"half ")
    return served


def end_response(client, served):
    served.send(b"done.")
    client.expect(b"done.")


# ---- listeners

def and_extra(gateway, configuration):
    """With one listener more, which has the usual deadlines."""
    extra = listener(gateway, name="extra", address=f"127.0.0.1:{gateway.port_of('extra')}")
    return {**configuration, "listeners": [*configuration["listeners"], extra]}


def test_a_listener_comes_and_goes_without_touching_others(gateway, client, origin):
    served = begin_response(client, origin)
    base = configure(gateway, [cluster("origin", origin)], [under("/respond", respond("here\n"))])
    gateway.serve(and_extra(gateway, base))
    with gateway.connect(gateway.port_of("extra")) as other:
        assert other.exchange(request(target="/respond")).body == b"here\n"
        gateway.serve(base)
        gateway.wait_refused(gateway.port_of("extra"))
        end_response(client, served)
        assert client.exchange(request(target="/respond")).body == b"here\n"


def test_a_listener_that_goes_lets_its_exchanges_end(gateway, origin, usual):
    gateway.serve(and_extra(gateway, usual))
    with gateway.connect(gateway.port_of("extra")) as client:
        served = begin_response(client, origin)
        gateway.serve(configure(gateway, [cluster("origin", origin)]))
        gateway.wait_refused(gateway.port_of("extra"))
        end_response(client, served)
        client.expect_closed()


def test_a_listener_that_goes_closes_idle_connections(gateway, origin):
    """Those with a request under way, and those that have yet to send their first, are not idle."""
    base = configure(gateway, [cluster("origin", origin)], [under("/respond", respond("here\n"))])
    gateway.serve(and_extra(gateway, base))
    accepted = gateway.metric("connections_total")
    port = gateway.port_of("extra")
    with gateway.connect(port) as idle, gateway.connect(port) as fresh:
        assert idle.exchange(request(target="/respond")).status == 200
        gateway.wait_metric("connections_total", lambda count: count >= accepted + 2)
        gateway.serve(base)
        idle.expect_closed()
        answer = fresh.exchange(request(target="/respond"))
        assert answer.status == 200 and answer.closes
        fresh.expect_closed()


def test_answers_of_a_listener_that_goes_say_so(gateway, origin, usual):
    gateway.serve(and_extra(gateway, usual))
    with gateway.connect(gateway.port_of("extra")) as client:
        client.send(request(target="/long"))
        served, _ = origin.accept_request("/long")
        served.receive_request()
        gateway.serve(configure(gateway, [cluster("origin", origin)]))
        served.send(response(body="last"))
        answer = client.receive_response()
        assert answer.body == b"last" and answer.closes
        client.expect_closed()


def test_a_listener_that_comes_back(gateway, usual, origin):
    for _ in range(3):
        gateway.serve(and_extra(gateway, usual))
        with gateway.connect(gateway.port_of("extra")) as client:
            assert client.exchange(request(target="/respond")).status == 200
        gateway.serve(configure(gateway, [cluster("origin", origin)]))


def test_listeners_on_unix_sockets_and_several_addresses(gateway, origin):
    with socket.socket(socket.AF_INET6) as probe:
        if probe.connect_ex(("::1", 1)) == errno.EADDRNOTAVAIL:
            pytest.skip("this machine has no IPv6 loopback address")
    path = str(gateway.folder / "web.sock")
    both = [f"127.0.0.1:{gateway.port}", f"unix:{path}", f"[::1]:{gateway.port_of('v6')}"]
    gateway.serve(configure(gateway, [cluster("origin", origin)], [under("/respond", respond("here\n"))],
                            listeners=[listener(gateway, address=both)]))
    for family, address in ((socket.AF_UNIX, path), (socket.AF_INET6, ("::1", gateway.port_of("v6")))):
        with socket.socket(family) as sock:
            sock.settimeout(20)
            sock.connect(address)
            sock.sendall(request(target="/respond"))
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_changed_deadline_of_a_listener_closes_nothing(gateway, client, origin):
    served = begin_response(client, origin)
    gateway.serve(configure(gateway, [cluster("origin", origin)],
                            listeners=[listener(gateway, timeouts={"idle": "59s"})]))
    end_response(client, served)
    client.send(request(target="/next"))
    served.receive_request()  # both connections are the same as before
    served.send(response(body="next"))
    assert client.receive_response().body == b"next"


# ---- which snapshot a request meets

def test_a_kept_connection_meets_the_new_rules(gateway):
    with gateway.connect() as client:
        for number in range(5):
            gateway.serve(configure(gateway, [], [respond(f"version {number}")]))
            assert client.exchange(request()).body == f"version {number}".encode()


def test_an_exchange_keeps_what_it_began_with(gateway, origin):
    gateway.serve(configure(gateway, [cluster("old", origin)], [under("/", "old", name="the-old-rule")]))
    with gateway.connect() as client:
        client.send(request(target="/old"))
        served = origin.accept()
        served.receive_request()
        gateway.serve(configure(gateway, [], [respond("new")]))  # its rule and its cluster are gone
        served.send(head_of("HTTP/1.1 200 OK", "Content-Length: 10"), b"half ")
        assert client.receive_head().status == 200
        client.expect(b"half ")
        end_response(client, served)
        assert client.exchange(request()).body == b"new"
        served.expect_closed()


def test_a_request_body_under_way_survives_pushes(gateway, origin):
    gateway.serve(configure(gateway, [cluster("old", origin)]))
    with gateway.connect() as client:
        client.send(head_of("POST / HTTP/1.1", "Host: a", "Content-Length: 20"), b"first")
        served = origin.accept()
        served.receive_head()
        for number in range(3):
            gateway.serve(configure(gateway, [], [respond(f"{number}")]))
            client.send(b"again")
            served.expect(b"first" if number == 0 else b"again")
        served.expect(b"again")
        served.send(response(body="all of it"))
        assert client.receive_response().body == b"all of it"


def test_a_head_that_spans_pushes_is_answered(gateway, usual, client, origin):
    """What its first bytes were read with is gone when the last ones come."""
    before = gateway.metric("client_received_bytes_total")
    first = "GET /respond HTTP/1.1\r\nHo"
    client.send(first)
    gateway.wait_metric("client_received_bytes_total", lambda count: count >= before + len(first))
    for headers in (50, 60, 70):
        gateway.serve({**usual, "limits": {**usual["limits"], "headers": headers}})
    client.send("st: a\r\n\r\n")
    assert client.receive_response().body == b"here\n"


def test_an_exchange_outlives_many_pushes(gateway, client, origin):
    served = begin_response(client, origin)
    first = gateway.metric("snapshot_version")
    for number in range(10):
        gateway.serve(configure(gateway, [cluster("origin", origin)],
                                [under(f"/{number}", respond("x" * 100000))]))
    assert gateway.metric("snapshot_version") == first + 10
    end_response(client, served)


# ---- what is refused

def test_an_address_in_use_is_refused_by_name(gateway, usual, client, origin):
    gateway.serve(usual)
    with Origin() as occupant:
        taken = listener(gateway, name="taken", address=f"127.0.0.1:{occupant.port}")
        config = configure(gateway, [], [respond("never")], listeners=[listener(gateway), taken])
        result = gateway.push(config)
        assert result.code == 1 and result.reply["outcome"] == "refused"
        (plane,) = result.reply["data_planes"]
        assert plane["state"] == "nacked"
        (reason,) = plane["reasons"]
        assert "taken" in json.dumps(reason) and "in use" in json.dumps(reason)
    assert client.exchange(request(target="/respond")).body == b"here\n"
    assert gateway.push(usual).reply["outcome"] == "unchanged"
    gateway.serve({**config, "listeners": [listener(gateway), taken]})  # and free again it is taken
    with gateway.connect(occupant.port) as other:
        assert other.exchange(request()).body == b"never"


@pytest.mark.parametrize("broken, word", [
    ({"listeners": [{"name": "web", "address": "127.0.0.1:99999", "route-table": "site"}]}, "address"),
    ({"route-tables": []}, "site"), ({"limits": {"headers": 0}}, "headers"), ({"nonsense": 1}, "nonsense"),
])
def test_a_broken_file_changes_nothing(gateway, usual, client, origin, broken, word):
    gateway.serve(usual)
    version = gateway.metric("snapshot_version")
    result = gateway.push({**usual, **broken})
    assert result.code == 1 and word in result.errors + json.dumps(result.reply)
    assert gateway.metric("snapshot_version") == version
    assert client.exchange(request(target="/respond")).body == b"here\n"


def test_a_dry_run_changes_nothing(gateway, usual, client, origin):
    gateway.serve(usual)
    path = gateway.folder / "dry.json"
    path.write_text(json.dumps(configure(gateway, [], [respond("never")])))
    done = gateway.headgate("push", path, "--dry-run", "--output", "json")
    assert done.returncode == 0 and json.loads(done.stdout)["outcome"] == "checked"
    assert client.exchange(request(target="/respond")).body == b"here\n"


# ---- under load

def change(gateway, teller, number):
    """A configuration that differs from its neighbours in routes, endpoints and listeners."""
    rules = [under(f"/p{n}", respond("x")) for n in range(number % 7)] + [under("/version",
                                                                                respond(f"{number}"))]
    listeners = [listener(gateway)]
    if number % 5 == 0:
        listeners.append(listener(gateway, name="extra", address=f"127.0.0.1:{gateway.port_of('extra')}"))
    endpoints = [{"address": teller.endpoint, "weight": 1 + number % 3}]
    return {**configure(gateway, [cluster("told", *endpoints)], rules, listeners=listeners),
            "access-log": "off"}


def test_no_request_fails_while_pushes_come(gateway, teller):
    gateway.serve(change(gateway, teller, 1))
    with Wrk(gateway.port) as wrk:
        for number in range(PUSHES):
            gateway.serve(change(gateway, teller, number))
        requests, failures = wrk.stop()
    assert failures == 0 and requests > PUSHES


def test_answers_are_of_one_version_and_never_go_back(gateway, teller):
    """Each connection sees versions that only grow, and each push that is acknowledged is served at once."""
    gateway.serve(change(gateway, teller, 0))
    latest = {}

    def is_in_order(answer):
        number = int(answer.body)
        client = threading.get_ident()
        in_order = number >= latest.get(client, 0)
        latest[client] = number
        return in_order

    with Clients(gateway, target="/version", check=is_in_order) as clients:
        for number in range(1, 20):
            gateway.serve(change(gateway, teller, number))
            assert gateway.get("/version").body == f"{number}".encode()
    assert clients.failures == [] and clients.refused == 0 and clients.answered > 20

