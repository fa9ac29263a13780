"""Endpoints of the first priority, and of the next as far as those do not suffice: what each origin saw."""
from configuration import cluster, configure
from counted import counted, total
from shares import LOST, REQUESTS, TURNS, by_chance, counts, lose

OVERPROVISIONING = 1.4


def serve(gateway, priorities, **balancing):
    endpoints = [{"address": origin.endpoint, "priority": priority}
                 for priority, origins in enumerate(priorities) for origin in origins]
    gateway.serve(configure(gateway, [cluster("spilling", *endpoints, balancing=balancing, **LOST)]))


def assert_shares(gateway, priorities, shares):
    """A share of nothing, or of everything, is exact."""
    found = counts(gateway, *priorities)
    for count, share in zip(found, shares):
        assert abs(count - REQUESTS * share) <= by_chance(share), (found, shares)


def test_what_a_priority_cannot_take_spills_over(single):
    """Each takes what is left, up to 1.4 times the part of its endpoints that is available."""
    with counted(*"abcd") as first, counted(*"rstuvw") as second, counted(*"yz") as third:
        priorities, quarter, sixth = (first, second, third), OVERPROVISIONING / 4, OVERPROVISIONING / 6
        serve(single, priorities, **{"panic-threshold": "off"})
        stages = [
            ([], (1, 0, 0)),
            (first[:1], (1, 0, 0)),                                         # three quarters suffice
            (first[1:2], (2 * quarter, 1 - 2 * quarter, 0)),
            (second[:1], (2 * quarter, 1 - 2 * quarter, 0)),                # five sixths suffice for that
            (first[2:3], (quarter, 1 - quarter, 0)),                        # and for that
            (second[1:5], (quarter, sixth, 1 - quarter - sixth)),
            (third, (quarter / (quarter + sixth), sixth / (quarter + sixth), 0)),       # all that there is, scaled up
        ]
        gone = []
        for lost, shares in stages:
            lose(single, lost)
            gone += lost
            assert_shares(single, priorities, shares)
            assert total(gone) == 0
        for origin in gone:
            origin.status = 200
        serve(single, priorities)                                           # less than half are left: panic
        assert_shares(single, priorities, stages[-1][1])
        for origins in (first, second):
            assert all(abs(origin.count - total(origins) / len(origins)) <= TURNS for origin in origins)
