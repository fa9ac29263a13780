"""Endpoints that fail or stand out are left alone for a time: what each origin saw before and after."""
import collections
import contextlib
import json
import re
import threading

import pytest

from configuration import cluster, configure, under
from gateway import wait_until
from load import Clients
from moody import RESET, Process, moody
from wire import request

THRESHOLD, CLIENTS = 5, 8
MOST = THRESHOLD + 2 * CLIENTS  # answers that were good and late may break a row once more
OFF = {"consecutive-5xx": 0, "consecutive-gateway-failures": 0, "consecutive-local-failures": 0}
ROWS = {"consecutive-5xx": THRESHOLD, "consecutive-gateway-failures": THRESHOLD, "consecutive-local-failures": THRESHOLD}
RETRY = {"retries": 2, "on": ["connect-failure", "reset"]}


def serve(gateway, name, *endpoints, retry=None, balancer="round-robin", **detection):
    """All requests go to one cluster of these endpoints. The retry budget is for all of them to fail at once."""
    options = {"balancer": balancer, "outlier-detection": detection, "circuit-breakers": {"min-retries": 100}}
    config = configure(gateway, [cluster(name, *endpoints, **options)])
    config["route-tables"][0]["hosts"][0]["rules"] = [{"cluster": name, **({"retry": retry} if retry else {})}]
    gateway.serve(config)


def ejections(gateway, reason=None):
    """How many there were, for one reason or all."""
    label = re.escape(reason) if reason else '[^"]*'
    values = re.findall(rf'headgate_ejections_total{{reason="{label}"}} (\d+)', gateway.metrics_text())
    assert values, "there is no metric headgate_ejections_total"
    return sum(map(int, values))


def ask(client, times, target="/"):
    """The statuses that came."""
    return [client.exchange(request(target=target)).status for _ in range(times)]


def records(gateway, message, name):
    """Records of the log about this cluster."""
    lines = [line for line in gateway.logs().splitlines() if f'"{message}"' in line and line.endswith("}")]
    return [record for record in map(json.loads, lines) if record.get("cluster") == name]


def wait_records(gateway, message, name, count):
    found = wait_until(f"{count} times {message!r} in the log",
                       lambda: [found] if len(found := records(gateway, message, name)) >= count else None)[0]
    assert len(found) == count, found
    return found


def wait_back(gateway):
    gateway.wait_metric("endpoints_ejected", lambda ejected: ejected == 0)


@pytest.fixture(autouse=True)
def nobody_is_out_afterwards(request):
    """Each test has endpoints of its own: with them their ejections go."""
    yield
    if "gateway" in request.fixturenames:
        gateway = request.getfixturevalue("gateway")
        gateway.serve(configure(gateway, [], [{"respond": {"status": 404}}]))
        wait_back(gateway)


def fail_until_left(gateway, client, origin, status, reason, target="/"):
    """The row is enough, and one less is not. However long that takes: nothing is counted of the time after it."""
    before = ejections(gateway, reason)
    origin.take_count()
    origin.mood = status
    wait_until("all but one of the row", lambda: ask(client, 1, target) and origin.count == THRESHOLD - 1)
    assert ejections(gateway, reason) == before
    wait_until("the row is long enough", lambda: ask(client, 1, target) and origin.count == THRESHOLD)
    wait_until("it is left alone", lambda: ejections(gateway, reason) == before + 1)
    origin.mood = 200


def assert_it_is_used_like_the_others(client, origins, target="/"):
    for origin in origins:
        origin.take_count()
    assert ask(client, 30, target) == [200] * 30
    assert all(8 <= origin.take_count() <= 12 for origin in origins)


@pytest.mark.parametrize("status, reason", [(500, "consecutive-5xx"), (503, "consecutive-gateway-failures")])
def test_failing_origin_is_left_at_the_threshold(gateway, status, reason):
    name = f"failing-{status}"
    with moody("a", "b", "c") as (a, b, c), gateway.connect() as client:
        serve(gateway, name, a, b, c, **{**ROWS, "base-ejection": "60s"})
        before = ejections(gateway, reason)
        b.mood = status
        statuses = ask(client, 30)
        assert statuses.count(status) == THRESHOLD and statuses.count(200) == 30 - THRESHOLD
        assert b.take_count() == THRESHOLD
        assert ejections(gateway, reason) == before + 1
    [record] = wait_records(gateway, "endpoint is ejected", name, 1)
    assert (record["endpoint"], record["reason"], record["for_ms"], record["in_row"]) == (b.endpoint, reason, 60000, 1)


def test_origin_that_was_left_comes_back(gateway):
    with moody("a", "b", "c") as (a, b, c), gateway.connect() as client:
        serve(gateway, "returning", a, b, c, **{**ROWS, "base-ejection": "1s"})
        fail_until_left(gateway, client, b, 500, "consecutive-5xx")
        wait_back(gateway)
        assert_it_is_used_like_the_others(client, (a, b, c))
        fail_until_left(gateway, client, b, 503, "consecutive-gateway-failures")
        wait_back(gateway)
        assert_it_is_used_like_the_others(client, (a, b, c))
    first, second = wait_records(gateway, "endpoint is ejected", "returning", 2)
    assert (first["endpoint"], first["reason"], first["for_ms"], first["in_row"]) == (b.endpoint, "consecutive-5xx", 1000, 1)
    assert second["reason"] == "consecutive-gateway-failures"
    assert second["in_row"] in (1, 2) and second["for_ms"] == 1000 * second["in_row"]  # 1 after a long time without
    assert all(record["endpoint"] == b.endpoint for record in wait_records(gateway, "endpoint is used again", "returning", 2))


def test_without_detection_nobody_is_left(gateway):
    with moody("a", "b") as (a, b), gateway.connect() as client:
        gateway.serve(configure(gateway, [cluster("plain", a, b)]))
        before = ejections(gateway)
        b.mood = 500
        assert ask(client, 40).count(500) >= 19
        assert ejections(gateway) == before


def test_under_load_no_more_is_seen_than_the_row_and_what_was_in_flight(gateway):
    """The threshold counts all workers' failures together, and holds for all of them at once."""
    with moody("a", "b", "c") as (a, b, c):
        serve(gateway, "resetting", a, b, c, **{**ROWS, "base-ejection": "60s"})
        before = ejections(gateway)
        with Clients(gateway, threads=CLIENTS) as clients:
            wait_until("all are in use", lambda: all(origin.count for origin in (a, b, c)))
            with b.lock:
                b.mood, b.count = RESET, 0
            wait_until("it is ejected", lambda: ejections(gateway) == before + 1)
            with b.lock:
                seen = b.count
            answered, failed = clients.answered, len(clients.failures)
            for origin in (a, c):
                origin.take_count()
            wait_until("many more are answered", lambda: clients.answered > answered + 300)
            with b.lock:
                assert b.count - seen <= CLIENTS       # those that were on their way when the metric was read
                assert b.count <= MOST
        assert min(a.take_count(), c.take_count()) > 100
        assert len(clients.failures) - failed <= CLIENTS
        assert len(clients.failures) <= MOST


class CountingEach(Clients):
    """Counts the good answers of each of its threads."""

    def __init__(self, *how, **more):
        super().__init__(*how, **more)
        self.each = collections.Counter()

    def ask(self, client):
        super().ask(client)
        self.each[threading.get_ident()] += 1

    def wait_each(self):
        """Until each has had one more. What failed before has been noted then."""
        before = [(thread.ident, self.each[thread.ident]) for thread in self.threads]
        wait_until("each has one more answer", lambda: all(self.each[ident] > count for ident, count in before))


def fail_when_one_is_killed(gateway, retry, balancer, row, most_ejected):
    """One of three origins is killed under load: the failures that clients saw."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(Process()) for _ in range(3)]
        serve(gateway, "killed", *processes, retry=retry, balancer=balancer,
              **{**dict.fromkeys(ROWS, row), "base-ejection": "60s", "max-ejected-percent": most_ejected})
        before = ejections(gateway, "consecutive-local-failures")
        with CountingEach(gateway, threads=CLIENTS) as clients:
            wait_until("it runs", lambda: clients.answered > 100)
            processes[1].kill()
            wait_until("it is ejected", lambda: ejections(gateway, "consecutive-local-failures") == before + 1)
            clients.wait_each()
            failed, answered = len(clients.failures), clients.answered
            wait_until("many more are answered", lambda: clients.answered > answered + 300)
            assert len(clients.failures) == failed
        assert ejections(gateway, "consecutive-local-failures") == before + 1
        return clients.failures


def test_killed_origin_fails_no_more_than_was_in_flight_on_it(gateway):
    """With least connections an endpoint has at most a third of what a worker has under way, rounded up, at every moment. With
    a row of one a worker begins nothing there after the first failure that it sees: either the endpoint is out, or there is
    room for this worker to eject it."""
    failures = fail_when_one_is_killed(gateway, {"retries": 0}, "least-connections", row=1, most_ejected=100)
    assert len(failures) <= (CLIENTS + 2 * gateway.workers) // 3, failures


def test_killed_origin_fails_nothing_that_may_be_retried(gateway):
    assert not fail_when_one_is_killed(gateway, RETRY, "round-robin", row=THRESHOLD, most_ejected=10)


def test_no_more_than_the_share_is_ejected(gateway):
    with moody(*"abcde") as origins, gateway.connect() as client:
        serve(gateway, "many", *origins, **{**ROWS, "base-ejection": "60s", "max-ejected-percent": 40})
        before = ejections(gateway)
        for origin in origins[:3]:
            origin.mood = 502
        ask(client, 5 * THRESHOLD + 10)
        assert ejections(gateway) == before + 2
        for origin in origins:
            origin.take_count()
        statuses = ask(client, 60)
        counts = [origin.take_count() for origin in origins]
        assert sorted(counts[:3])[:2] == [0, 0] and 18 <= max(counts[:3]) <= 22
        assert statuses.count(502) == max(counts[:3])
        assert gateway.metric("endpoints_ejected") == 2
        assert ejections(gateway) == before + 2


def test_when_all_are_ejected_all_are_used(gateway):
    with moody("a", "b") as origins, gateway.connect() as client:
        serve(gateway, "panic", *origins, **{**ROWS, "base-ejection": "60s", "max-ejected-percent": 100})
        for origin in origins:
            origin.mood = 500
        assert ask(client, 4 * THRESHOLD) == [500] * (4 * THRESHOLD)
        assert gateway.metric("endpoints_ejected") == 2
        for origin in origins:
            origin.mood = 200
        assert ask(client, 20) == [200] * 20
        assert gateway.metric("endpoints_ejected") == 2


def test_change_of_the_cluster_leaves_ejections_as_they_are(gateway):
    detection = {**ROWS, "base-ejection": "60s"}
    with moody("a", "b", "c") as (a, b, c), gateway.connect() as client:
        serve(gateway, "changing", a, b, **detection)
        b.mood = 500
        ask(client, 4 * THRESHOLD)
        assert b.take_count() == THRESHOLD and gateway.metric("endpoints_ejected") == 1
        serve(gateway, "changing", a, b, c, **detection)
        assert ask(client, 20) == [200] * 20
        assert b.take_count() == 0 and c.take_count() > 5
        serve(gateway, "changing", c, b, **{**detection, "consecutive-5xx": 7})
        assert ask(client, 20) == [200] * 20
        assert b.take_count() == 0
        serve(gateway, "changing", a, c, **detection)
        wait_back(gateway)  # it has left, and its place with it


def test_slow_origin_is_ejected_for_its_latency(gateway):
    with moody(*"abcd") as origins:
        slow = origins[2]
        serve(gateway, "slow", *origins, **{**OFF, "interval": "500ms", "latency-factor": 500, "min-endpoints": 4,
                                            "min-requests": 5, "base-ejection": "60s"})
        before = ejections(gateway, "latency")
        slow.delay = 0.1
        with Clients(gateway, threads=CLIENTS) as clients:
            wait_until("it is ejected", lambda: ejections(gateway, "latency") == before + 1)
        assert not clients.failures
    assert [record["endpoint"] for record in wait_records(gateway, "endpoint is ejected", "slow", 1)] == [slow.endpoint]


@pytest.mark.parametrize("rule, limit", [("failure-percent", 40), ("success-rate", 1000)])
def test_origin_that_fails_often_is_ejected_for_its_share(gateway, rule, limit):
    """Never a row, since every other answer is good. Rates of 1, 1 and 1/2 deviate by 0.24 from their mean of 0.83."""
    key = {"success-rate": "success-rate-factor"}.get(rule, rule)
    with moody(*"abc") as origins, gateway.connect() as client:
        serve(gateway, f"often-{rule}", *origins, **{**ROWS, "interval": "500ms", key: limit, "min-endpoints": 3,
                                                     "min-requests": 4, "base-ejection": "60s"})
        before = ejections(gateway, rule)

        def go_on():
            origins[0].mood = 200 if origins[0].mood == 500 else 500
            ask(client, 3)
            return ejections(gateway, rule) == before + 1
        wait_until("it is ejected", go_on)
    [record] = wait_records(gateway, "endpoint is ejected", f"often-{rule}", 1)
    assert (record["endpoint"], record["reason"]) == (origins[0].endpoint, rule)


def test_it_goes_on_without_a_control_plane(own):
    with moody(*"abcdef") as origins:
        a, b, c, d, e, f = origins
        detection = {**ROWS, "base-ejection": "60s"}
        own.serve(configure(own, [cluster("alone", a, b, c, **{"outlier-detection": detection}),
                                  cluster("shortly", d, e, f, **{"outlier-detection": {**detection, "base-ejection": "1s"}})],
                            [under("/shortly", "shortly")]))
        own.kill_control_plane()
        with own.connect() as client:
            b.mood = 500
            assert ask(client, 30).count(500) == THRESHOLD
            assert b.take_count() == THRESHOLD
            fail_until_left(own, client, e, 500, "consecutive-5xx", "/shortly")
            own.wait_metric("endpoints_ejected", lambda ejected: ejected == 1)
            assert_it_is_used_like_the_others(client, (d, e, f), "/shortly")
