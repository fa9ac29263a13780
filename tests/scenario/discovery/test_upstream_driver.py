"""The integration test of go-control-plane itself (pkg/test/main), as it is, with `headgate run` where it has Envoy."""
import http.server
import re
import signal
import subprocess
import threading

import pytest

from envoy import address
from management import programs
from planes import COMPLAINTS, PATIENCE, PROGRAMS, Site, free_port

MESSAGE = "Hi, there!\n"
TCP_LISTENERS = 2
BATCH = re.compile(r"request batch \d+, ok (\d+), failed (\d+)")
ENTRY = re.compile(r"\[echo\S+\] (\S+) (\S+) (\S+) (\d+) (\S+) (\S+)")
LATE = 6    # entries wait for a second: those of the last batches are not there in the end
API = {"ads": "GRPC", "xds": "GRPC", "delta": "DELTA_GRPC", "delta-ads": "DELTA_GRPC", "rest": "REST"}


def api_source(mode):
    if mode == "rest":
        return {"api_type": "REST", "transport_api_version": "V3", "refresh_delay": "0.5s", "cluster_names": ["xds_cluster"]}
    return {"api_type": API[mode], "transport_api_version": "V3", "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds_cluster"}}]}


def static_cluster(mode, name, port):
    return {"name": name, "connect_timeout": "1s", **({} if mode == "rest" else {"http2_protocol_options": {}}),
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(f"127.0.0.1:{port}")}}]}]}}


def sample(mode, server, als):
    """sample/bootstrap-MODE.yaml of go-control-plane, with other ports."""
    is_aggregated = mode.endswith("ads")
    source = {"resource_api_version": "V3", **({"ads": {}} if is_aggregated else {"api_config_source": api_source(mode)})}
    runtime = {"layered_runtime": {"layers": [
        {"name": "runtime-0", "rtds_layer": {"rtds_config": source, "name": "runtime-0"}}]}}
    return {
        "admin": {"access_log_path": "/dev/null", "address": address("127.0.0.1:19000")},
        "dynamic_resources": {"cds_config": source, "lds_config": source,
                              **({"ads_config": api_source(mode)} if is_aggregated else {})},
        "node": {"cluster": "test-cluster", "id": "test-id"},
        "static_resources": {"clusters": [static_cluster(mode, "xds_cluster", server),
                                          static_cluster(mode, "als_cluster", als)]},
        **({} if is_aggregated else runtime),
    }


class Origin(http.server.ThreadingHTTPServer):
    request_queue_size = 128    # all listeners are asked at once, and each answer has to come within 100 ms


class Echo(http.server.BaseHTTPRequestHandler):
    disable_nagle_algorithm = True

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(MESSAGE)))
        self.end_headers()
        self.wfile.write(MESSAGE.encode())

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def upstream():
    server = Origin(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def site():
    site = Site()
    yield site
    site.finish()


def free_ports(count):
    """As many that follow each other."""
    for base in range(21000, 30000, 100):
        wanted = f"sport >= :{base} and sport < :{base + count}"
        if not subprocess.run(["ss", "-Hltn", wanted], capture_output=True, check=True).stdout:
            return base
    raise AssertionError("no free ports")


def drive(site, upstream, mode, *arguments):
    """Both until the driver is content, or not. Returns what it said."""
    server, rest, als, base = free_port(), free_port(), free_port(), free_ports(10)
    bootstrap = site.write("bootstrap.json", sample(mode, rest if mode == "rest" else server, als))
    log = site.folder / "run.log"
    with open(log, "wb") as file:
        gateway = subprocess.Popen(
            [PROGRAMS / "headgate", "run", "--controlplane-admin", "off", "--dataplane-admin", "127.0.0.1:0",
             "--xds-bootstrap", bootstrap], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=site.environment)
    try:
        done = subprocess.run(
            [programs() / "integration-driver", f"--xds={mode}", f"--runtimes={2 if mode == 'ads' else 1}", "-debug",
             f"-message={MESSAGE}", "-port", str(server), "-gateway", str(rest), "-als", str(als), "-base", str(base),
             "-upstream", str(upstream), "-u", "2", "-r", "10", "-delay", "250ms", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=2 * PATIENCE)
    finally:
        gateway.send_signal(signal.SIGINT)
        code = gateway.wait(PATIENCE)
    assert not COMPLAINTS.search(log.read_text(errors="replace")), log.read_text(errors="replace")
    assert (done.returncode, code) == (0, 0), done.stdout + log.read_text(errors="replace")
    assert f"Test for {mode} passed!" in done.stdout
    return done.stdout


def check_entries(said):
    """Each answered request of HTTP has an entry, but for those of the last second. The driver may have given some up."""
    batches = [(int(ok), int(failed)) for ok, failed in BATCH.findall(said)]
    entries = [e for e in ENTRY.findall(said) if e[3] == "200"]
    assert sum(max(ok - TCP_LISTENERS, 0) for ok, _failed in batches[:-LATE]) <= len(entries)
    assert len(entries) <= sum(ok + failed - TCP_LISTENERS for ok, failed in batches)
    for authority, path, scheme, _status, request_id, cluster in entries:
        assert authority.startswith("127.0.0.1:") and path == "/" and scheme in ("http", "https")
        assert re.fullmatch("[0-9a-f]{32}", request_id) and re.fullmatch(r"cluster-v\d-\d", cluster)


@pytest.mark.parametrize("tls", [(), ("-tls",)], ids=["plain", "tls"])
@pytest.mark.parametrize("mode", ["ads", "xds", "delta", "delta-ads"])
def test_driver_is_content(site, upstream, mode, tls):
    check_entries(drive(site, upstream, mode, *tls))


def test_driver_is_content_with_rest(site, upstream):
    """Its sample says no HTTP/2 for the access log service, so that nobody could tell it anything."""
    assert not ENTRY.search(drive(site, upstream, "rest"))
