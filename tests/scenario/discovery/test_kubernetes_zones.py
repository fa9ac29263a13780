"""Zones of Kubernetes' endpoints, and hints for others, at a data plane that is in the zone "here"."""
import contextlib

import pytest

from configuration import cluster, configure
from counted import counted
from gateway import wait_until
from kubernetes_site import chosen
from test_kubernetes import answered, at, wait_answered

LOST = {"outlier-detection": {"consecutive-5xx": 2, "base-ejection": "60s", "max-ejected-percent": 100}}


@pytest.fixture(name="place", params=["double", "real"])
def make_place(request):
    with contextlib.ExitStack() as stack:
        api, gateway = stack.enter_context(chosen(request, zone="here"))
        yield api, gateway, stack.enter_context(counted(*"abc"))


def put(api, origin, zone, hint=None):
    hints = {"hints": {"forZones": [{"name": hint}]}} if hint else {}
    api.slice(f"web-{origin.name}", "web", [at(origin, zone=zone, **hints)], ports=[("http", origin.port)])


def serve(gateway):
    gateway.serve(configure(gateway, [cluster("c", discovery={"kubernetes": {"service": "web"}},
                                              balancing={"prefer-zone": True}, **LOST)]))


def lose(gateway, origin):
    """It fails until it is ejected."""
    origin.status = 503
    wait_until("it is ejected", lambda: answered(gateway) and gateway.metric("endpoints_ejected") == 1)


def test_hints_say_whose_endpoints_are_used(place):
    api, gateway, (a, b, c) = place
    put(api, a, "there", hint="here")
    put(api, b, "there", hint="here")
    put(api, c, "here", hint="there")
    serve(gateway)
    wait_answered(gateway, "ab")
    assert answered(gateway, 100) == {"a", "b"}
    lose(gateway, b)
    wait_answered(gateway, "ac")        # half of our zone takes 1.4 times its half, the other zone the rest
    api.delete("endpointslices", "web-b")
    wait_answered(gateway, "a")         # the whole of our zone takes all


def test_without_hints_an_endpoint_is_in_its_own_zone(place):
    api, gateway, (a, b, c) = place
    put(api, a, "here")
    put(api, b, "there")
    serve(gateway)
    wait_answered(gateway, "a")
    put(api, b, "there", hint="here")
    wait_answered(gateway, "ab")
    put(api, a, "here", hint="there")
    wait_answered(gateway, "b")
    put(api, b, "there", hint="yonder")
    put(api, c, "yonder")
    wait_answered(gateway, "abc")       # nothing is here: all zones are alike
