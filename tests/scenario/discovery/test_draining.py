"""An endpoint that a management server drains: what is new, what is under way, what is kept, and who is told."""
import contextlib
import json
import re

import pytest

import envoy
from configuration import cluster, configure
from counted import ask, counted
from gateway import Gateway, wait_until
from management import ManagementServer
from wire import request

REQUESTS, TURNS = 60, 2


@pytest.fixture(name="place")
def make_place():
    """(management server, gateway, three origins): a cluster of ours whose endpoints the server assigns."""
    with contextlib.ExitStack() as stack:
        origins = stack.enter_context(counted(*"abc"))
        server = stack.enter_context(ManagementServer(ads=True))
        gateway = Gateway(workers=1)
        stack.callback(gateway.stop)
        path = gateway.folder / "bootstrap.json"
        path.write_text(json.dumps(envoy.bootstrap("ads", server.port)))
        gateway.control_arguments = ["--xds-bootstrap", path]
        gateway.start().serve(configure(gateway, [cluster("web", discovery={"xds": {"service": "web"}}, sticky={"name": "who"})]))
        yield server, gateway, origins


def health_of(gateway):
    """{address: health} once the data plane has what the control plane says."""
    status = gateway.status()
    if status["data_planes"][0]["serving"]["generation"] != status["generation"]:
        return {}
    return {e["address"]: e.get("health") for e in status["clusters"][0].get("endpoints", [])}


def serve(place, version, **health):
    """Until this is what is used: the health of origins by their names; others are HEALTHY."""
    server, gateway, origins = place
    assignment = envoy.assignment("web", [origin.endpoint for origin in origins])
    for origin, endpoint in zip(origins, assignment["endpoints"][0]["lb_endpoints"]):
        endpoint["health_status"] = health.get(origin.name, "HEALTHY")
    server.serve(version, [assignment])
    wanted = {origin.endpoint: health.get(origin.name, "HEALTHY").lower() for origin in origins}
    wait_until(f"{wanted} is used", lambda: health_of(gateway) == wanted)


def told(answer):
    """The cookie that an answer sets, None where it sets none."""
    return answer["Set-Cookie"] and answer["Set-Cookie"].split(";")[0]


def ask_with(client, cookie):
    return client.exchange(request("GET", "/", f"Cookie: {cookie}"))


def test_a_drained_endpoint_finishes_what_it_has(place):
    _server, gateway, (a, b, c) = place
    serve(place, 1)
    with gateway.connect() as client:
        cookies = {answer["X-Origin"]: told(answer) for answer in (client.exchange(request()) for _ in range(6))}
        assert set(cookies) == set("abc")
        a.gate.clear()
        client.send(request("GET", "/", f"Cookie: {cookies['a']}"))
        wait_until("it is under way", lambda: a.at_once == 1)
        serve(place, 2, a="DRAINING")
        for origin in (a, b, c):
            origin.take_count()
        assert [answer.status for answer in ask(gateway, REQUESTS)] == [200] * REQUESTS
        assert a.take_count() == 0 and abs(b.take_count() - REQUESTS / 2) <= TURNS
        assert re.search(rf"{a.endpoint} +1 +draining ", gateway.headgate("status").stdout)

        a.gate.set()
        answer = client.receive_response()
        assert answer.status == 200 and answer["X-Origin"] == "a" and told(answer) is None
        moved = ask_with(client, cookies["a"])      # on the same connection
        assert moved["X-Origin"] in "bc" and told(moved)
        assert {ask_with(client, told(moved))["X-Origin"] for _ in range(6)} == {moved["X-Origin"]}
        assert a.take_count() == 0

        serve(place, 3)
        assert ask_with(client, cookies["a"])["X-Origin"] == "a"


def test_nobody_is_sent_to_who_drains_even_in_panic(place):
    _server, gateway, (a, b, c) = place
    serve(place, 1, a="DRAINING", b="UNHEALTHY", c="UNHEALTHY")
    assert [answer.status for answer in ask(gateway, REQUESTS)] == [200] * REQUESTS
    assert a.count == 0 and abs(b.count - REQUESTS / 2) <= TURNS
    serve(place, 2, a="DRAINING", b="DRAINING", c="DRAINING")
    for origin in (a, b, c):
        origin.take_count()
    assert gateway.get().status == 503 and a.count + b.count + c.count == 0
