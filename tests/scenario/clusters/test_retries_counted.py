"""Retries, their budget, and hedges, counted where it matters: at the origins."""
import concurrent.futures
import contextlib
import time

import pytest

from configuration import cluster, configure
from counted import Counted, ask, clients, counted, total
from counted_h2 import CANCEL, INTERNAL_ERROR, REFUSED_STREAM, answers, counted_streams, is_silent, refuses
from gateway import wait_until
from wire import Origin, request

STORM = 100  # requests at once
REQUESTS, TOKENS, PERCENT = 1000, 30, 20


def serve(gateway, origins, retry, name="c", **options):
    config = configure(gateway, [cluster(name, *origins, **options)])
    config["route-tables"][0]["hosts"][0]["rules"] = [{"cluster": name, "retry": retry}]
    gateway.serve(config)


# ---- retries

def test_a_retry_goes_to_an_endpoint_that_was_not_tried(gateway):
    with counted("a", "b", "c", "d") as origins:
        serve(gateway, origins, {"retries": 3, "on": ["503"], "backoff": "1ms"})
        for good in origins:
            for origin in origins:
                origin.status = 200 if origin is good else 503
            answer = ask(gateway)[0]
            assert (answer.status, answer["X-Origin"]) == (200, good.name)
        assert all(origin.count <= len(origins) for origin in origins)


def test_a_retry_goes_to_the_reserve(gateway):
    """When all of its own priority were tried."""
    with counted("first", "reserve") as (first, reserve):
        serve(gateway, [first, {"address": reserve.endpoint, "priority": 1}], {"retries": 1, "on": ["503"], "backoff": "off"},
              "with-reserve")
        first.status = 503
        assert [(answer.status, answer["X-Origin"]) for answer in ask(gateway, 10)] == [(200, "reserve")] * 10
        assert (first.count, reserve.count) == (10, 10)


@pytest.mark.parametrize("condition, status", [("gateway-error", 502), ("5xx", 500), ("409", 409), ("429", 429)])
def test_conditions(gateway, condition, status):
    with counted("a", "b") as origins:
        serve(gateway, origins, {"retries": 1, "on": [condition], "backoff": "off"})
        for origin in origins:
            origin.status = status
        assert ask(gateway)[0].status == status
        assert total(origins) == 2


class Recovering(Counted):
    """Answers its second request with 200, whatever `status` was."""

    def note(self, change):
        super().note(change)
        if change < 0 and self.count == 2:
            self.status = 200


def test_the_origin_says_when_to_come_back(gateway):
    with Recovering("a") as origin:
        serve(gateway, [origin], {"retries": 1, "on": ["503"], "max-retry-after": "5s"})
        origin.status, origin.fields = 503, ["Retry-After: 1"]
        retried, began = gateway.metric("retries_status_total"), time.monotonic()
        assert ask(gateway)[0].status == 200
        assert time.monotonic() - began >= 1
        assert (origin.count, gateway.metric("retries_status_total")) == (2, retried + 1)
        origin.status, origin.fields = 503, ["Retry-After: 6"]
        answer = ask(gateway)[0]
        assert (answer.status, answer["Retry-After"], origin.count) == (503, "6", 3)


def test_the_log_has_the_attempts(gateway):
    with counted("a", "b") as origins:
        serve(gateway, origins, {"retries": 2, "on": ["503"], "backoff": "1ms"})
        for origin in origins:
            origin.status = 503
        before = gateway.metric("retry_successes_total")
        assert ask(gateway)[0].status == 503
        gateway.wait_log(lambda r: (r.get("cluster"), r.get("attempts"), r["status"]) == ("c", 3, 503))
        origins[0].status = 200
        assert [answer.status for answer in ask(gateway, 4)] == [200] * 4
        assert gateway.metric("retry_successes_total") > before


# ---- the budget

def test_there_is_no_retry_storm(gateway):
    """All origins refuse what came at the same time, and ten retries are allowed: they do not see eleven times as much. How
    many retries are under way at once, which is what is bounded exactly, is for the unit tests."""
    percent, least, retries = 20, 3, 10
    with counted("a", "b", "c") as origins:
        serve(gateway, origins, {"retries": retries, "on": ["503"]},
              **{"circuit-breakers": {"retry-percent": percent, "min-retries": least}})
        for origin in origins:
            origin.status = 503
            origin.gate.clear()
        over = gateway.metric("retries_over_budget_total")
        with clients(gateway, STORM) as futures:
            wait_until("all of them", lambda: total(origins) == STORM)
            for origin in origins:
                origin.gate.set()
            assert [future.result()[0].status for future in futures] == [503] * STORM
        print(f"{total(origins)} attempts for {STORM} requests")
        assert STORM < total(origins) < 2 * STORM
        assert gateway.metric("retries_over_budget_total") > over


def ask_at_once(gateway, count):
    """This many clients make REQUESTS requests together; the statuses of the answers."""
    times = [REQUESTS // count + (i < REQUESTS % count) for i in range(count)]
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return [answer.status for answers in pool.map(lambda n: ask(gateway, n), times) for answer in answers]


BUCKET = {"retry-tokens": TOKENS, "retry-tokens-percent": PERCENT, "retry-tokens-per-second": 0,
          "retry-percent": 100, "min-retries": 1000}
MOST = REQUESTS + REQUESTS * PERCENT // 100 + TOKENS


@pytest.mark.parametrize("at_once", [1, 64])
def test_retries_are_bounded_in_all(gateway, at_once):
    """All origins always fail, and three retries are allowed, as many at once as there like to be. What is paid in while the
    bucket is full is lost, which it is for the first requests only."""
    with counted("a", "b", "c") as origins:
        serve(gateway, origins, {"retries": 3, "on": ["503"], "backoff": "off"}, f"all-{at_once}",
              **{"circuit-breakers": BUCKET})
        for origin in origins:
            origin.status = 503
        assert ask_at_once(gateway, at_once) == [503] * REQUESTS
        print(f"{total(origins)} attempts for {REQUESTS} requests, {at_once} at once; at most {MOST}")
        assert MOST - 1 - at_once * PERCENT // 100 <= total(origins) <= MOST


def test_time_fills_the_bucket(gateway):
    """A token every fifth of a second, however few requests there are."""
    with counted("a") as origins:
        serve(gateway, origins, {"retries": 1, "on": ["503"], "backoff": "off"}, "timed",
              **{"circuit-breakers": {**BUCKET, "retry-tokens": 3, "retry-tokens-percent": 0, "retry-tokens-per-second": 5}})
        origins[0].status = 503
        began, requests = time.monotonic(), 0
        while total(origins) - requests < 3 + 5:
            ask(gateway)
            requests += 1
        took = time.monotonic() - began
        assert took >= 1  # five tokens
        assert total(origins) - requests <= 3 + 5 * took


@pytest.mark.parametrize("code, most", [(REFUSED_STREAM, 2 * REQUESTS + TOKENS + REQUESTS * PERCENT // 100),
                                        (INTERNAL_ERROR, REQUESTS)], ids=["refused", "reset"])
@pytest.mark.parametrize("at_once", [1, 64])
def test_streams_that_are_not_served(gateway, code, most, at_once):
    """Without a rule for retries: what was refused unseen is sent again once, more often within the budget; what was reset,
    not at all."""
    with counted_streams(refuses(code), "a", "b") as origins:
        serve(gateway, origins, {"retries": 0}, f"streams-{code}-{at_once}",
              **{"circuit-breakers": BUCKET, "protocol": "http2"})
        statuses = ask_at_once(gateway, at_once)
        assert set(statuses) == {503 if code == REFUSED_STREAM else 502}
        print(f"{total(origins)} streams for {REQUESTS} requests, {at_once} at once; at most {most}")
        assert REQUESTS <= total(origins) <= most


def test_a_budget_of_nothing_means_no_retry(gateway):
    with counted("a", "b") as origins:
        serve(gateway, origins, {"retries": 5, "on": ["503"]},
              **{"circuit-breakers": {"retry-percent": 0, "min-retries": 0}})
        for origin in origins:
            origin.status = 503
        assert [answer.status for answer in ask(gateway, 10)] == [503] * 10
        assert total(origins) == 10


# ---- hedges

def test_a_late_origin_is_hedged_and_told_to_stop(gateway):
    with Origin() as silent, counted("quick") as origins:
        serve(gateway, [silent, *origins], {"hedge-after": "50ms"})
        won = gateway.metric("hedges_won_total")
        answers = ask(gateway, 10)
        assert [(answer.status, answer["X-Origin"]) for answer in answers] == [(200, "quick")] * 10
        asked = int(gateway.metric("hedges_won_total") - won)
        assert 1 <= asked <= 10
        assert origins[0].count == 10
        for _ in range(asked):
            connection = silent.accept()
            connection.receive_request()
            connection.expect_closed()


def test_what_may_not_be_repeated_is_not_hedged(gateway):
    with counted("a", "b") as origins:
        serve(gateway, origins, {"hedge-after": "20ms"})
        for origin in origins:
            origin.gate.clear()
        with gateway.connect() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            wait_until("the request", lambda: total(origins) == 1)
            time.sleep(0.2)  # in which nothing must happen
            assert total(origins) == 1
            for origin in origins:
                origin.gate.set()
            assert client.receive_response().status == 200


def test_a_request_with_a_body_is_not_hedged(gateway):
    """PUT may be repeated, but its body would have to be read twice at the same time."""
    with counted("a", "b") as origins:
        serve(gateway, origins, {"hedge-after": "20ms"})
        for origin in origins:
            origin.gate.clear()
        before = gateway.metric("hedges_with_body_total")
        with gateway.connect() as client:
            client.send(request("PUT", "/", body=b"x"))
            wait_until("the request", lambda: total(origins) == 1)
            time.sleep(0.2)  # in which nothing must happen
            for origin in origins:
                origin.gate.set()
            assert client.receive_response().status == 200
        assert total(origins) == 1
        assert gateway.metric("hedges_with_body_total") == before + 1


def test_a_late_stream_is_hedged_and_reset(gateway):
    """Over HTTP/2 the loser is told by a reset of its stream, and its connection goes on."""
    with counted_streams(is_silent, "silent") as late, counted_streams(answers, "quick") as quick:
        serve(gateway, [*late, *quick], {"hedge-after": "50ms"}, "streams", protocol="http2")
        won, hedged = gateway.metric("hedges_won_total"), gateway.metric("hedges_total")
        found = ask(gateway, 12)
        assert [(answer.status, answer["x-origin"]) for answer in found] == [(200, "quick")] * 12
        won, hedged = int(gateway.metric("hedges_won_total") - won), int(gateway.metric("hedges_total") - hedged)
        assert 1 <= won <= hedged <= 12  # while it connects, the quick one may be late, too
        wait_until("the resets", lambda: late[0].resets(CANCEL) == late[0].count)
        assert won <= late[0].count <= hedged and quick[0].count == 12 and quick[0].resets(CANCEL) == 0
        assert len(late[0].connections) <= gateway.workers


def test_late_streams_are_hedged_within_the_budget(gateway):
    """All origins are silent: of eight requests two are hedged, and when the clients are gone all are reset."""
    with counted_streams(is_silent, "a", "b") as origins:
        serve(gateway, origins, {"hedge-after": "20ms"}, "silent-streams", protocol="http2",
              **{"circuit-breakers": {"retry-percent": 0, "min-retries": 2}})
        over = gateway.metric("retries_over_budget_total")
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                client = gateway.connect()
                stack.callback(client.reset)
                client.send(request())
            gateway.wait_metric("retries_over_budget_total", lambda count: count == over + 6)
            wait_until("the hedges", lambda: total(origins) == 10)
        wait_until("the resets", lambda: sum(origin.resets(CANCEL) for origin in origins) == 10)
        assert total(origins) == 10


def test_hedges_are_within_the_budget(gateway):
    """All origins are silent: of eight requests two are hedged."""
    with counted("a", "b") as origins:
        serve(gateway, origins, {"hedge-after": "20ms"},
              **{"circuit-breakers": {"retry-percent": 0, "min-retries": 2}})
        for origin in origins:
            origin.gate.clear()
        over = gateway.metric("retries_over_budget_total")
        with clients(gateway, 8) as futures:
            gateway.wait_metric("retries_over_budget_total", lambda count: count == over + 6)
            wait_until("the hedges", lambda: total(origins) == 10)
            for origin in origins:
                origin.gate.set()
            assert [future.result()[0].status for future in futures] == [200] * 8
        assert total(origins) == 10
