"""Management servers that are polled by REST, and what they may do wrong."""
import threading

import pytest

from planes import free_port, wait_until
from rest_server import RestServer
from xds_site import body, listener, snapshot, wait_body

ANSWER_MAX = 64 << 20


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def polled():
    made = []

    def serve(content):
        made.append(RestServer(content))
        return made[-1]

    yield serve
    for server in made:
        server.stop()


def bootstrap(gateway, *servers, timeout="5s"):
    """Each server is a cluster of its own."""
    source = {"resource_api_version": "V3", "api_config_source": {
        "api_type": "REST", "transport_api_version": "V3", "refresh_delay": "0.1s", "request_timeout": timeout,
        "cluster_names": [f"server{i}" for i in range(len(servers))]}}
    return gateway.write("bootstrap.json", {
        "node": {"id": "gw", "cluster": "edge", "metadata": {"a": [1, None, {"b": "\u00e4"}]}},
        "dynamic_resources": {"lds_config": source, "cds_config": source},
        "static_resources": {"clusters": [{
            "name": f"server{i}", "connect_timeout": "5s", "load_assignment": {"cluster_name": "x", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                    "address": "127.0.0.1", "port_value": s.port}}}}]}]}} for i, s in enumerate(servers)]}})


def test_what_a_server_says_is_served(gateway, polled, port):
    server = polled(snapshot(port, "one"))
    gateway.start_all(bootstrap(gateway, server))
    wait_body(port, "one")
    server.set(**snapshot(port, "two"))
    wait_body(port, "two")
    found = gateway.wait_server(state="answering", used=True, connected=True)
    assert found["name"] == f"127.0.0.1:{server.port}" and found["nacks"] == 0
    kind, request, fields = server.wait_request("a poll of routes", lambda kind, *_: kind == "routes")
    assert request["resource_names"] == ["site"] and request["node"]["id"] == "gw"
    assert request["node"]["metadata"] == {"a": [1, None, {"b": "\u00e4"}]}
    assert fields["Host"] == "server0" and fields["Content-Type"] == "application/json"
    server.wait_request("a version that is known", lambda kind, r, _: kind == "routes" and r.get("version_info") == "2")


def test_a_bad_resource_is_refused_by_path_and_the_rest_is_used(gateway, polled, port):
    server = polled(snapshot(port, "one"))
    gateway.start_all(bootstrap(gateway, server))
    wait_body(port, "one")
    others = free_port(), free_port()
    server.set(listener={
        "web": listener("web", port, "site"), "other": listener("other", others[0], "site"),
        "unreadable": {**listener("unreadable", others[1], "site"), "no_such_field": 1},
        "bad": {**listener("bad", others[1], "site"), "continue_on_listener_filters_timeout": True}})
    wait_body(others[0], "one")
    _, request, _ = server.wait_request("a refusal", lambda kind, r, _: "error_detail" in r)
    said = request["error_detail"]["message"]
    assert "unreadable: no_such_field: is no field of" in said, said
    assert "bad: continue_on_listener_filters_timeout" in said, said
    assert request["version_info"] == "1" and body(port) == "one"
    assert body(others[1]) is None


def silent(handler):
    handler.server.gate.wait()


def oversized(handler):
    handler.send_response(200)
    handler.end_headers()
    piece = b"[" * (1 << 20)
    for _ in range((ANSWER_MAX >> 20) + 1):
        handler.wfile.write(piece)
    handler.close_connection = True


def cut(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.close_connection = True


def text(status, content):
    return lambda handler: handler.send(status, content)


FAULTS = [
    (text(500, b"out of order\nmore"), "the status 500: out of order"),
    (text(404, b""), "the status 404"),
    (text(302, b""), "the status 302"),
    (text(200, b""), "an answer that cannot be read: answer:1:1"),
    (text(200, b"[" * 100000), "an answer that cannot be read: answer:1:161: nested too deeply"),
    (text(200, b'{"version_info": NaN}'), "an answer that cannot be read: answer:1:18"),
    (text(200, b'{"version_info": "\xff"}'), "not UTF-8"),
    (text(200, b'{"version_info": 1' + b"0" * 100000 + b"}"), "an answer that cannot be read: answer:1:18: version_info"),
    (text(200, b'{"resources": {}}'), "resources is not a list"),
    (oversized, f"an answer of more than {ANSWER_MAX} bytes"),
    (cut, "99 bytes remaining"),
]


def test_what_a_server_does_wrong_changes_nothing(gateway, polled, port):
    server = polled(snapshot(port, "0"))
    gateway.start_all(bootstrap(gateway, server, timeout="60s"))
    for number, (fault, reason) in enumerate(FAULTS):
        wait_body(port, str(number))
        server.fault = fault
        found = gateway.wait_server(state="failing", connected=False)
        wait_until(reason, lambda r=reason: r in gateway.server()["error"])
        assert body(port) == str(number), found
        server.set(**snapshot(port, str(number + 1)))
        server.fault = None
        gateway.wait_server(state="answering", connected=True)
    wait_body(port, str(len(FAULTS)))
    assert gateway.server()["nacks"] == 0


def test_a_server_that_is_slow(gateway, polled, port):
    server = polled(snapshot(port, "one"))
    server.server.gate = threading.Event()
    server.fault = silent
    gateway.start_all(bootstrap(gateway, server, timeout="0.2s"))
    assert "timed out" in gateway.wait_server(state="failing")["error"].lower()
    server.fault = None
    server.server.gate.set()
    wait_body(port, "one")


def test_a_server_that_is_restarted(gateway, polled, port):
    server = polled(snapshot(port, "one"))
    gateway.start_all(bootstrap(gateway, server))
    wait_body(port, "one")
    server.stop()
    gateway.wait_server(state="failing", connected=False)
    assert body(port) == "one"
    server.set(**snapshot(port, "two"))
    server.start()
    wait_body(port, "two")


def test_the_next_server_and_back(gateway, polled, port):
    first, second = polled(snapshot(port, "first")), polled(snapshot(port, "second"))
    first.stop()
    gateway.start_all(bootstrap(gateway, first, second))
    wait_body(port, "second")
    assert gateway.wait_server(1, state="answering")["used"]
    first.start()
    wait_body(port, "first")
    gateway.wait_server(1, state="idle", used=False, streams=0)
