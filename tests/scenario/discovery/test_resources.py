"""What becomes of a management server's resources: endpoints, order, removal, refusals by data planes, secrets, client status."""
import copy
import http.server
import random
import socket
import ssl
import threading

import pytest

from certificates import Authority
from planes import PATIENCE, free_port, get, wait_until
from xds_site import answer, body, cluster, endpoints, listener, routes, snapshot, wait_body


class Origin(http.server.ThreadingHTTPServer):
    """Answers with its name."""

    daemon_threads = True
    request_queue_size = 128

    class RequestHandlerClass(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            text = self.server.name.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments):
            pass

    def __init__(self, name):
        self.name = name
        super().__init__(("127.0.0.1", 0), Origin.RequestHandlerClass)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def port(self):
        return self.server_address[1]

    def stop(self):
        self.shutdown()
        self.server_close()
        self.thread.join()


class Load:
    """Requests one after the other until it is stopped; all that came back."""

    def __init__(self, port):
        self.port, self.answers, self.failures, self.is_over = port, [], [], False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.is_over:
            try:
                status, text = get(f"127.0.0.1:{self.port}")
                (self.answers if " 200 " in status else self.failures).append((status, text))
            except OSError as e:
                self.failures.append(e)

    def stop(self):
        self.is_over = True
        self.thread.join()


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def origins():
    started = [Origin("a"), Origin("b"), Origin("c")]
    yield started
    for origin in started:
        origin.stop()


@pytest.fixture
def load(port):
    """A function that starts requests to the port; they are stopped with the test."""
    started = []

    def start():
        started.append(Load(port))
        return started[-1]

    yield start
    for load in started:
        load.stop()


def site(port, origin, name="web"):
    return {"listener": {"l": listener("l", port, "r")}, "routes": {"r": routes("r", name)}, "cluster": {name: cluster(name)},
            "endpoints": {name: endpoints(name, origin.port)}}


# ---- endpoints

@pytest.mark.parametrize("api_type", ["GRPC", "DELTA_GRPC"])
def test_endpoints_are_no_versions(gateway, servers, port, origins, api_type):
    server = servers(site(port, origins[0]))
    gateway.start_all(gateway.envoy_bootstrap(server, api_type))
    wait_body(port, "a")
    version = gateway.status()["version"]
    server.set(endpoints={"web": endpoints("web", origins[1].port)})
    wait_body(port, "b")
    server.set(endpoints={"web": endpoints("web")})
    wait_until("there is no endpoint", lambda: "503" in body(port))
    server.set(endpoints={"web": endpoints("web", origins[2].port)})
    wait_body(port, "c")
    status = gateway.status()
    assert status["version"] == version
    web = next(c for c in status["clusters"] if c["name"] == "web")
    found = web["discovery"]
    assert found["kind"] == "xds" and found["target"] == f"web @ 127.0.0.1:{server.port}", found
    assert [endpoint["source"] for endpoint in web["endpoints"]] == ["xds"]


def test_removed_endpoints_stay(gateway, servers, port, origins):
    server = servers(site(port, origins[0]))
    gateway.start_all(gateway.envoy_bootstrap(server, "DELTA_GRPC"))
    wait_body(port, "a")
    server.set(endpoints={})
    def reason():
        return next(c for c in gateway.status()["clusters"] if c["name"] == "web")["discovery"].get("failure")
    wait_until("the source says that they are gone", reason)
    assert body(port) == "a"


# ---- order

@pytest.mark.parametrize("api_type", ["GRPC", "DELTA_GRPC"])
def test_changes_of_everything_fail_no_request(gateway, servers, port, origins, load, api_type):
    """Clusters, their endpoints and routes get other names again and again, types in any order: what is used is whole."""
    server, choose = servers(site(port, origins[0])), random.Random(7)
    gateway.start_all(gateway.envoy_bootstrap(server, api_type))
    wait_body(port, "a")
    traffic = load()
    for turn in range(12):
        origin = origins[turn % 3]
        kinds = list(site(port, origin, f"web{turn}").items())
        choose.shuffle(kinds)
        for kind, resources in kinds:
            server.set(**{kind: copy.deepcopy(resources)})
        wait_until(f"turn {turn} is served", lambda: traffic.failures or (traffic.answers[-1:] or [("", "")])[0][1] == origin.name)
        assert not traffic.failures, (turn, traffic.failures[:3])
    assert len(traffic.answers) > 12


def test_routes_wait_for_their_cluster(gateway, servers, port, origins, load):
    server = servers(site(port, origins[0]))
    gateway.start_all(gateway.envoy_bootstrap(server))
    wait_body(port, "a")
    traffic = load()
    server.set(routes={"r": routes("r", "later")})
    wait_until("requests go on", lambda: len(traffic.answers) > 50 or traffic.failures)
    server.set(cluster={"later": cluster("later")}, endpoints={"later": endpoints("later", origins[1].port)})
    wait_body(port, "b")
    assert not traffic.failures


def test_a_listener_leaves(gateway, servers, port):
    other = free_port()
    server = servers({"listener": {"web": listener("web", port, "site"), "more": listener("more", other, "site")},
                      "routes": {"site": answer("site", "one")}})
    gateway.start_all(gateway.envoy_bootstrap(server))
    wait_body(other, "one")
    server.set(listener={"web": listener("web", port, "site")})
    wait_until("the other one is gone", lambda: body(other) is None)
    assert body(port) == "one"


# ---- refusals

def test_what_a_data_plane_refuses_is_refused_by_name(gateway, servers, port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = servers(snapshot(port, "one"))
        gateway.start_all(gateway.envoy_bootstrap(server))
        wait_body(port, "one")
        both = {"web": listener("web", port, "more"), "taken": listener("taken", taken.getsockname()[1], "site")}
        server.set(listener=both, routes={"site": answer("site", "one"), "more": answer("more", "two")})
        refused = server.wait_nack("listener").error_detail.message
        assert refused.startswith("taken: ") and "addresses[0]" in refused, refused
        wait_body(port, "two")
    server.set(listener=both)
    wait_until("it is taken when the address is free", lambda: body(both["taken"]["address"]["socket_address"]["port_value"]))


def test_what_is_not_supported_is_refused_by_its_path(gateway, servers, port, origins):
    resources = site(port, origins[0])
    server = servers(resources)
    gateway.start_all(gateway.envoy_bootstrap(server))
    wait_body(port, "a")
    strange = {"name": "strange", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
    server.set(cluster={**resources["cluster"], "strange": strange})
    refused = server.wait_nack("cluster").error_detail.message
    assert "strange: " in refused and "type: is not supported" in refused, refused
    assert body(port) == "a"
    assert 'the Cluster "strange" of the management server is refused' in gateway.problems()


# ---- secrets

def tls_listener(port, secret):
    result = listener("web", port, "site")
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    result["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": {"@type": kind, "common_tls_context": {
        "tls_certificate_sds_secret_configs": [{"name": secret, "sds_config": {"ads": {}, "resource_api_version": "V3"}}]}}}
    return result


def secret_of(authority, folder, name):
    certificate, key = authority.pair(folder, name, ["gw.example"])
    return {"name": "pair", "tls_certificate": {"certificate_chain": {"inline_string": open(certificate, encoding="ascii").read()},
                                                "private_key": {"inline_string": open(key, encoding="ascii").read()}}}


def certificate_at(port):
    """What the server shows, in DER; None while nobody listens."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s, context.wrap_socket(s) as tls:
            return tls.getpeercert(True)
    except OSError:
        return None


def der_of(secret):
    chain = secret["tls_certificate"]["certificate_chain"]["inline_string"]
    return ssl.PEM_cert_to_DER_cert(chain[:chain.index("-----END CERTIFICATE-----") + 26])


def test_certificates_come_and_change(gateway, servers, port, tmp_path):
    authority = Authority(tmp_path / "authority")
    first, second = secret_of(authority, tmp_path, "first"), secret_of(authority, tmp_path, "second")
    server = servers({"listener": {"web": tls_listener(port, "pair")}, "routes": {"site": answer("site", "one")}})
    gateway.start_all(gateway.envoy_bootstrap(server))
    server.wait_request("the secret", lambda r: "pair" in r.resource_names)
    assert certificate_at(port) is None
    assert 'the Listener "web" of the management server is held and waits for its secret' in gateway.problems()
    server.set(secret={"pair": first})
    wait_until("the first is shown", lambda: certificate_at(port) == der_of(first))
    version = gateway.status()["version"]
    server.set(secret={"pair": second})
    wait_until("the second is shown", lambda: certificate_at(port) == der_of(second))
    assert gateway.status()["version"] == version
    mixed = copy.deepcopy(first)
    mixed["tls_certificate"]["private_key"] = second["tls_certificate"]["private_key"]
    server.set(secret={"pair": mixed})
    assert "pair: " in server.wait_nack("secret").error_detail.message
    assert certificate_at(port) == der_of(second)


# ---- client status

def test_client_status(gateway, servers, messages, port, origins):
    server = servers(site(port, origins[0]))
    gateway.start_all(gateway.envoy_bootstrap(server))
    wait_body(port, "a")
    node, found = gateway.client_status(messages)
    assert node.id == "gw"
    assert {("Listener", "l"), ("RouteConfiguration", "r"), ("Cluster", "web"), ("ClusterLoadAssignment", "web")} == set(found)
    assert all(c.client_status == 3 for c in found.values())     # ACKED
    assert all(c.version_info == "1" and c.last_updated.seconds for c in found.values())
    assert found["Cluster", "web"].xds_config.type_url == found["Cluster", "web"].type_url
