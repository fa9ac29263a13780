"""Endpoints of the data plane's own zone first, and others as far as those do not suffice: what each origin saw."""
import pytest

from configuration import cluster, configure
from counted import ask, counted, total
from gateway import Gateway

ROW = 2
REQUESTS = 600
LOST = {"outlier-detection": {"consecutive-5xx": ROW, "consecutive-gateway-failures": ROW, "base-ejection": "60s",
                              "max-ejected-percent": 100}}


@pytest.fixture(scope="module", name="here")
def gateway_with_a_zone():
    """Its data plane is in the zone "here"."""
    gateway = Gateway(workers=1)
    gateway.environment["HEADGATE_ZONE"] = "here"
    try:
        yield gateway.start()
    finally:
        gateway.stop()


def serve(gateway, name, zones, **options):
    """`zones`: pairs of a zone and its origins."""
    endpoints = [{"address": origin.endpoint, "zone": zone} for zone, origins in zones for origin in origins]
    gateway.serve(configure(gateway, [cluster(name, *endpoints, balancing={"prefer-zone": True}, **LOST, **options)]))


def lose(gateway, origins):
    """They fail until they are ejected."""
    for origin in origins:
        origin.status = 503
    before = gateway.metric("endpoints_ejected")
    for _ in range(100):
        ask(gateway, 10)
        if gateway.metric("endpoints_ejected") == before + len(origins):
            break
    assert gateway.metric("endpoints_ejected") == before + len(origins)


def counts(gateway, *groups):
    """How many of REQUESTS come to each group of origins."""
    for group in groups:
        for origin in group:
            origin.take_count()
    assert [answer.status for answer in ask(gateway, REQUESTS)] == [200] * REQUESTS
    found = [total(group) for group in groups]
    assert sum(found) == REQUESTS
    return found


def test_while_our_zone_suffices_nobody_leaves_it(here):
    with counted(*"abcd") as ours, counted(*"wxyz") as theirs:
        serve(here, "enough", [("here", ours), ("there", theirs)])
        assert counts(here, ours, theirs) == [REQUESTS, 0]
        lose(here, ours[:1])  # three of four are 75 %, and 72 % suffice
        assert counts(here, ours, theirs) == [REQUESTS, 0]


def test_what_our_zone_cannot_take_spills_over(here):
    """Two of four take 1.4 times their half; one of four, of its quarter. Six deviations of a binomial share are allowed."""
    with counted(*"abcd") as ours, counted(*"wx") as far, counted(*"yz") as farther:
        serve(here, "spilling", [("here", ours), ("there", far), ("yonder", farther)])
        for lost, share in [(ours[:2], 0.7), (ours[2:3], 0.35)]:
            lose(here, lost)
            near, *others = counts(here, ours, far, farther)
            bound = 6 * (REQUESTS * share * (1 - share)) ** 0.5
            assert abs(near - share * REQUESTS) <= bound, near
            assert min(others) > 0 and abs(others[0] - others[1]) <= bound
            assert sum(origin.count for origin in lost) == 0
        lose(here, ours[3:])
        assert counts(here, ours, far, farther)[0] == 0


def test_an_empty_zone_of_ours_leaves_all_to_others(here):
    with counted("a", "b") as far, counted("c", "d") as farther:
        serve(here, "foreign", [("there", far), ("yonder", farther)])
        near, distant = counts(here, far, farther)
        assert abs(near - distant) <= 2


def test_without_a_zone_of_its_own_all_are_alike(gateway):
    with counted("a", "b") as some, counted("c", "d") as others:
        serve(gateway, "nowhere", [("here", some), ("there", others)])
        assert abs(counts(gateway, some, others)[0] - REQUESTS / 2) <= 4
