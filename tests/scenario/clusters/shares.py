"""How many of a fixed number of requests each group of origins sees, what chance allows, and origins that are lost."""
import math

from counted import ask, total

REQUESTS = 600
TURNS = 2               # by which whoever takes turns is off at most
ROW = 2
LOST = {"outlier-detection": {"consecutive-5xx": ROW, "consecutive-gateway-failures": ROW, "base-ejection": "5m",
                              "max-ejected-percent": 100}}  # of a cluster whose origins `lose` is given


def counts(gateway, *groups):
    """How many of REQUESTS, one after the other, come to each group of origins; all are answered."""
    for group in groups:
        for origin in group:
            origin.take_count()
    assert [answer.status for answer in ask(gateway, REQUESTS)] == [200] * REQUESTS
    found = [total(group) for group in groups]
    assert sum(found) == REQUESTS
    return found


def by_chance(share):
    """Six deviations of what is drawn with this chance."""
    return 6 * math.sqrt(REQUESTS * share * (1 - share))


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
