"""The gateway and its management servers: connecting, TLS, servers that are down, slow, restarted; fallback and back."""
import http.server
import threading

import pytest

from certificates import Authority
from planes import free_port, wait_until
from xds_server import server_credentials
from xds_site import body, cluster, endpoints, listener, routes, snapshot, wait_body


@pytest.fixture
def port():
    return free_port()


# ---- forms and states

@pytest.mark.parametrize("is_aggregated", [True, False])
@pytest.mark.parametrize("api_type", ["GRPC", "DELTA_GRPC"])
def test_what_a_server_says_is_served(gateway, servers, port, api_type, is_aggregated):
    server = servers(snapshot(port, "one"))
    gateway.start_all(gateway.envoy_bootstrap(server, api_type, is_aggregated=is_aggregated))
    wait_body(port, "one")
    server.set(**snapshot(port, "two"))
    wait_body(port, "two")
    found = gateway.wait_server(state="answering", used=True, connected=True)
    assert found["name"] == f"127.0.0.1:{server.port}"
    assert found["responses"] >= 4 and found["nacks"] == 0
    assert found["streams"] == 1 if is_aggregated else found["streams"] >= 3
    assert server.requests[0].node.id == "gw"
    assert server.requests[0].node.user_agent_name == "headgate"


def test_the_server_is_told_that_all_is_in_use(gateway, servers, port):
    server = servers(snapshot(port, "one"), gate=False)
    gateway.start_all(gateway.bootstrap(server))
    wait_until("the data plane is connected", lambda: gateway.data_plane("gw"))
    server.gate.set()
    server.wait_ack("listener")
    assert body(port) == "one"
    server.wait_ack("routes")


def test_headgate_run(gateway, servers, port):
    server = servers(snapshot(port, "one"))
    gateway.start("headgate", "run", "--xds-bootstrap", gateway.bootstrap(server), "--node", "gw", "--workers", "1",
                  "--controlplane-admin", "off", "--dataplane-admin", "127.0.0.1:0")
    wait_body(port, "one")


@pytest.mark.parametrize("api_type", ["GRPC", "DELTA_GRPC"])
def test_a_bad_resource_is_refused_by_path_and_the_rest_is_used(gateway, servers, port, api_type):
    server = servers(snapshot(port, "one"))
    gateway.start_all(gateway.envoy_bootstrap(server, api_type))
    wait_body(port, "one")
    other = free_port()
    bad = {**listener("bad", free_port(), "site"), "continue_on_listener_filters_timeout": True}
    server.set(listener={"web": listener("web", port, "site"), "bad": bad, "other": listener("other", other, "site")})
    nack = server.wait_nack("listener")
    assert "bad" in nack.error_detail.message and "continue_on_listener_filters_timeout" in nack.error_detail.message
    wait_body(other, "one")
    assert body(port) == "one"
    assert gateway.server()["state"] == "answering" and gateway.server()["nacks"] == 1


def test_metrics_have_the_server(gateway, servers, port):
    server = servers(snapshot(port, "one"))
    gateway.start_all(gateway.bootstrap(server))
    wait_body(port, "one")
    status, text = gateway.fetch("/metrics")
    label = f'{{server="127.0.0.1:{server.port}"'
    assert status == 200
    assert f'headgate_controlplane_xds_server{label},state="answering",used="yes",connected="yes"}} 1' in text
    assert f"headgate_controlplane_xds_streams{label}}} 1" in text
    assert f"headgate_controlplane_xds_nacks_total{label}}} 0" in text


def test_status_for_people(gateway, servers, port):
    server = servers(snapshot(port, "one"))
    gateway.start_all(gateway.bootstrap(server))
    wait_body(port, "one")
    text = gateway.ok("status").out
    assert "management servers" in text and "answering, in use" in text, text


# ---- TLS

@pytest.fixture
def authority(tmp_path):
    authority = Authority(tmp_path / "authority")
    authority.certify(authority.key(tmp_path / "server.key"), tmp_path / "server.pem", ["xds.example"])
    authority.certify(authority.key(tmp_path / "ours.key"), tmp_path / "ours.pem", ["gw"])
    (tmp_path / "ca.pem").write_bytes(authority.pem.read_bytes())
    return tmp_path


def tls_context(folder, **more):
    validation = {"trusted_ca": {"filename": str(folder / "ca.pem")}}
    return {"sni": "xds.example", "common_tls_context": {"validation_context": validation, **more}}


def test_tls(gateway, servers, port, authority):
    server = servers(snapshot(port, "one"), credentials=server_credentials(authority, False))
    gateway.start_all(gateway.envoy_bootstrap(server, tls=tls_context(authority)))
    wait_body(port, "one")


def test_mutual_tls(gateway, servers, port, authority):
    ours = {"certificate_chain": {"filename": str(authority / "ours.pem")}, "private_key": {"filename": str(authority / "ours.key")}}
    server = servers(snapshot(port, "one"), credentials=server_credentials(authority, True))
    gateway.start_all(gateway.envoy_bootstrap(server, tls=tls_context(authority, tls_certificates=[ours])))
    wait_body(port, "one")


def test_a_certificate_for_another_name(gateway, servers, port, authority):
    server = servers(snapshot(port, "one"), credentials=server_credentials(authority, False))
    gateway.start_all(gateway.envoy_bootstrap(server, tls={**tls_context(authority), "sni": "other.example"}))
    found = gateway.wait_server(state="failing")
    assert found["error"].startswith("UNAVAILABLE") and "answered_at" not in found
    assert any("does not answer" in p["message"] for p in gateway.status()["problems"])


# ---- servers that are down, go away, are slow

def test_a_server_that_is_down_at_first(gateway, servers, port):
    server = servers(snapshot(port, "one"))
    server.stop()
    gateway.start_all(gateway.bootstrap(server))
    gateway.wait_server(state="failing", connected=False)
    server.start()
    wait_body(port, "one")
    gateway.wait_server(state="answering")


def test_a_server_that_refuses_before_its_first_answer(gateway, servers, port):
    server = servers(snapshot(port, "one"))
    server.refusal = "not today"
    gateway.start_all(gateway.bootstrap(server))
    assert gateway.wait_server(state="failing")["error"] == "PERMISSION_DENIED: not today"
    server.refusal = None
    wait_body(port, "one")


def test_a_server_that_is_restarted(gateway, servers, port):
    server = servers(snapshot(port, "one"))
    gateway.start_all(gateway.bootstrap(server))
    wait_body(port, "one")
    server.stop()
    gateway.wait_server(connected=False)
    assert body(port) == "one"
    server.set(**snapshot(port, "two"))
    server.start()
    wait_body(port, "two")


def test_a_stream_that_ends_is_opened_again(gateway, servers, port):
    server = servers(snapshot(port, "one"))
    gateway.start_all(gateway.bootstrap(server))
    wait_body(port, "one")
    server.cut()
    server.set(**snapshot(port, "two"))
    wait_body(port, "two")
    assert gateway.server()["state"] == "answering"
    assert "error" not in gateway.server(), "the end of a stream that was answered is no failure"


def test_slow_answers(gateway, servers, port):
    server = servers(snapshot(port, "one"), gate=False)
    gateway.start_all(gateway.bootstrap(server))
    server.wait_request("listeners", lambda r: r.type_url.endswith("Listener") or r.type_url.endswith("Cluster"))
    gateway.wait_server(state="connecting", connected=True)
    server.gate.set()
    wait_body(port, "one")
    assert gateway.server()["streams"] == 1


# ---- several

def test_the_next_server_and_back(gateway, servers, port):
    first, second = servers(snapshot(port, "first")), servers(snapshot(port, "second"))
    first.stop()
    gateway.start_all(gateway.bootstrap(first, second))
    wait_body(port, "second")
    assert gateway.wait_server(1, state="answering")["used"]
    assert not gateway.server(0)["used"]
    first.start()
    wait_body(port, "first")
    assert gateway.wait_server(0, state="answering")["used"]
    gateway.wait_server(1, state="idle", used=False, streams=0)


def test_no_other_server_while_all_is_held(gateway, servers, port):
    first, second = servers(snapshot(port, "first")), servers(snapshot(port, "second"))
    gateway.start_all(gateway.bootstrap(first, second))
    wait_body(port, "first")
    first.stop()
    wait_until("the first is tried again", lambda: gateway.server(0)["state"] == "failing")
    assert body(port) == "first"
    assert gateway.server(1)["state"] == "idle" and not second.requests


# ---- static clusters of the bootstrap file

class Origin(http.server.BaseHTTPRequestHandler):
    """Answers with the text of its server."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.text)))
        self.end_headers()
        self.wfile.write(self.server.text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def origin():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    server.text = "static"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_static_clusters_count_before_those_of_the_server(gateway, servers, port, origin):
    own = {"name": "own", "type": "STATIC", "connect_timeout": "5s",
           "load_assignment": endpoints("own", origin.server_address[1])}
    server = servers({"listener": {"web": listener("web", port, "site")}, "routes": {"site": routes("site", "own")}})
    gateway.start_all(gateway.envoy_bootstrap(server, clusters=[own]))
    wait_body(port, "static")
    server.set(cluster={"own": cluster("own")}, endpoints={"own": endpoints("own", free_port())})
    server.wait_ack("cluster", 2)
    assert body(port) == "static"


def test_a_static_cluster_with_faults(gateway, servers):
    own = {"name": "own", "type": "STATIC", "filters": [{"name": "x"}], "load_assignment": endpoints("own", 1)}
    path = gateway.envoy_bootstrap(servers({}), clusters=[own])
    process = gateway.start("headgate-controlplane", "--admin-listen", "off", "--xds-bootstrap", path)
    assert process.process.wait() == 1
    assert "cluster/own: filters: is not supported" in process.text()
    gateway.processes.remove(process)


# ---- without servers

def test_what_was_served_last_is_served_without_any_server(gateway, servers, port):
    server = servers(snapshot(port, "one"))
    bootstrap = gateway.bootstrap(server)
    gateway.start_all(bootstrap)
    server.wait_ack("listener")
    wait_body(port, "one")
    server.stop()
    gateway.control.stop()
    gateway.start_control_plane("--xds-bootstrap", bootstrap)
    gateway.wait_data_plane("gw")
    gateway.wait_server(state="failing")
    assert body(port) == "one"
    server.set(**snapshot(port, "two"))
    server.start()
    wait_body(port, "two")


def test_a_bootstrap_file_with_faults(gateway):
    path = gateway.write("bootstrap.yaml", "node: {id: gw}\nxds_servers:\n- server_uri: a:1\n  channel_creds: [{type: oauth}]\n")
    process = gateway.start("headgate-controlplane", "--admin-listen", "off", "--xds-bootstrap", path)
    assert process.process.wait() == 1
    assert f"{path}:4:19: xds_servers[0].channel_creds[0]: credentials of the type" in process.text()
    gateway.processes.remove(process)
