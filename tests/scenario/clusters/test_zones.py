"""Endpoints of the data plane's own zone first, and others as far as those do not suffice: what each origin saw."""
import pytest

from configuration import cluster, configure
from counted import counted
from gateway import Gateway
from shares import LOST, REQUESTS, by_chance, counts, lose


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


def test_while_our_zone_suffices_nobody_leaves_it(here):
    with counted(*"abcd") as ours, counted(*"wxyz") as theirs:
        serve(here, "enough", [("here", ours), ("there", theirs)])
        assert counts(here, ours, theirs) == [REQUESTS, 0]
        lose(here, ours[:1])  # three of four are 75 %, and 72 % suffice
        assert counts(here, ours, theirs) == [REQUESTS, 0]


def test_what_our_zone_cannot_take_spills_over(here):
    """Two of four take 1.4 times their half; one of four, of its quarter."""
    with counted(*"abcd") as ours, counted(*"wx") as far, counted(*"yz") as farther:
        serve(here, "spilling", [("here", ours), ("there", far), ("yonder", farther)])
        for lost, share in [(ours[:2], 0.7), (ours[2:3], 0.35)]:
            lose(here, lost)
            near, *others = counts(here, ours, far, farther)
            assert abs(near - share * REQUESTS) <= by_chance(share), near
            assert min(others) > 0 and abs(others[0] - others[1]) <= by_chance(share)
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
