"""Access log services: what they are told of requests and connections, and what becomes of requests when they do not listen."""
import threading

import pytest

from configuration import cluster, configure, listener
from gateway import Gateway, wait_until
from log_service import LogService
from planes import PATIENCE
from tunnels import open_websocket
from wire import Origin, request, response


@pytest.fixture
def own():
    gateway = Gateway()
    try:
        yield gateway.start()
    finally:
        gateway.stop()


@pytest.fixture
def service(messages):
    with LogService(messages) as service:
        yield service


def log_cluster(service, name="logs"):
    return {"name": name, "endpoints": [service.endpoint], "protocol": "http2"}


def logged(gateway, service, clusters=(), rules=(), log=None, **more):
    """The listener `web` tells the service of its requests, soon."""
    log = {"cluster": "logs", "log-name": "site", "flush-interval": "10ms", **(log or {})}
    web = listener(gateway, **{"access-log-services": [log], **more})
    return configure(gateway, [*clusters, log_cluster(service)], [*rules, {"respond": {"status": 204}}], listeners=[web])


def test_what_is_told_of_a_request(own, service):
    with Origin() as origin:
        own.serve(logged(own, service, [cluster("origin", origin)],
                         [{"name": "the-rule", "match": {"path": {"exact": "/asked"}}, "cluster": "origin"}]))
        with own.connect() as client:
            client.send(request("POST", "/asked?of=it", "user-agent: t\xe9st/1 \xff", "referer: http://from/", body=b"12345",
                                host="Site.example:81"))
            with origin.accept() as served:
                served.receive_request()
                served.send(response(201, body=b"made it"))
            assert client.receive_response().status == 201
            port = client.sock.getsockname()[1]
        entry = service.wait_path("/asked?of=it")
        assert service.entries[0][0] == "site"
        assert service.identifiers[0].node.id and service.identifiers[0].node.user_agent_name == "headgate"
        asked, answered, common = entry.request, entry.response, entry.common_properties
        assert (asked.request_method, asked.scheme, asked.authority) == (3, "http", "site.example:81")
        assert (asked.user_agent, asked.referer) == ("t!st/1 !", "http://from/")
        assert (asked.forwarded_for, asked.request_body_bytes, len(asked.request_id)) == ("127.0.0.1", 5, 32)
        assert (answered.response_code.value, answered.response_body_bytes) == (201, 7)
        assert answered.response_code_details == "via_upstream"
        assert entry.protocol_version == entry.HTTP11
        assert (common.upstream_cluster, common.route_name, common.upstream_request_attempt_count) == ("origin", "the-rule", 1)
        for side, at in (("downstream_remote", port), ("downstream_direct_remote", port), ("downstream_local", own.port),
                         ("upstream_remote", int(origin.endpoint.rpartition(":")[2]))):
            address = getattr(common, side + "_address").socket_address
            assert (address.address, address.port_value) == ("127.0.0.1", at), side
        assert common.start_time.seconds and not common.HasField("response_flags")
        assert common.duration.ToMicroseconds() >= common.time_to_first_upstream_rx_byte.ToMicroseconds() > 0
        own.wait_metric("access_log_service_waiting_bytes", lambda count: count == 0)  # a little after the service has it


def test_what_is_told_of_answers_that_no_origin_gave(own, service):
    own.serve(logged(own, service, [cluster("none")], [{"match": {"path": {"exact": "/none"}}, "cluster": "none"}]))
    assert own.get("/direct").status == 204
    assert own.get("/none").status == 503
    direct, none = service.wait_path("/direct"), service.wait_path("/none")
    assert direct.response.response_code_details == "direct_response"
    assert not direct.common_properties.upstream_cluster and not direct.common_properties.HasField("response_flags")
    assert none.common_properties.response_flags.no_healthy_upstream
    assert none.response.response_code.value == 503


def test_connections_are_told_of_when_they_end(own, service):
    tcp = {"name": "web", "address": f"127.0.0.1:{own.port}", "tcp": {"cluster": "origin"},
           "access-log-services": [{"cluster": "logs", "log-name": "relay", "flush-interval": "10ms"}]}
    with Origin() as origin:
        own.serve(configure(own, [cluster("origin", origin), log_cluster(service)], listeners=[tcp]))
        with own.connect() as client, origin.accept() as served:
            client.send(b"hello")
            assert served.receive(5) == b"hello"
            served.send(b"hello you")
            assert client.receive(9) == b"hello you"
            assert not service.entries
        entry = service.wait_entry("a connection", name="relay")
        assert (entry.connection_properties.received_bytes, entry.connection_properties.sent_bytes) == (5, 9)
        assert entry.common_properties.upstream_cluster == "origin"
        assert entry.common_properties.downstream_local_address.socket_address.port_value == own.port


def test_what_is_told_of_a_tunnel_outlives_its_rule(own, service):
    """It may last for days, and its snapshot is given back when it begins."""
    said = "192.0.2.1, and whatever else a rule may say " * 20
    rule = {"match": {"path": {"exact": "/chat"}}, "cluster": "origin", "upgrades": ["websocket"],
            "request-headers": [{"name": "x-forwarded-for", "value": said.strip()}]}
    with Origin() as origin:
        own.serve(logged(own, service, [cluster("origin", origin)], [rule]))
        with own.connect() as client, open_websocket(client, origin):
            for i in range(3):
                own.serve(logged(own, service, rules=[{"match": {"path": {"exact": f"/{i}"}}, "respond": {"status": 404}}]))
        entry = service.wait_path("/chat")
    assert entry.request.forwarded_for == said.strip()[:len(entry.request.forwarded_for)] and entry.request.forwarded_for


def test_entries_wait_for_a_service_that_is_away(own, service):
    """Requests are answered all the same, also when there is no control plane; what finds no room is dropped and counted."""
    own.serve(logged(own, service, log={"buffer": "64KiB"}))
    assert own.get("/first").status == 204
    service.wait_path("/first")
    own.kill_control_plane()
    service.stop()
    sent = 0
    while own.metric("access_log_service_dropped_total") == 0:
        assert own.get(f"/{sent}?{'x' * 900}").status == 204
        sent += 1
    own.wait_metric("access_log_service_failures_total", lambda count: count > 0)
    dropped = own.metric("access_log_service_dropped_total")
    service.start()
    own.wait_metric("access_log_service_waiting_bytes", lambda count: count == 0)
    assert 1 + sent - dropped <= service.wait_count(1 + sent - dropped)
    assert own.get("/last").status == 204
    service.wait_path("/last")


def test_a_service_that_reads_nothing_holds_nobody_up(own, service):
    own.serve(logged(own, service, log={"buffer": "64KiB", "flush-bytes": 0}))
    service.gate.clear()
    sent = 0
    while own.metric("access_log_service_dropped_total") == 0:
        assert own.get(f"/{sent}?{'x' * 900}").status == 204
        sent += 1
    service.gate.set()
    own.wait_metric("access_log_service_waiting_bytes", lambda count: count == 0)
    dropped = own.metric("access_log_service_dropped_total")
    assert service.wait_count(sent - dropped) == sent - dropped
    assert own.metric("access_log_service_entries_total") == sent - dropped


def test_a_new_configuration_loses_no_entry(own, service, messages):
    """Streams end in good order with the snapshot that they began with, and another service gets what follows."""
    stop, sent = threading.Event(), []

    def ask():
        while not stop.is_set():
            path = f"/{len(sent)}"
            assert own.get(path).status == 204
            sent.append(path)

    own.serve(logged(own, service))
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for i in range(4):
            wait_until("requests", lambda: len(sent) > 20 * (i + 1))
            own.serve(logged(own, service, rules=[{"match": {"path": {"exact": f"/rule{i}"}}, "respond": {"status": 404}}]))
        with LogService(messages) as other:
            own.serve(logged(own, other))
            wait_until("entries of the other service", lambda: len(other.entries) > 20)
            stop.set()
            thread.join()
            wait_until("all entries", lambda: len(service.entries) + len(other.entries) >= len(sent))
            paths = [e.request.path for _, e in service.entries + other.entries]
    finally:
        stop.set()
        thread.join()
    assert sorted(paths) == sorted(sent)
    assert own.metric("access_log_service_dropped_total") == 0
    wait_until("the streams to end", lambda: "end" in service.ends)
    assert "cut" not in service.ends


def test_what_waits_is_sent_before_the_end(own, service):
    own.serve(logged(own, service, log={"flush-interval": "1h"}))
    for i in range(20):
        assert own.get(f"/{i}").status == 204
    assert not service.entries
    own.holder.terminate()
    own.holder.wait(PATIENCE)
    assert len(service.entries) == 20


@pytest.mark.parametrize("change, path", [
    ({"cluster": "nobody"}, "access-log-services[0].cluster"), ({"log-name": ""}, "access-log-services[0].log-name"),
    ({"buffer": "1GiB"}, "access-log-services[0].buffer"), ({"colour": 1}, "access-log-services[0].colour"),
])
def test_what_is_wrong_is_named(own, service, change, path):
    push = own.push(logged(own, service, log=change))
    assert not push.is_committed
    assert path in repr(push)
