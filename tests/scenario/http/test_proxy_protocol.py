"""The PROXY protocol: what a proxy in front says about clients, and what origins are told."""
import json
import subprocess

import pytest

from configuration import QUICK, cluster, configure, listener
from curl import curl_command, lower, told_by_curl
from gateway import free_port
from origins import Running
from proxy_headers import LINE, SIGNATURE, SOURCE, TARGET, binary, parse_binary, parse_line
from wire import request, response

@pytest.fixture
def front(gateway, teller):
    """A listener that believes the loopback network, one that believes another, and the origin that tells what it saw."""
    def expecting(name, *trusted, **more):
        return listener(gateway, name=name, address=f"127.0.0.1:{gateway.port_of(name)}",
                        **{"proxy-protocol": {"mode": "accept", "trusted": list(trusted)}}, **more)
    gateway.serve(configure(gateway, [cluster("teller", teller)], listeners=[
        listener(gateway), expecting("believing", "127.0.0.0/8", timeouts={"handshake": "10s"}),
        expecting("hurried", "127.0.0.0/8", timeouts={"handshake": QUICK}),
        expecting("elsewhere", "203.0.113.0/24", "2001:db8::/32")],
        limits={"connections-per-ip": 3}))
    return gateway


def ask(gateway, header, target="/", name="believing", **how):
    with gateway.connect(gateway.port_of(name)) as client:
        return client.exchange(header, request("GET", target, **how))


def told(answer):
    assert answer.status == 200, answer.raw_head
    return dict(lower(json.loads(answer.body)["fields"]))


@pytest.mark.parametrize("header, source", [
    (LINE, SOURCE), (binary(), SOURCE), (binary(tail=b"\x04\x00\x05hello"), SOURCE),
    ("PROXY TCP6 2001:db8::7 2001:db8::2 4096 443\r\n", "2001:db8::7"),
    (binary(family=0x21, source="2001:db8::7"), "2001:db8::7"),
    ("PROXY UNKNOWN\r\n", "127.0.0.1"), (binary(command=0x20), "127.0.0.1"), (binary(command=0x20, family=0), "127.0.0.1"),
], ids=["v1", "v2", "v2 with TLV", "v1 IPv6", "v2 IPv6", "v1 unknown", "v2 local", "v2 local without family"])
def test_the_client_is_who_the_header_names(front, header, source):
    assert told(ask(front, header, "/named"))["x-forwarded-for"] == source
    assert front.wait_log(lambda r: r.get("target") == "/named" and r["client"] == source)


def test_the_header_counts_for_the_whole_connection(front):
    with front.connect(front.port_of("believing")) as client:
        for header in (LINE, "", ""):
            assert told(client.exchange(header, request()))["x-forwarded-for"] == SOURCE


def test_a_header_may_come_byte_by_byte(front):
    with front.connect(front.port_of("believing")) as client:
        for byte in binary():
            client.send(bytes([byte]))
        assert told(client.exchange(request()))["x-forwarded-for"] == SOURCE


@pytest.mark.parametrize("name", ["web", "elsewhere"])
@pytest.mark.parametrize("header", [LINE, binary()], ids=["v1", "v2"])
def test_a_header_from_anybody_else_is_a_bad_request(front, name, header):
    with front.connect(front.port_of(name)) as client:
        answer = client.exchange(header, request("GET", "/forged"))
        assert (answer.status, answer.closes) == (400, True)
        client.expect_closed()


def test_anybody_else_is_served_without_one(front):
    assert told(ask(front, "", name="elsewhere"))["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("start", [request(), "PROXY TCP4 192.0.2.7 198.51.100.2 4096 65536\r\n" + request().decode(),
                                   SIGNATURE + b"\x31\x11\x00\x0c", SIGNATURE + b"\x21\x11\xff\xff"],
                         ids=["no header", "bad port", "bad version", "overlong"])
def test_a_trusted_source_without_a_good_header_is_closed(front, start):
    before = front.metric("proxy_header_errors_total")
    with front.connect(front.port_of("believing")) as client:
        client.send(start)
        client.expect_closed_or_reset()
    front.wait_metric("proxy_header_errors_total", lambda count: count == before + 1)


def test_a_header_that_does_not_come_is_waited_for_until_the_deadline(front):
    before = front.metric("client_header_timeouts_total")
    with front.connect(front.port_of("hurried")) as client:
        client.send(LINE[:10])
        client.expect_closed_or_reset()
    front.wait_metric("client_header_timeouts_total", lambda count: count == before + 1)


def test_connections_are_counted_for_the_client_that_is_named(front):
    held = [front.connect(front.port_of("believing")) for _ in range(4)]
    before = front.metric("connections_refused_per_ip_total")
    try:
        for client in held[:3]:
            assert client.exchange(LINE, request()).status == 200
        held[3].send(LINE, request())
        held[3].expect_closed_or_reset()
        front.wait_metric("connections_refused_per_ip_total", lambda count: count == before + 1)
        assert ask(front, LINE.replace(SOURCE, "192.0.2.8")).status == 200, "another client of the same proxy is refused"
    finally:
        for client in held:
            client.close()


# ---- programs that people have

def test_curl(front):
    fields = told_by_curl(f"http://127.0.0.1:{front.port_of('believing')}/curl", "--haproxy-protocol")
    assert dict(fields)["x-forwarded-for"] == "127.0.0.1"


HAPROXY_IN_FRONT = """
global
    maxconn 100
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend f
    bind 127.0.0.1:{port}
    default_backend b
backend b
    server s 127.0.0.1:{target} {send}
"""

@pytest.mark.parametrize("mode, send", [("http", "send-proxy"), ("http", "send-proxy-v2"),
                                        ("tcp", "send-proxy-v2 proxy-v2-options unique-id,crc32c")],
                         ids=["v1", "v2", "v2 with TLVs"])
def test_haproxy_in_front(front, tmp_path, mode, send):
    port = free_port()
    config = HAPROXY_IN_FRONT.format(mode=mode, send=send, port=port, target=front.port_of("believing"))
    with Running("haproxy", tmp_path, config, port) as balancer:
        for source in ("127.0.0.2", "127.0.0.3"):
            with front.connect(balancer.port, source=source) as client:
                assert told(client.exchange(request("GET", "/balanced")))["x-forwarded-for"] == source
                assert front.wait_log(lambda r: r.get("target") == "/balanced" and r["client"] == source)


# ---- towards origins

READ = {"v1": parse_line, "v2": parse_binary}


@pytest.fixture(params=["v1", "v2"], name="version")
def each_version(request):  # pylint: disable=redefined-outer-name
    return request.param


@pytest.fixture
def naming(version, gateway, scripted):
    """A cluster whose connections begin with a header; behind it the scripted origin."""
    believing = listener(gateway, name="believing", address=f"127.0.0.1:{gateway.port_of('believing')}",
                         **{"proxy-protocol": {"mode": "accept", "trusted": "127.0.0.0/8"}})
    gateway.serve(configure(gateway, [cluster("named", scripted, **{"proxy-protocol": version})],
                            listeners=[listener(gateway), believing], **{"trusted-hops": 1}))
    yield gateway, scripted, READ[version]
    scripted.drop_connections()
    gateway.wait_metric("origin_connections", lambda count: count == 0)


def test_the_origin_is_told_both_ends(naming):
    gateway, origin, read = naming
    with gateway.connect(source="127.0.0.9") as client:
        for target in ("/first", "/second"):
            client.send(request("GET", target))
            served = origin.accept()  # each exchange has a connection of its own
            assert read(served) == (client.sock.getsockname(), ("127.0.0.1", gateway.port))
            assert served.receive_request().target == target
            served.send(response())
            assert client.receive_response().status == 200
            served.expect_closed()


def test_clients_of_http2_are_named_too(gateway, scripted, version):
    gateway.serve(configure(gateway, [cluster("named", scripted, **{"proxy-protocol": version})],
                            listeners=[listener(gateway, protocols=["http1", "http2"])]))
    command = curl_command(f"http://127.0.0.1:{gateway.port}/", "--http2-prior-knowledge", "--interface", "127.0.0.5")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        served = scripted.accept()
        source, destination = READ[version](served)
        assert source[0] == "127.0.0.5" and destination == ("127.0.0.1", gateway.port)
        served.receive_request()
        served.send(response(body="seen"))
        served.expect_closed()
        assert curl.communicate()[0] == b"seen" and curl.returncode == 0
    scripted.drop_connections()
    gateway.wait_metric("origin_connections", lambda count: count == 0)


def test_what_a_proxy_said_is_passed_on(naming):
    gateway, origin, read = naming
    with gateway.connect(gateway.port_of("believing")) as client:
        client.send(LINE, request())
        served = origin.accept()
        assert read(served) == ((SOURCE, 4096), (TARGET, 443))
        served.receive_request()
        served.send(response())
        assert client.receive_response().status == 200


def test_a_client_that_a_trusted_hop_names_is_passed_on_without_a_port(naming):
    gateway, origin, read = naming
    with gateway.connect() as client:
        client.send(request("GET", "/", "X-Forwarded-For: 203.0.113.5"))
        served = origin.accept()
        assert read(served) == (("203.0.113.5", 0), ("127.0.0.1", gateway.port))
        served.receive_request()
        served.send(response())
        assert client.receive_response().status == 200


def test_a_retry_names_the_client_again(naming):
    gateway, origin, read = naming
    with gateway.connect() as client:
        config = gateway.config
        rule = {"cluster": "named", "retry": {"on": ["reset"], "retries": 1}}
        changed = {**config, "route-tables": [{"name": "site", "hosts": [{"domains": ["*"], "rules": [rule]}]}]}
        gateway.serve(changed)
        client.send(request("GET", "/again"))
        first = origin.accept()
        assert read(first)[0] == client.sock.getsockname()
        first.receive_request()
        first.reset()
        second = origin.accept()
        assert read(second)[0] == client.sock.getsockname()
        second.receive_request()
        second.send(response())
        assert client.receive_response().status == 200


HAPROXY_BEHIND = """
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend f
    bind 127.0.0.1:{port} accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src] %[dst]"
"""

NGINX_BEHIND = """
worker_processes 1;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 100; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} proxy_protocol;
        return 200 "$proxy_protocol_addr $proxy_protocol_server_addr";
    }}
}}
"""


@pytest.mark.parametrize("program, config", [("haproxy", HAPROXY_BEHIND), ("nginx", NGINX_BEHIND)], ids=["HAProxy", "nginx"])
def test_real_origins_see_the_client(gateway, tmp_path, program, config, version):
    port = free_port()
    with Running(program, tmp_path, config.format(folder=tmp_path, port=port), port) as origin:
        gateway.serve(configure(gateway, [cluster("named", origin, **{"proxy-protocol": version})]))
        for source in ("127.0.0.2", "127.0.0.3"):
            with gateway.connect(source=source) as client:
                for _ in range(3):
                    assert client.exchange(request()).body.decode() == f"{source} 127.0.0.1"
