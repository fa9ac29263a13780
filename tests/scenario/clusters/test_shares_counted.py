"""What share of the requests each origin sees: by weight, by the client's address, while it is new, and below a bound."""
import math

import pytest

from configuration import cluster, configure
from counted import ask, clients, counted, total
from gateway import wait_until
from shares import REQUESTS, TURNS, by_chance, counts
from wire import request

WEIGHTS = (1, 2, 3)
RING_SIZE = 65536
POINTS = 2 ** math.ceil(math.log2(RING_SIZE / sum(WEIGHTS)))    # of the ring, for a weight of 1


def serve(gateway, name, endpoints, **options):
    gateway.serve(configure(gateway, [cluster(name, *endpoints, **options)]))


def by_points(share):
    """By chance, where the chance is that of a ring: five deviations of its points' share more."""
    return by_chance(share) + 5 * REQUESTS * share / math.sqrt(POINTS)


@pytest.mark.parametrize("balancer, balancing, most", [
    ("round-robin", {}, lambda _: TURNS),
    ("least-connections", {}, lambda _: TURNS),
    ("random", {}, by_chance),
    ("least-request", {}, by_chance),
    ("maglev", {}, by_chance),
    ("ring-hash", {"ring-size": RING_SIZE}, by_points),
])
def test_weights_count(single, balancer, balancing, most):
    """One request after the other, so that nobody is ahead by what is under way; and without a key chance decides."""
    with counted(*"abc") as origins:
        endpoints = [{"address": origin.endpoint, "weight": weight} for origin, weight in zip(origins, WEIGHTS)]
        serve(single, f"by-{balancer}", endpoints, balancer=balancer, balancing=balancing)
        for weight, count in zip(WEIGHTS, counts(single, *zip(origins))):
            share = weight / sum(WEIGHTS)
            assert abs(count - REQUESTS * share) <= most(share), (weight, count)


@pytest.mark.parametrize("balancer, options", [
    ("source-address", {}),
    ("maglev", {"balancing": {"hash": [{"address": True}]}}),
    ("ring-hash", {"balancing": {"hash": [{"address": True}]}}),
])
def test_a_clients_address_stays_with_its_origin(gateway, balancer, options):
    """On any connection and worker."""
    def asked_from(source):
        with gateway.connect(source=source) as client:
            return client.exchange(request())["X-Origin"]

    with counted(*"abc") as origins:
        serve(gateway, f"address-{balancer}", origins, balancer=balancer, **options)
        sources = [f"127.0.3.{i}" for i in range(1, 61)]
        first = [asked_from(source) for source in sources]
        assert set(first) == set("abc")
        assert [asked_from(source) for source in sources] == first


@pytest.mark.parametrize("balancer, most", [("round-robin", lambda _: TURNS), ("random", by_chance)])
def test_who_is_new_begins_with_a_part_of_its_share(single, balancer, most):
    options = {"balancer": balancer, "balancing": {"slow-start": {"window": "1h", "min-percent": 10}}}
    with counted(*"abc") as origins:
        serve(single, f"growing-{balancer}", origins[:2], **options)
        ask(single)
        serve(single, f"growing-{balancer}", origins, **options)
        share = 0.1 / 2.1
        assert abs(counts(single, origins[:2], origins[2:])[1] - REQUESTS * share) <= most(share)


@pytest.mark.parametrize("balancer", ["maglev", "ring-hash"])
@pytest.mark.parametrize("bound", ["off", 125])
def test_one_key_goes_to_others_beyond_the_bound(single, balancer, bound):
    """All requests have the same path, and none is answered until all are there."""
    requests, endpoints = 12, 5
    with counted(*"abcde") as origins:
        serve(single, f"bounded-{balancer}-{bound}", origins, balancer=balancer,
              balancing={"hash": [{"path": True}], "load-bound": bound})
        for origin in origins:
            origin.gate.clear()
        with clients(single, requests) as futures:
            wait_until("all of them", lambda: total(origins) == requests)
            for origin in origins:
                origin.gate.set()
            assert [future.result()[0].status for future in futures] == [200] * requests
        fullest = max(origin.most for origin in origins)
        assert fullest == (requests if bound == "off" else math.ceil(bound / 100 * requests / endpoints))
