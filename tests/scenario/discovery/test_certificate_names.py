"""Whom a management server tells to believe: names of certificates as service meshes have them."""
import http.client
import http.server
import ssl
import threading

import pytest

from certificates import Authority
from planes import free_port, wait_until
from xds_site import answer, cluster, endpoints, listener, routes

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
SPIFFE = "spiffe://cluster.local/ns/shop/sa/api"
NAMES = {"right": [SPIFFE], "other": ["spiffe://cluster.local/ns/other/sa/api"], "host": ["shop"]}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("authority") / "authority")
    made.pair(made.folder, "gateway", ["gateway.test"])
    for name, names in NAMES.items():
        made.pair(made.folder, name, names)
    return made


def context(authority, *matchers):
    """What a mesh says: authorities by themselves, and who may come."""
    return {"trusted_ca": {"inline_string": authority.pem.read_text()}, "match_typed_subject_alt_names": [
        {"san_type": kind, "matcher": matcher} for kind, matcher in matchers]}


def status(port, authority, shown):
    """200, or None when there is no connection for this certificate."""
    tls = ssl.create_default_context(cafile=authority.pem)
    tls.load_cert_chain(authority.folder / f"{shown}.pem", authority.folder / f"{shown}.key")
    tls.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=tls)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def test_clients(gateway, servers, authority):
    port = free_port()
    web = listener("web", port, "site")
    pair = {"certificate_chain": {"inline_string": (authority.folder / "gateway.pem").read_text()},
            "private_key": {"inline_string": (authority.folder / "gateway.key").read_text()}}
    web["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": {
        "@type": f"{TLS}DownstreamTlsContext", "require_client_certificate": {"value": True}, "common_tls_context": {
            "tls_certificates": [pair],
            "validation_context": context(authority, ("URI", {"prefix": "spiffe://cluster.local/ns/shop/"}))}}}
    server = servers({"listener": {"web": web}, "routes": {"site": answer("site", "one")}})
    gateway.start_all(gateway.bootstrap(server))
    wait_until("the right client is served", lambda: status(port, authority, "right") == 200)
    assert status(port, authority, "other") is None
    assert status(port, authority, "host") is None


class Origin(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Nothing."""


class Listening(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that breaks the handshake off is no news."""


@pytest.fixture
def origin(authority):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority.folder / "right.pem", authority.folder / "right.key")
    server = Listening(("127.0.0.1", 0), Origin)
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def plain_status(port):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def test_origins(gateway, servers, authority, origin):
    port = free_port()

    def api(*matchers):
        socket = {"name": "tls", "typed_config": {"@type": f"{TLS}UpstreamTlsContext", "common_tls_context": {
            "validation_context": context(authority, *matchers)}}}
        return {**cluster("api"), "transport_socket": socket}

    server = servers({"listener": {"web": listener("web", port, "site")}, "routes": {"site": routes("site", "api")},
                      "cluster": {"api": api(("URI", {"exact": SPIFFE}))},
                      "endpoints": {"api": endpoints("api", origin.server_address[1])}})
    gateway.start_all(gateway.bootstrap(server))
    wait_until("the origin is believed", lambda: plain_status(port) == 200)
    server.set(cluster={"api": api(("URI", {"exact": f"{SPIFFE}2"}), ("DNS", {"suffix": "shop"}))})
    wait_until("it is no more", lambda: plain_status(port) == 503)
    shop = {"safe_regex": {"regex": "spiffe://[^/]*/ns/shop/.*"}}
    server.set(cluster={"api": api(("DNS", {"exact": "shop"}), ("URI", shop))})
    wait_until("it is again", lambda: plain_status(port) == 200)
