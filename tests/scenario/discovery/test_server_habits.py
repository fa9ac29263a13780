"""Management servers with habits that the protocol allows, or that it does not and that occur all the same."""
import time

import pytest

from planes import free_port, wait_until
from xds_server import TYPES, ManagementServer, url
from xds_site import answer, body, cluster, endpoints, listener, routes, snapshot, wait_body
from test_resources import Load, Origin


class Peculiar(ManagementServer):
    """State of the world as go-control-plane and others have it: only what has changed is sent, and a request with a nonce that
    is not the last of its type is dropped, names and all. `copies` of each answer are sent at once; `is_whole`: endpoints and routes are answered only when all that
    there are are asked for; `repeats`: what is refused is sent again at once; `twice`: a kind that has its resources twice."""

    def __init__(self, messages, resources, copies=1, is_whole=False, repeats=False):
        self.copies, self.is_whole, self.repeats, self.twice = copies, is_whole, repeats, None
        self.stale, self.unanswered, self.refused = 0, 0, []
        super().__init__(messages, resources)

    def _world(self, requests, context):
        asked, last, sent_at, shown, number = {}, {}, {}, {}, 0
        for event in self._events(requests, context, self.messages.type("envoy.service.discovery.v3.DiscoveryRequest")):
            if event == "changed":
                due = [type_url for type_url in asked if shown.get(type_url) != self.of(type_url)]
            elif event.response_nonce != last.get(event.type_url, ""):
                self.stale += 1
                continue
            else:
                due = self.note(event, asked, sent_at)
            for type_url in due * self.copies:
                response = self._response(type_url, asked[type_url], str(number + 1))
                if response:
                    number += 1
                    last[type_url], sent_at[type_url], shown[type_url] = str(number), time.monotonic(), dict(self.of(type_url))
                    yield response

    def of(self, type_url):
        return self.resources[next((kind for kind in TYPES if url(kind) == type_url), None)]

    def note(self, event, asked, sent_at):
        """The types that are to be answered."""
        is_refused = bool(event.error_detail.message)
        if is_refused:
            self.refused.append(time.monotonic() - sent_at[event.type_url])
        is_news = asked.get(event.type_url) != set(event.resource_names)
        asked[event.type_url] = set(event.resource_names)
        return [event.type_url] if is_news or (is_refused and self.repeats) else []

    def _response(self, type_url, names, nonce):
        kind = "endpoints" if type_url == url("endpoints") else "routes"
        if self.is_whole and type_url == url(kind) and not set(self.resources[kind]) <= names:
            self.unanswered += 1
            return None
        return self.doubled(type_url, "DiscoveryResponse", super()._response(type_url, names, nonce))

    def _delta_response(self, type_url, names, sent, nonce):
        return self.doubled(type_url, "DeltaDiscoveryResponse", super()._delta_response(type_url, names, sent, nonce))

    def doubled(self, type_url, message, data):
        if not data or not self.twice or type_url != url(self.twice):
            return data
        response = self.messages.type(f"envoy.service.discovery.v3.{message}").FromString(data)
        response.resources.extend(list(response.resources))
        return response.SerializeToString()


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def peculiar(messages, gateway):
    """A function that makes such a server and lets the gateway ask it."""
    made = []

    def serve(resources, api_type="GRPC", **habits):
        made.append(Peculiar(messages, resources, **habits))
        gateway.start_all(gateway.envoy_bootstrap(made[-1], api_type))
        return made[-1]

    yield serve
    for server in made:
        server.stop()


@pytest.fixture
def origins():
    started = [Origin("a"), Origin("b")]
    yield started
    for origin in started:
        origin.stop()


def site(port, table, targets):
    """A listener whose table sends to the last of the clusters; each has an origin."""
    return {"listener": {"l": listener("l", port, table)}, "routes": {table: routes(table, list(targets)[-1])},
            "cluster": {name: cluster(name) for name in targets},
            "endpoints": {name: endpoints(name, origin.port) for name, origin in targets.items()}}


def test_stale_nonces(peculiar, port, origins):
    """Two answers at once: what the first is answered with is dropped, so that what is wanted next has to go with the second."""
    given = site(port, "r", {"one": origins[0], "two": origins[1]})
    server = peculiar({**given, "cluster": {"one": cluster("one")}, "routes": {"r": routes("r", "one")}}, copies=2)
    wait_body(port, "a")
    server.set(cluster=given["cluster"])
    server.set(routes=given["routes"])
    wait_body(port, "b")
    assert server.stale > 0


def test_all_or_nothing(peculiar, port, origins):
    """Endpoints and routes come only when all of them are asked for, also after some have left and others have come."""
    server = peculiar(site(port, "r", {"one": origins[1], "two": origins[0]}), is_whole=True)
    wait_body(port, "a")
    server.set(**site(port, "r-2", {"two": origins[0], "three": origins[0], "four": origins[1]}))
    wait_body(port, "b")
    assert server.unanswered > 0


@pytest.mark.parametrize("api_type", ["GRPC", "DELTA_GRPC"])
def test_duplicate_names(peculiar, port, api_type):
    """Which of two is meant nobody can say: the answer is refused by their name, and what there was stays."""
    server = peculiar(snapshot(port, "one"), api_type)
    wait_body(port, "one")
    server.twice = "routes"
    server.set(**snapshot(port, "two"))
    assert "site: it is in the response twice" in server.wait_nack("routes").error_detail.message
    assert body(port) == "one"
    server.twice = None
    server.set(**snapshot(port, "three"))
    wait_body(port, "three")


def test_a_nack_storm(peculiar, port):
    """A server that sends again whatever is refused is answered later each time; all else goes on. That an answer has to wait
    holds on any machine: one that is slow makes it later still."""
    server = peculiar(snapshot(port, "one"), repeats=True)
    wait_body(port, "one")
    bad = {**listener("bad", free_port(), "site"), "continue_on_listener_filters_timeout": True}
    server.set(listener={"web": listener("web", port, "site"), "bad": bad})
    wait_until("the first refusal", lambda: server.refused)
    server.set(routes={"site": answer("site", "two")})
    wait_body(port, "two")
    other = free_port()
    server.set(listener={"web": listener("web", port, "site"), "bad": bad, "other": listener("other", other, "site")})
    wait_body(other, "two")
    wait_until("the second refusal", lambda: len(server.refused) > 1)
    assert server.refused[1] > 0.7


def test_more_than_there_is_room_for(gateway, servers, port):
    """What comes beyond the bound is refused by name; what is held goes on, and changes."""
    server = servers(snapshot(port, "one"))
    gateway.start_control_plane("--xds-bootstrap", gateway.bootstrap(server), "--xds-resources", "20")
    gateway.start_data_plane("gw")
    wait_body(port, "one")
    server.set(cluster={f"c{i}": {**cluster(f"c{i}"), "type": "STATIC", "eds_cluster_config": None} for i in range(100)})
    assert "there is no room for it" in server.wait_nack("cluster").error_detail.message
    server.set(**snapshot(port, "two"))
    wait_body(port, "two")


def test_a_server_that_comes_back_with_nothing(peculiar, port, gateway):
    """Until it has said what there is again, what there was is served."""
    server = peculiar(snapshot(port, "one"))
    wait_body(port, "one")
    load = Load(port)
    try:
        server.stop()
        server.resources.clear()
        server.version += 1
        server.start()
        server.wait_request("listeners, with an ACK of none", lambda r: r.type_url == url("listener") and r.response_nonce
                            and r.version_info == str(server.version))
        assert body(port) == "one"
        server.set(**snapshot(port, "two"))
        wait_body(port, "two")
    finally:
        load.stop()
    assert load.answers and load.failures == []
