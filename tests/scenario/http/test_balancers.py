"""Which endpoint a request goes to: balancers, hashing, subsets, sticky cookies, and origins that are slow."""
import contextlib
import json
import re
import threading

import pytest

from configuration import cluster, configure, under
from gateway import wait_until
from origins import Teller
from wire import request

BALANCERS = ["round-robin", "random", "least-request", "least-connections", "peak-ewma", "ring-hash", "maglev",
             "source-address", "first"]


@contextlib.contextmanager
def tellers(count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Teller(name)) for name in "abcdefgh"[:count]]


def serve(gateway, *endpoints, rules=(), **options):
    gateway.serve(configure(gateway, [cluster("c", *endpoints, **options)], rules))


def ask(client, target="/", *fields):
    """The response, and the name of the origin that gave it."""
    answer = client.exchange(request("GET", target, *fields))
    assert answer.status == 200
    return answer, json.loads(answer.body)["origin"]


@pytest.mark.parametrize("balancer", BALANCERS)
def test_each_balancer_serves(gateway, balancer):
    with tellers(3) as origins, gateway.connect() as client:
        serve(gateway, *origins, balancer=balancer)
        for _ in range(90):
            ask(client)
        counts = [origin.take_count() for origin in origins]
        assert sum(counts) == 90
        if balancer in ("round-robin", "least-connections"):
            assert max(counts) - min(counts) <= 2
        elif balancer == "first":
            assert counts == [90, 0, 0]
        elif balancer == "source-address":
            assert sorted(counts) == [0, 0, 90]
        elif balancer == "peak-ewma":
            assert min(counts) >= 1  # by latency, but each is tried
        else:  # 30 +- 5 deviations of sqrt(90 * 1/3 * 2/3)
            assert max(counts) <= 52 and min(counts) >= 7


@pytest.mark.parametrize("balancer", ["ring-hash", "maglev"])
@pytest.mark.parametrize("rule, of", [
    ({"header": "x-user"}, lambda key: ("/", f"X-User: {key}")),
    ({"cookie": "user"}, lambda key: ("/", f"Cookie: a=b; user={key}")),
    ({"query": "user"}, lambda key: (f"/?a=b&user={key}",)),
    ({"path": True}, lambda key: (f"/{key}?x=y",)),
])
def test_a_key_stays_with_its_origin(gateway, balancer, rule, of):
    with tellers(3) as origins, gateway.connect() as client, gateway.connect() as other:
        serve(gateway, *origins, balancer=balancer, balancing={"hash": [{"header": "x-none"}, rule]})
        first = {key: ask(client, *of(key))[1] for key in range(40)}
        assert set(first.values()) == {"a", "b", "c"}
        assert {key: ask(other, *of(key))[1] for key in range(40)} == first
        serve(gateway, *origins[:2], balancer=balancer, balancing={"hash": [{"header": "x-none"}, rule]})
        second = {key: ask(client, *of(key))[1] for key in range(40)}
        assert set(second.values()) == {"a", "b"}
        if balancer == "ring-hash":  # how few Maglev moves: tests/unit/dataplane/balance/test_hashing.c, and clusters/churn.py
            assert [key for key in first if first[key] not in ("c", second[key])] == []


def test_a_rule_chooses_a_subset(gateway):
    with tellers(3) as (a, b, c), gateway.connect() as client:
        endpoints = [{"address": o.endpoint, "metadata": {"version": v}} for o, v in ((a, "1"), (b, "1"), (c, "2"))]
        rules = [under("/new", {"clusters": [{"name": "c", "subset": {"version": "2"}}]}),
                 under("/old", {"clusters": [{"name": "c", "subset": {"version": "1"}}]}),
                 under("/none", {"clusters": [{"name": "c", "subset": {"version": "3"}}]})]
        serve(gateway, *endpoints, rules=rules, balancing={"subsets": [{"keys": ["version"]}]})
        assert {ask(client, "/new")[1] for _ in range(10)} == {"c"}
        assert {ask(client, "/old")[1] for _ in range(10)} == {"a", "b"}
        assert {ask(client, "/")[1] for _ in range(10)} == {"a", "b", "c"}
        assert client.exchange(request("GET", "/none")).status == 503
        serve(gateway, *endpoints, rules=rules,
              balancing={"subsets": [{"keys": ["version"]}], "subset-fallback": True})
        assert {ask(client, "/none")[1] for _ in range(10)} == {"a", "b", "c"}


def test_keys_without_subsets_are_refused(gateway):
    with tellers(1) as (a,):
        rules = [under("/new", {"clusters": [{"name": "c", "subset": {"stage": "2"}}]})]
        done = gateway.push(configure(gateway, [cluster("c", a, balancing={"subsets": [{"keys": ["version"]}]})], rules))
        assert not done.is_committed
        assert "subset" in repr(done)


@pytest.mark.parametrize("options, tables, entries", [
    ({"balancer": "maglev", "balancing": {"table-size": 1009}}, 4, 4 * 1009),
    ({"balancer": "source-address", "balancing": {"table-size": 1009}}, 4, 4 * 1009),
    ({"balancer": "ring-hash", "balancing": {"ring-size": 64}}, 4, 2 * (5 * 16 + 3 * 32)),  # powers of two from 64 points on
])
def test_tables_are_bounded_in_both_planes(gateway, options, tables, entries):
    """What is over the bound is found where the configuration is read; what just keeps it the data plane takes."""
    with tellers(3) as (a, b, c):
        endpoints = [{"address": a.endpoint, "weight": 4, "metadata": {"version": "1"}},
                     {"address": b.endpoint, "metadata": {"version": "1"}},
                     {"address": c.endpoint, "weight": 3, "priority": 1, "metadata": {"version": "2"}}]

        def declared(bound):
            balancing = {**options["balancing"], "subsets": [{"keys": ["version"]}], "max-table-entries": bound}
            return configure(gateway, [cluster("c", *endpoints, **{**options, "balancing": balancing})])

        said = f"the tables of all subsets and priorities ({tables}) have {entries} entries together; {entries - 1} are allowed"
        path = gateway.folder / "gateway.json"
        for command in ("push", "validate"):
            path.write_text(json.dumps(declared(entries - 1), indent=1))
            done = gateway.headgate(command, path)
            assert done.returncode == 1 and said in done.stdout + done.stderr, done
            assert re.search(rf"gateway\.json:\d+:\d+: clusters\[0\]\.balancing\.max-table-entries: ", done.stdout + done.stderr)
        gateway.serve(declared(entries))
        more = gateway.folder / "more.json"
        more.write_text(json.dumps({"endpoints": [{**endpoints[1], "metadata": {"version": "3"}}, *endpoints]}, indent=1)
                        .replace(b.endpoint, "127.0.0.1:1", 1))
        done = gateway.headgate("set", "endpoint-set/c", more)
        assert done.returncode == 1 and "more.json:1:1: " in done.stderr and "(5) have" in done.stderr, done


def test_lower_priorities_wait(gateway):
    with tellers(2) as (a, b), gateway.connect() as client:
        low = {"address": b.endpoint, "priority": 1}
        serve(gateway, a, low)
        assert {ask(client)[1] for _ in range(20)} == {"a"}
        serve(gateway, {"address": b.endpoint, "priority": 0})
        assert {ask(client)[1] for _ in range(20)} == {"b"}


def test_a_cookie_brings_a_client_back(gateway):
    with tellers(3) as origins, gateway.connect() as client:
        serve(gateway, *origins, sticky={"name": "who", "path": "/"})
        answer, name = ask(client)
        cookie = answer["Set-Cookie"]
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
        cookie = cookie.split(";")[0]
        for _ in range(9):
            answer, again = ask(client, "/", f"Cookie: a=b; {cookie}")
            assert again == name and answer["Set-Cookie"] is None
        assert len({ask(client)[1] for _ in range(9)}) == 3  # without it: turns
        forged = cookie[:-1] + ("0" if cookie[-1] != "0" else "1")
        assert len({ask(client, "/", f"Cookie: {forged}")[1] for _ in range(9)}) == 3
        serve(gateway, *(o for o in origins if o.name != name), sticky={"name": "who", "path": "/"})
        answer, other = ask(client, "/", f"Cookie: {cookie}")
        assert other != name and answer["Set-Cookie"].split(";")[0] != cookie


def test_of_several_cookies_the_first_counts(gateway):
    with tellers(2) as origins, gateway.connect() as client:
        serve(gateway, *origins, sticky={"name": "who", "path": "/"})
        cookies = {name: answer["Set-Cookie"].split(";")[0] for answer, name in (ask(client) for _ in range(4))}
        a, b, forged = cookies["a"], cookies["b"], "who=" + 48 * "0"
        for fields, name in [((f"Cookie: {a}; {b}",), "a"), ((f"Cookie: {b}; {a}",), "b"),
                             ((f"Cookie: {a}", f"Cookie: {b}"), "a"), ((f"Cookie: x=y; {b}", f"Cookie: {a}"), "b")]:
            assert {ask(client, "/", *fields)[1] for _ in range(6)} == {name}
        answers = [ask(client, "/", f"Cookie: {forged}; {a}") for _ in range(6)]  # then it is as if there was none
        assert {name for _, name in answers} == {"a", "b"} and all(answer["Set-Cookie"] for answer, _ in answers)


class Slow(Teller):
    """Answers when the others have given forty more answers, or when none can come: all clients that still ask wait here."""

    def __init__(self, others, clients):
        self.others, self.asking, self.waiting = others, clients, 0
        super().__init__("slow")

    def answered(self):
        return sum(origin.count for origin in self.others)

    def change(self, asking=0, waiting=0):
        with self.lock:
            self.asking += asking
            self.waiting += waiting

    def wait_for_the_others(self):
        goal = self.answered() + 40
        self.change(waiting=1)
        wait_until("the others' answers", lambda: self.answered() >= goal or self.waiting >= self.asking)
        self.change(waiting=-1)


@pytest.mark.parametrize("balancer", ["least-request", "least-connections", "peak-ewma"])
def test_a_slow_origin_gets_less(gateway, balancer):
    clients, requests = 8, 60
    with tellers(2) as fast, Slow(fast, clients) as slow:
        serve(gateway, *fast, slow, balancer=balancer)

        def run():
            with gateway.connect() as client:
                for _ in range(requests):
                    ask(client)
            slow.change(asking=-1)

        threads = [threading.Thread(target=run) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts = [origin.take_count() for origin in (*fast, slow)]
        assert sum(counts) == clients * requests
        assert counts[2] < clients * requests / 5  # a third, with equal shares
