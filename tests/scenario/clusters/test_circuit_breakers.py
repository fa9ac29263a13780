"""Bounds of a cluster over all workers, and the queue of those that wait for room."""
import pytest

from configuration import cluster, configure
from counted import ask, clients, counted, total
from gateway import wait_until


def serve(gateway, origins, retry=None, **breakers):
    """Connections are not kept: one that a worker keeps would count, and be of no use to the other one."""
    options = {name.replace("_", "-"): value for name, value in breakers.items()}
    config = configure(gateway, [cluster("c", *origins, **{"circuit-breakers": options, "idle-connections": 0})])
    config["route-tables"][0]["hosts"][0]["rules"] = [{"cluster": "c", **({"retry": retry} if retry else {})}]
    gateway.serve(config)


def hold(origins):
    for origin in origins:
        origin.gate.clear()


def release(origins):
    for origin in origins:
        origin.gate.set()


def outcomes(futures):
    """How many were answered with which status, and the words in what was refused."""
    answers = [future.result()[0] for future in futures]
    refused = [answer.body.decode() for answer in answers if answer.status != 200]
    return len(answers) - len(refused), refused


@pytest.mark.parametrize("breakers, word, metric", [
    ({"requests": 4}, "upstream_rq_overflow", "requests_overflow_total"),
    ({"connections": 4}, "upstream_cx_overflow", "connections_overflow_total"),
    ({"endpoint_requests": 2}, "endpoint_rq_overflow", "endpoint_overflow_total"),
    ({"endpoint_connections": 2}, "endpoint_cx_overflow", "endpoint_overflow_total"),
])
def test_what_is_beyond_a_bound_is_refused(gateway, breakers, word, metric):
    with counted("a", "b") as origins:
        serve(gateway, origins, **breakers)
        for _ in range(3):  # nothing stays counted
            hold(origins)
            before, seen = gateway.metric(metric), total(origins)
            with clients(gateway, 12) as futures:
                gateway.wait_metric(metric, lambda count, before=before: count == before + 8)
                wait_until("the requests within the bound", lambda seen=seen: total(origins) == seen + 4)
                release(origins)
                passed, refused = outcomes(futures)
            assert passed == 4 and len(refused) == 8 and all(f"({word})" in body for body in refused)
            gateway.wait_metric("exchanges", lambda count: count == 0)
        assert max(origin.most for origin in origins) <= 4
        gateway.wait_log(lambda record: record.get("error") == word and record["status"] == 503)


def test_who_waits_is_served_when_there_is_room(gateway):
    with counted("a", "b") as origins:
        serve(gateway, origins, requests=2, pending_timeout="20s")
        hold(origins)
        with clients(gateway, 10) as futures:
            gateway.wait_metric("requests_pending", lambda count: count == 8)
            wait_until("the two that have room", lambda: total(origins) == 2)
            release(origins)
            assert outcomes(futures) == (10, [])
        assert total(origins) == 10
        assert sum(origin.most for origin in origins) <= 4
        assert gateway.metric("requests_pending") == 0


def test_a_retry_goes_on_before_those_who_wait_for_its_room(gateway):
    with counted("a") as origins:
        serve(gateway, origins, {"retries": 1, "on": ["503"], "backoff": "off"}, requests=1, pending_timeout="20s")
        hold(origins)
        origins[0].status = 503
        before = gateway.metric("pending_timeouts_total")
        with clients(gateway, 5) as futures:
            gateway.wait_metric("requests_pending", lambda count: count == 4)
            wait_until("the one that has room", lambda: total(origins) == 1)
            release(origins)
            assert [future.result()[0].status for future in futures] == [503] * 5
        assert gateway.metric("pending_timeouts_total") == before
        assert origins[0].count == 10 and origins[0].most == 1


def test_nobody_waits_longer_than_he_may(gateway):
    with counted("a") as origins:
        serve(gateway, origins, requests=1, pending_timeout="100ms")
        hold(origins)
        before = gateway.metric("pending_timeouts_total")
        with clients(gateway, 5) as futures:
            gateway.wait_metric("pending_timeouts_total", lambda count: count == before + 4)
            release(origins)
            passed, refused = outcomes(futures)
        assert passed == 1 and all("(upstream_rq_pending_timeout)" in body for body in refused)
        assert origins[0].count == 1


def test_the_queue_is_bounded_over_all_workers(gateway):
    with counted("a") as origins:
        serve(gateway, origins, requests=1, pending=3, pending_timeout="20s")
        assert ask(gateway)[0].status == 200
        hold(origins)
        before = gateway.metric("pending_overflow_total")
        with clients(gateway, 10) as futures:
            gateway.wait_metric("pending_overflow_total", lambda count: count == before + 6)
            assert gateway.metric("requests_pending") == 3
            release(origins)
            passed, refused = outcomes(futures)
        assert passed == 4 and all("(upstream_rq_pending_overflow)" in body for body in refused)
        assert origins[0].most == 1


def test_who_waits_may_leave(gateway):
    with counted("a") as origins:
        serve(gateway, origins, requests=1, pending_timeout="20s")
        hold(origins)
        with clients(gateway, 1) as futures:
            wait_until("the first", lambda: origins[0].count == 1)
            with gateway.connect() as impatient:
                impatient.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                gateway.wait_metric("requests_pending", lambda count: count == 1)
                impatient.reset()
            gateway.wait_metric("requests_pending", lambda count: count == 0)
            release(origins)
            assert outcomes(futures) == (1, [])
        assert origins[0].count == 1


def test_an_endpoint_is_waited_for(gateway):
    with counted("a") as origins:
        serve(gateway, [], pending_timeout="20s")
        with clients(gateway, 3) as futures:
            gateway.wait_metric("requests_pending", lambda count: count == 3)
            serve(gateway, origins, pending_timeout="20s")
            assert outcomes(futures) == (3, [])
        assert origins[0].count == 3


def test_without_a_queue_a_cluster_without_endpoints_is_told_at_once(gateway):
    serve(gateway, [])
    answer = ask(gateway)[0]
    assert answer.status == 503 and b"no-endpoint" in answer.body
