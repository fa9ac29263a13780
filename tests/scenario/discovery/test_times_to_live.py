"""Resources that live for a time, which their server has to prolong."""
import time

import pytest

from planes import free_port, wait_until
from xds_server import ManagementServer, url
from xds_site import answer, body, listener, wait_body

SECONDS = 4


class Mortal(ManagementServer):
    """In delta: the listener "more" lives for some seconds from each `beat`, which sends it again without its content. Until the
    first one it lives for ever, however long the gateway takes to begin."""

    def beat(self):
        for stream in list(self.streams):
            stream.put("changed")

    def _delta_response(self, type_url, names, sent, nonce):
        is_beat = type_url == url("listener") and sent.get("more")
        data = super()._delta_response(type_url, names, sent, nonce)
        if type_url != url("listener"):
            return data
        response = self.messages.type("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(data or b"")
        response.type_url, response.nonce = type_url, nonce
        if is_beat:
            response.resources.add(name="more", version=str(self.version)).ttl.seconds = SECONDS
        return response.SerializeToString()


@pytest.fixture(name="ports")
def choose_ports():
    return free_port(), free_port()


@pytest.fixture(name="server")
def start_server(messages, ports):
    server = Mortal(messages, {"listener": {"web": listener("web", ports[0], "site"), "more": listener("more", ports[1], "site")},
                               "routes": {"site": answer("site", "one")}})
    yield server
    server.stop()


def test_heartbeats_keep_a_listener_which_goes_without_them(gateway, server, ports):
    gateway.start_all(gateway.envoy_bootstrap(server, "DELTA_GRPC"))
    node = server.wait_request("somebody", lambda request: request.node.id).node
    assert "xds.config.supports-resource-ttl" in node.client_features
    wait_body(ports[1], "one")
    end = time.monotonic() + 2 * SECONDS
    while time.monotonic() < end:
        server.beat()
        assert body(ports[1]) == "one"
        time.sleep(0.25)
    wait_until("it is gone", lambda: body(ports[1]) is None)
    assert body(ports[0]) == "one"
    assert not [request.error_detail.message for request in server.requests if request.error_detail.message]
