"""Transport sockets that a real management server says: by endpoint, with pinned certificates, with rules that come with
authorities; and QUIC on both sides."""
import contextlib
import json
import pathlib
import ssl
import subprocess
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "http3_peers"))

import envoy  # noqa: E402
import http3_peers  # noqa: E402  (found by the line above)
from certificates import fingerprint  # noqa: E402
from gateway import free_port, wait_until  # noqa: E402
from origins import Teller  # noqa: E402
from snapshots import driven, make_authority  # noqa: E402
from wire import PATIENCE, request  # noqa: E402

MODE = "ads"
EVENTS_SHOWN = 40
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
SPIFFE = "spiffe://cluster.local/ns/shop/sa/api"
RAW = {"name": "plain", "typed_config": {"@type": f"{envoy.TYPE}envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = make_authority(tmp_path_factory.mktemp("authority") / "authority")
    made.pair(made.folder, "api", [SPIFFE, "api.test"])
    return made


class SafeTeller(Teller):
    """Over TLS."""

    def __init__(self, name, authority):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(authority.folder / "api.pem", authority.folder / "api.key")
        super().__init__(name)

    def get_request(self):
        connection, address = super().get_request()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address


class Served:
    """A gateway whose listener "web" sends everything to the cluster "api"."""

    def __init__(self, server, gateway, place):
        self.server, self.gateway, self.port, self.version = server, gateway, place.ports["web"], 0

    def serve(self, *resources):
        self.version += 1
        self.server.serve(self.version, [envoy.listener("web", self.port, "site", MODE), envoy.routes("site", [("/", "api")]),
                                         *resources])

    def answer(self):
        """Who answers, or the status of the gateway's own answer; None while nobody listens."""
        try:
            with self.gateway.connect(self.port) as client:
                answer = client.exchange(request("GET", "/"))
                return answer["X-Origin"] if answer.status == 200 else answer.status
        except OSError:
            return None

    def answers(self):
        return {self.answer() for _ in range(8)}

    def wait(self, *wanted):
        """Until these answer; otherwise what both sides know of it."""
        try:
            wait_until(f"{wanted} answer", lambda: self.answers() == set(wanted))
        except AssertionError as error:
            events = "\n".join(json.dumps(event) for event in self.server.events[-EVENTS_SHOWN:])
            raise AssertionError(f"{error}\nversion {self.version}, {self.answers()}\n"
                                 f"{self.gateway.headgate('status').stdout}\n{events}") from None


@pytest.fixture
def served():
    with driven(MODE, None) as (server, gateway, place, _):
        yield Served(server, gateway, place)
        assert server.refusals() == []


def upstream(**context):
    return envoy.socket_of("Upstream", {"common_tls_context": context})


def trusted(authority, **more):
    return {"trusted_ca": {"inline_string": authority.pem.read_text()}, **more}


def marked(name, endpoints):
    """Endpoints, each with what stands in its metadata for transport sockets."""
    made = envoy.assignment(name, list(endpoints))
    for item, marks in zip(made["endpoints"][0]["lb_endpoints"], endpoints.values()):
        item["metadata"] = {"filter_metadata": {"envoy.transport_socket_match": marks}}
    return made


def test_endpoints_choose_their_transport_and_so_do_their_checks(served, authority):
    check = {"timeout": "5s", "interval": "0.1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
             "http_health_check": {"path": "/healthy"}}
    matches = [{"name": "mutual", "match": {"tlsMode": "istio"}, "transport_socket": upstream(
        validation_context=trusted(authority))}, {"name": "rest", "match": {}, "transport_socket": RAW}]
    api = envoy.cluster("api", MODE, transport_socket_matches=matches, health_checks=[check],
                        common_lb_config={"healthy_panic_threshold": {"value": 0}},
                        transport_socket=upstream(validation_context=trusted(authority)))
    with Teller("plain") as plain, SafeTeller("safe", authority) as safe:
        served.serve(api, marked("api", {plain.endpoint: {}, safe.endpoint: {"tlsMode": "istio", "more": True}}))
        served.wait("plain", "safe")
        served.serve(api, marked("api", {plain.endpoint: {}, safe.endpoint: {"tlsMode": "off"}}))
        served.wait("plain")
        served.serve(api, marked("api", {plain.endpoint: {"tlsMode": "istio"}, safe.endpoint: {"tlsMode": "istio"}}))
        served.wait("safe")


def test_pins_and_rules_that_come_with_authorities(served, authority):
    pin = fingerprint(authority.folder / "api.pem")     # with colons
    named = {"validation_context_sds_secret_config": {"name": "trust", "sds_config": envoy.source(MODE)}}

    def trust(**rules):
        return {"@type": f"{envoy.TYPE}envoy.extensions.transport_sockets.tls.v3.Secret", "name": "trust",
                "validation_context": trusted(authority, **rules)}

    def uri(text):
        return {"san_type": "URI", "matcher": {"exact": text}}

    with SafeTeller("safe", authority) as safe:
        endpoints = envoy.assignment("api", [safe.endpoint])

        def serve(context, *more):
            served.serve(envoy.cluster("api", MODE, transport_socket=upstream(**context)), endpoints, *more)

        serve({"validation_context": {"verify_certificate_hash": [pin]}})
        served.wait("safe")
        serve({"validation_context": trusted(authority, verify_certificate_hash=["0" * 64])})
        served.wait(503)
        serve({"validation_context": trusted(authority, verify_certificate_hash=["0" * 64, pin.replace(":", "").lower()])})
        served.wait("safe")
        serve(named, trust(match_typed_subject_alt_names=[uri(f"{SPIFFE}2")]))
        served.wait(503)
        serve(named, trust(match_typed_subject_alt_names=[uri(f"{SPIFFE}2"), uri(SPIFFE)]))
        served.wait("safe")
        combined = {"combined_validation_context": {**named, "default_validation_context": {
            "match_typed_subject_alt_names": [uri(SPIFFE)]}}}
        serve(combined, trust(match_typed_subject_alt_names=[uri(f"{SPIFFE}2")]))
        served.wait("safe")
        serve(combined, trust(verify_certificate_hash=["0" * 64]))
        served.wait(503)


# ---- QUIC

def quic_listener(name, port, table, pair):
    made = envoy.listener(name, port, table, MODE)
    made["address"]["socket_address"]["protocol"] = "UDP"
    made["udp_listener_config"] = {"quic_options": {}}
    manager = made["filter_chains"][0]["filters"][0]["typed_config"]
    manager["codec_type"] = "HTTP3"
    made["filter_chains"][0]["transport_socket"] = {"name": "quic", "typed_config": {
        "@type": f"{envoy.TYPE}envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport",
        "downstream_tls_context": {"common_tls_context": {"tls_certificates": [pair], "alpn_protocols": ["h3"]}}}}
    return made


def tls_listener(name, port, table, pair):
    made = envoy.listener(name, port, table, MODE)
    made["filter_chains"][0]["transport_socket"] = envoy.socket_of("Downstream", {"common_tls_context": {
        "tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"]}})
    return made


def http3_cluster(name, authority, **kind):
    socket = {"name": "quic", "typed_config": {
        "@type": f"{envoy.TYPE}envoy.extensions.transport_sockets.quic.v3.QuicUpstreamTransport",
        "upstream_tls_context": {"sni": "gateway.test", "common_tls_context": {"validation_context": trusted(authority)}}}}
    return envoy.cluster(name, MODE, transport_socket=socket, typed_extension_protocol_options={
        OPTIONS: {"@type": f"{envoy.TYPE}{OPTIONS}", **kind}})


def curl(version, port, authority):
    """Who answers, or None."""
    done = subprocess.run([http3_peers.program("curl"), version, "-sS", "-i", "--max-time", str(PATIENCE), "--cacert",
                           authority.pem, "--resolve", f"gateway.test:{port}:127.0.0.1", f"https://gateway.test:{port}/"],
                          capture_output=True, text=True, check=False)
    lines = [line.partition(":") for line in done.stdout.splitlines()]
    return next((value.strip() for name, _, value in lines if name.lower() == "x-origin"), None)


@pytest.mark.skipif(bool(http3_peers.reason), reason=http3_peers.reason or "")
def test_tcp_and_quic_on_one_port_and_http3_to_endpoints(served, authority):
    """The origin of HTTP/3 is the gateway itself, by its listener of QUIC."""
    pair = {"certificate_chain": {"inline_string": (authority.folder / "gateway.pem").read_text()},
            "private_key": {"inline_string": (authority.folder / "gateway.key").read_text()}}
    explicit = {"explicit_http_config": {"http3_protocol_options": {"quic_protocol_options": {"max_concurrent_streams": 10}}}}
    automatic = {"auto_config": {"http2_protocol_options": {}, "http3_protocol_options": {},
                                 "alternate_protocols_cache_options": {"name": "all"}}}
    with contextlib.ExitStack() as stack:
        origin, port = stack.enter_context(Teller("origin")), free_port()
        behind = [tls_listener("safe", port, "behind", pair), quic_listener("fast", port, "behind", pair),
                  envoy.routes("behind", [("/", "origin")]), envoy.cluster("origin", MODE),
                  envoy.assignment("origin", [origin.endpoint]), envoy.assignment("api", [f"127.0.0.1:{port}"])]
        served.serve(*behind, http3_cluster("api", authority, **explicit))
        served.wait("origin")
        assert [curl(version, port, authority) for version in ("--http3-only", "--http2", "--http1.1")] == ["origin"] * 3
        assert served.gateway.metric("quic_handshakes_total") > 0
        served.serve(*behind[:1], *behind[2:], http3_cluster("api", authority, **explicit))
        served.wait(503)    # HTTP/3 and nothing else
        assert curl("--http2", port, authority) == "origin"
        served.serve(*behind[:1], *behind[2:], http3_cluster("api", authority, **automatic))
        served.wait("origin")
