"""HTTP filters that come by themselves (ECDS): what listeners wait for, changes, refusals, removal."""
import pytest

from planes import free_port, wait_until
from test_resources import Load
from xds_server import ManagementServer, url
from xds_site import answer, body, listener, snapshot, wait_body

ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
DEFAULT = {"default_config": {"@type": ROUTER}}
DOES_NOT_EXIST, ACKED, NACKED = 2, 3, 4     # of client status


def filtered(name, port, wanted, **more):
    """A listener that wants a filter of the server."""
    result = listener(name, port, "site")
    result["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"] = [{
        "name": wanted, "config_discovery": {"config_source": {"ads": {}, "resource_api_version": "V3"}, "type_urls": [ROUTER],
                                             **more}}]
    return result


def router(name, **content):
    return {name: {"name": name, "typed_config": {"@type": ROUTER, **content}}}


def waits(gateway, name):
    return f'the Listener "{name}" of the management server is held and waits for its HTTP filter' in gateway.problems()


class Silent(ManagementServer):
    """In delta: says nothing of filters until it `speaks`."""

    speaks = False

    def _delta_response(self, type_url, names, sent, nonce):
        if type_url == url("filter") and not self.speaks:
            return None
        return super()._delta_response(type_url, names, sent, nonce)


def test_what_listeners_wait_for(gateway, servers):
    """Their filter; with a default for the word that there is none; with one that is to be applied at once for nothing."""
    web, strict, patient, early = (free_port() for _ in range(4))
    server = servers(snapshot(web, "one"), kind=Silent)
    gateway.start_all(gateway.envoy_bootstrap(server, "DELTA_GRPC", initial_fetch_timeout="0s"))
    wait_body(web, "one")
    server.set(listener={"web": listener("web", web, "site"), "strict": filtered("strict", strict, "a"),
                         "patient": filtered("patient", patient, "b", **DEFAULT),
                         "early": filtered("early", early, "c", apply_default_config_without_warming=True, **DEFAULT)})
    wait_body(early, "one")
    assert waits(gateway, "strict") and waits(gateway, "patient")
    assert body(strict) is None and body(patient) is None
    server.speaks = True
    server.set(filter={})
    wait_body(patient, "one")
    assert waits(gateway, "strict") and body(strict) is None
    server.set(filter=router("a"))
    wait_body(strict, "one")


@pytest.mark.parametrize("api_type", ["GRPC", "DELTA_GRPC"])
def test_what_becomes_of_a_filter(gateway, servers, messages, api_type):
    """Listeners that come later and want it, too, tell whether there still is one."""
    listeners = {name: filtered(name, free_port(), "f") for name in ("first", "second", "third")}
    ports = {name: l["address"]["socket_address"]["port_value"] for name, l in listeners.items()}
    server = servers({"listener": {"first": listeners["first"]}, "routes": {"site": answer("site", "one")}})

    def told():
        """State, and version of what is held."""
        found = gateway.client_status(messages)[1]["TypedExtensionConfig", "f"]
        return found.client_status, found.version_info

    def add(name):
        server.set(listener={**server.resources["listener"], name: listeners[name]})
        wait_body(ports[name], "one")

    gateway.start_all(gateway.envoy_bootstrap(server, api_type))
    wait_until("the listener waits", lambda: waits(gateway, "first"))
    assert body(ports["first"]) is None
    server.set(filter=router("f"))
    wait_body(ports["first"], "one")
    traffic = Load(ports["first"])
    try:
        server.set(filter=router("f", start_child_span=True))
        changed = str(server.version)
        wait_until("it has changed", lambda: told() == (ACKED, changed))
        server.set(filter=router("f", strict_check_headers=["x-envoy-max-retries"]))
        refused = server.wait_nack("filter").error_detail.message
        assert refused.startswith("f: ") and "typed_config.strict_check_headers: is not supported" in refused, refused
        assert told() == (NACKED, changed)
        add("second")
        server.set(filter=router("f"))
        mended = str(server.version)
        wait_until("it is mended", lambda: told() == (ACKED, mended))
        server.set(filter={})
        if api_type == "GRPC":      # where a filter that is not named has not been removed
            server.wait_ack("filter")
            assert told() == (ACKED, mended)
        else:
            wait_until("it is gone", lambda: told() == (DOES_NOT_EXIST, mended))
        add("third")
        answers = len(traffic.answers)
        wait_until("requests go on", lambda: len(traffic.answers) > answers or traffic.failures)
    finally:
        traffic.stop()
    assert traffic.failures == []
