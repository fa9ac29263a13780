"""Which endpoint gets a request, which connection carries it, and when a request is sent again."""
import contextlib
import select

import pytest

from configuration import cluster, configure
from origins import Teller
from wire import PATIENCE, Origin, head_of, request, response


@contextlib.contextmanager
def several(kind, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(kind("abcdefgh"[i]) if kind is Teller else kind()) for i in range(count)]


def serve(gateway, *endpoints, rule=None, **cluster_options):
    """All requests go to one cluster of these endpoints, by a rule with these options."""
    config = configure(gateway, [cluster("c", *endpoints, **cluster_options)])
    config["route-tables"][0]["hosts"][0]["rules"] = [{"cluster": "c", **(rule or {})}]
    gateway.serve(config)


# ---- turns

@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (5, 3, 2)])
def test_turns_follow_the_weights(gateway, weights):
    with several(Teller, len(weights)) as origins, gateway.connect() as client:
        serve(gateway, *({"address": o.endpoint, "weight": w} for o, w in zip(origins, weights)))
        rounds = 60 // sum(weights)
        for _ in range(rounds * sum(weights)):
            assert client.exchange(request()).status == 200
        for origin, weight in zip(origins, weights):
            assert abs(origin.take_count() - rounds * weight) <= 2


def test_turns_go_on_over_a_push(gateway):
    with several(Teller, 3) as (a, b, c), gateway.connect() as client:
        for pushed, endpoints in enumerate([(a, b), (a, b, c), (b, c)]):
            serve(gateway, *endpoints)
            for origin in (a, b, c):
                origin.take_count()
            for _ in range(30):
                assert client.exchange(request()).status == 200
            counts = {origin: origin.take_count() for origin in (a, b, c)}
            for origin in (a, b, c):
                share = 30 / len(endpoints) if origin in endpoints else 0
                assert abs(counts[origin] - share) <= (2 if share else 0), pushed


# ---- connections

def test_connections_are_kept_and_shared(gateway):
    with Origin() as origin, gateway.connect() as client:
        serve(gateway, origin)
        client.send(request())
        served = origin.accept()
        for _ in range(20):
            served.receive_request()
            served.send(response())
            assert client.receive_response().status == 200
            client.send(request())
        served.receive_request()
        served.send(response())
        assert client.receive_response().status == 200


@pytest.mark.parametrize("options, carried", [({"idle-connections": 0}, 1),
                                              ({"requests-per-connection": 3}, 3)])
def test_connections_are_closed_when_they_are_used_up(gateway, options, carried):
    with Origin() as origin, gateway.connect() as client:
        serve(gateway, origin, **options)
        for _ in range(3):
            for number in range(carried):
                client.send(request())
                if number == 0:
                    served = origin.accept()
                served.receive_request()
                served.send(response())
                assert client.receive_response().status == 200
            served.expect_closed()


@pytest.mark.parametrize("option", ["idle-timeout", "connection-lifetime"])
def test_connections_age(gateway, option):
    with Origin() as origin, gateway.connect() as client:
        serve(gateway, origin, **{option: "200ms"})
        client.send(request())
        served = origin.accept()
        served.receive_request()
        if option == "connection-lifetime":  # its end comes after the exchange that it carries
            served.sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                served.sock.recv(1)
            served.sock.settimeout(20)
        served.send(response(body="whole"))
        assert client.receive_response().body == b"whole"
        served.expect_closed()


def test_a_removed_endpoint_ends_its_work_in_peace(gateway):
    with Origin() as old, Teller("new") as new, gateway.connect() as client, gateway.connect() as other:
        serve(gateway, old)
        client.send(request(), request())
        busy = old.accept()
        busy.receive_request()
        busy.send(head_of("HTTP/1.1 200 OK", "Content-Length: 10"), b"half ")
        client.receive_head()
        client.expect(b"half ")
        serve(gateway, new)
        assert other.exchange(request())["X-Origin"] == "new"
        busy.send(b"done.")
        client.expect(b"done.")
        busy.expect_closed()
        assert client.receive_response()["X-Origin"] == "new"


# ---- a kept connection that has died

def kept_connection(client, origin):
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(response())
    assert client.receive_response().status == 200
    return served


@pytest.mark.parametrize("method, body", [("GET", b""), ("HEAD", b""), ("DELETE", b""), ("OPTIONS", b"")])
def test_a_stale_connection_costs_an_idempotent_request_nothing(gateway, method, body):
    """The origin closes just when the request arrives."""
    with Origin() as origin, gateway.connect() as client:
        serve(gateway, origin)
        before = gateway.metric("retries_total")
        stale = kept_connection(client, origin)
        client.send(request(method, "/again", body=body))
        stale.receive_request()
        stale.close()
        again = origin.accept()
        assert again.receive_request().target == "/again"
        again.send(response(201))
        assert client.receive_response(to=method).status == 201
        assert gateway.metric("retries_total") == before + 1


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_post_that_may_have_been_seen_is_not_repeated(gateway, how):
    with Origin() as origin, gateway.connect() as client:
        serve(gateway, origin)
        stale = kept_connection(client, origin)
        client.send(request("POST", "/pay", body="once"))
        assert stale.receive_request().body == b"once"
        getattr(stale, how)()
        assert client.receive_response().status == 502
        client.send(request("GET", "/next"))
        again = origin.accept()
        assert again.receive_request().target == "/next"
        again.send(response())
        assert client.receive_response().status == 200


def test_a_connection_that_was_closed_while_idle_is_not_used(gateway):
    with Origin() as origin, gateway.connect() as client:
        serve(gateway, origin)
        kept_connection(client, origin).close()
        gateway.wait_metric("origin_idle_connections", lambda count: count == 0)
        client.send(request("POST", "/pay", body="once"))
        again = origin.accept()
        assert again.receive_request().body == b"once"
        again.send(response())
        assert client.receive_response().status == 200


def test_no_endless_chain_of_dead_connections(gateway):
    """Every connection dies: the client gets its answer after a bounded number of attempts."""
    with Origin() as origin, gateway.connect() as client:
        serve(gateway, origin)
        stale = kept_connection(client, origin)
        client.send(request())
        stale.receive_request()
        stale.close()
        attempts = 0
        while origin.sock in select.select([origin.sock, client.sock], [], [], PATIENCE)[0]:
            again = origin.accept()
            again.receive_request()
            again.close()
            attempts += 1
            assert attempts <= 4
        assert client.receive_response().status == 502


# ---- retries that the user asked for

def test_another_endpoint_is_tried_when_one_refuses(gateway, refused):
    with Teller("alive") as alive, gateway.connect() as client:
        serve(gateway, refused, alive, rule={"retry": {"retries": 1, "on": ["connect-failure"]}})
        for number in range(20):
            method = "POST" if number % 2 else "GET"  # nothing was sent, so any method may be repeated
            answer = client.exchange(request(method, body="x" * number))
            assert (answer.status, answer["X-Origin"]) == (200, "alive")


def test_without_retries_a_refused_connection_is_told(gateway, refused):
    with Teller("alive") as alive, gateway.connect() as client:
        serve(gateway, refused, alive)
        statuses = [client.exchange(request()).status for _ in range(20)]
        assert 9 <= statuses.count(503) <= 11 and 9 <= statuses.count(200) <= 11


def test_retries_are_bounded(gateway, refused):
    serve(gateway, refused, rule={"retry": {"retries": 3, "on": ["connect-failure"]}})
    before = gateway.metric("origin_connect_failures_total")
    assert gateway.get().status == 503
    assert gateway.metric("origin_connect_failures_total") == before + 4


def test_a_reset_is_retried_when_it_may_be(gateway):
    with Origin() as origin, gateway.connect() as client:
        serve(gateway, origin, rule={"retry": {"retries": 2, "on": ["reset"]}})
        client.send(request())
        for _ in range(2):
            served = origin.accept()
            served.receive_request()
            served.reset()
        served = origin.accept()
        served.receive_request()
        served.send(response(body="third"))
        assert client.receive_response().body == b"third"
        client.send(request("POST", body="once"))
        again = origin.accept_request("/")[0]
        again.receive_request()
        again.reset()
        assert client.receive_response().status == 502


def test_a_status_is_retried(gateway):
    with Origin() as origin, gateway.connect() as client:
        serve(gateway, origin, rule={"retry": {"retries": 2, "on": ["503"], "methods": ["GET", "POST"]}})
        for method, body in (("GET", b""), ("POST", b"")):
            client.send(request(method, body=body))
            for status in (503, 503):
                served = origin.accept()
                served.receive_request()
                served.send(response(status))
                served.expect_closed()
            served = origin.accept()
            served.receive_request()
            served.send(response(body=method))
            served.end_sending()
            assert client.receive_response().body == method.encode()
            served.expect_closed()
        client.send(request("PUT"))
        served = origin.accept()
        served.receive_request()
        served.send(response(503, body="told"))
        assert client.receive_response().body == b"told"


def test_the_last_refusal_is_passed_on(gateway):
    with Origin() as origin, gateway.connect() as client:
        serve(gateway, origin, rule={"retry": {"retries": 1, "on": ["503"]}})
        client.send(request())
        for number in range(2):
            served = origin.accept()
            served.receive_request()
            served.send(response(503, body=f"{number}"))
        answer = client.receive_response()
        assert (answer.status, answer.body) == (503, b"1")


def test_an_attempt_that_takes_too_long_is_left_for_another(gateway):
    with Origin() as slow, Teller("quick") as quick, gateway.connect() as client:
        serve(gateway, slow, quick, rule={"retry": {"retries": 1, "on": ["reset"],
                                                    "per-try-timeout": "1s"}})
        for _ in range(4):
            client.send(request())
            answer = client.receive_response()
            assert (answer.status, answer["X-Origin"]) == (200, "quick")
        served = slow.accept()
        served.receive_request()
        served.expect_closed()


def put_half(gateway, origin, client, **more):
    """The origin breaks off when it has half of a body of ten bytes."""
    serve(gateway, origin, rule={"retry": {"retries": 2, "on": ["reset"], "methods": ["PUT"], **more}})
    client.send(head_of("PUT / HTTP/1.1", "Host: a", "Content-Length: 10"), b"half ")
    served = origin.accept()
    served.receive_head()
    served.expect(b"half ")
    served.reset()


def test_a_body_under_way_begins_anew(gateway):
    with Origin() as origin, gateway.connect() as client:
        put_half(gateway, origin, client)
        again = origin.accept()
        again.receive_head()
        client.send(b"whole")
        again.expect(b"half whole")
        again.send(response())
        assert client.receive_response().status == 200


def test_a_body_that_is_not_kept_is_not_sent_again(gateway):
    with Origin() as origin, gateway.connect() as client:
        put_half(gateway, origin, client, body="4B")
        assert client.receive_response().status == 502


def test_an_origin_that_comes_back_is_used(gateway):
    """Refused at first; the same endpoint serves as soon as it listens."""
    with Origin(listens=False) as origin, gateway.connect() as client:
        serve(gateway, origin)
        assert {client.exchange(request()).status for _ in range(3)} == {503}
        origin.sock.listen(16)
        client.send(request())
        served = origin.accept()
        served.receive_request()
        served.send(response())
        assert client.receive_response().status == 200
