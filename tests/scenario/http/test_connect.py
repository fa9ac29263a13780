"""CONNECT (RFC 9110 section 9.3.6): tunnels to the endpoints of a cluster, and whom they are refused. What they share with
upgrades is in test_tunnels_alike.py."""
import hashlib
import os
import socket
import subprocess

import pytest

from configuration import QUICK, cluster, configure, under
from gateway import free_port, wait_until
from origins import Running
from tunnels import ask, open_connect
from wire import CRLF, Origin, head_of, kernels_hold, request

MIB = 1 << 20


def hosts(*rules):
    """Host names: with tunnels, with requests alone, and with both."""
    tunnel = {"match": {"methods": ["CONNECT"]}, "cluster": "origin", "connect": True}
    return [{"domains": ["tunnel.example"], "rules": [*rules, {"cluster": "origin", "connect": True}]},
            {"domains": ["plain.example"], "rules": [{"cluster": "origin"}]},
            {"domains": ["both.example"], "rules": [under("/", {"respond": {"status": 200, "body": "here\n"}}), tunnel]},
            {"domains": ["none.example"], "rules": [{"cluster": "empty", "connect": True}]}]


@pytest.fixture
def tunnels(gateway, scripted):
    gateway.serve(configure(gateway, [cluster("origin", scripted), cluster("empty")], hosts=hosts()))
    yield gateway
    scripted.drop_connections()
    gateway.wait_metric("origin_connections", lambda count: count == 0)


@pytest.fixture
def client(tunnels):
    with tunnels.connect() as connection:
        yield connection


def test_the_answer_has_no_body_and_bytes_pass_both_ways(client, scripted):
    client.send(ask())
    answer = client.receive_head()
    assert (answer.status, answer.version) == (200, "HTTP/1.1")
    for name in ("Content-Length", "Transfer-Encoding", "Connection", "Upgrade"):
        assert answer[name] is None
    served = scripted.accept()
    client.send(b"\x16\x03\x01" + bytes(range(256)))
    served.expect(b"\x16\x03\x01" + bytes(range(256)))  # not a byte of the request went before
    served.send(b"\x00\xff yes")
    client.expect(b"\x00\xff yes")


def test_the_endpoint_may_speak_first(client, scripted):
    served = open_connect(client, scripted)
    served.send(b"220 welcome\r\n")
    client.expect(b"220 welcome\r\n")


def test_what_comes_with_the_request_waits_and_belongs_to_the_tunnel(client, scripted):
    client.send(ask(), b"GET /early HTTP/1.1\r\n\r\n")
    assert client.receive_head().status == 200
    scripted.accept().expect(b"GET /early HTTP/1.1\r\n\r\n")


def test_what_an_endpoint_said_before_it_left_arrives(tunnels, client, scripted):
    """It closes both directions at once; the client still sends until the gateway has noticed, and reads late. Before it
    closes, all of it is with the gateway's kernel: its own answers what comes afterwards with a reset, and sends nothing
    more."""
    served = open_connect(client, scripted)
    data = os.urandom(200000)
    served.send(data)
    wait_until("the gateway's kernel has it all", lambda: served.unacknowledged() == 0)
    served.close()

    def is_over():
        client.send_what_fits(b"x" * 1000)
        return tunnels.metric("tunnels") == 0
    wait_until("the end of the tunnel", is_over)
    assert client.receive_all_or_reset() == data


def test_who_does_not_read_holds_up_the_other(tunnels, scripted):
    """The gateway keeps little of what nobody takes."""
    with tunnels.connect(receive_buffer=8192) as client:
        served = open_connect(client, scripted)
        served.sock.settimeout(1)
        sent = 0
        try:
            while sent < 2 * kernels_hold():
                sent += served.sock.send(b"x" * 65536)
        except TimeoutError:
            pass
        assert sent < kernels_hold() + MIB
        assert tunnels.metric("buffered_bytes") < MIB
        assert client.receive(sent) == b"x" * sent


# ---- who is refused

@pytest.mark.parametrize("authority", ["plain.example:443", "unknown.example:443"])
def test_without_leave_it_is_405(client, tunnels, authority):
    answer = client.exchange(ask(authority), b"GET / HTTP/1.1\r\nHost: both.example\r\n\r\n")
    assert (answer.status, answer["Allow"], answer.closes) == (405, "", True)
    client.expect_closed()  # what came behind was meant for the tunnel, and is no request
    tunnels.wait_log(lambda r: r.get("target") == authority and r["error"] == "method-not-allowed")


def test_rules_with_a_path_do_not_match(client, scripted):
    """CONNECT has no path: the rule behind the one for `/` opens it."""
    open_connect(client, scripted, "both.example:443")


def test_requests_beside_tunnels_are_ordinary_ones(client):
    assert client.exchange(request(host="both.example")).body == b"here\n"


@pytest.mark.parametrize("start", ["CONNECT tunnel.example HTTP/1.1", "CONNECT /path HTTP/1.1", "CONNECT http://tunnel.example/ HTTP/1.1",
                                   "CONNECT tunnel.example:0 HTTP/1.1", "CONNECT :443 HTTP/1.1", "CONNECT * HTTP/1.1",
                                   "CONNECT u@tunnel.example:443 HTTP/1.1"])
def test_a_target_must_be_host_and_port(client, start):
    answer = client.exchange(head_of(start, "Host: tunnel.example"))
    assert (answer.status, answer.closes) == (400, True)


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_request_with_a_body_is_refused(client, field):
    assert client.exchange(ask("tunnel.example:443", field)).status == 400


def test_an_endpoint_that_refuses(tunnels, refused):
    tunnels.serve(configure(tunnels, [cluster("origin", refused), cluster("empty")], hosts=hosts()))
    for authority, reason in (("tunnel.example:443", "connect-failed"), ("none.example:443", "no-endpoint")):
        with tunnels.connect() as client:
            answer = client.exchange(ask(authority))
            assert (answer.status, answer.closes) == (503, True)
            client.expect_closed()
        tunnels.wait_log(lambda r, a=authority, e=reason: r.get("target") == a and r.get("error") == e)


def test_another_endpoint_is_tried(tunnels, scripted, refused):
    retry = {"match": {"methods": ["CONNECT"]}, "cluster": "origin", "connect": True, "retry": {"retries": 1}}
    tunnels.serve(configure(tunnels, [cluster("origin", refused, scripted), cluster("empty")], hosts=hosts(retry)))
    for _ in range(2):
        with tunnels.connect() as client:
            served = open_connect(client, scripted)
            client.send(b"there")
            served.expect(b"there")


def test_a_connection_that_does_not_come_about(tunnels):
    """The endpoint's queue is full: its kernel answers nothing."""
    with Origin(backlog=0) as full:
        held = [socket.socket() for _ in range(3)]
        for sock in held:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", full.port))
        quick = {"cluster": "origin", "connect": True, "timeouts": {"connect": QUICK}}
        tunnels.serve(configure(tunnels, [cluster("origin", full), cluster("empty")], hosts=hosts(quick)))
        with tunnels.connect() as client:
            assert client.exchange(ask()).status == 503
        for sock in held:
            sock.close()
    tunnels.wait_log(lambda r: r.get("error") == "connect-timeout")


# ---- what is known of them

def test_tunnels_are_counted_and_logged(tunnels, client, scripted):
    before = tunnels.metric("tunnels_total")
    served = open_connect(client, scripted, "tunnel.example:8443")
    assert (tunnels.metric("tunnels"), tunnels.metric("tunnels_total")) == (1, before + 1)
    client.send(b"12345")
    served.expect(b"12345")
    served.send(b"1234567")
    client.expect(b"1234567")
    client.close()
    served.expect_closed()
    served.close()
    record = tunnels.wait_log(lambda r: r.get("target") == "tunnel.example:8443")
    assert (record["method"], record["status"], record["cluster"], record["endpoint"]) == \
        ("CONNECT", 200, "origin", scripted.endpoint)
    tunnels.wait_metric("tunnels", lambda count: count == 0)


def test_the_endpoint_is_told_who_the_client_is(tunnels, scripted):
    naming = cluster("origin", scripted, **{"proxy-protocol": "v1"})
    tunnels.serve(configure(tunnels, [naming, cluster("empty")], hosts=hosts()))
    with tunnels.connect() as client:
        served = open_connect(client, scripted)
        words = served.receive_until(CRLF).decode().split()
        assert (words[2], int(words[4])) == client.sock.getsockname()
        client.send(b"then this")
        served.expect(b"then this")


# ---- programs that people have

NGINX = """
worker_processes 1;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 100; }}
http {{
    access_log off;
    client_max_body_size 1g;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        server_name secure.example;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{ root {folder}/files; dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""


@pytest.fixture
def secure(tmp_path):
    """An nginx with TLS, and its certificate."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=secure.example", "-addext", "subjectAltName=DNS:secure.example",
                    "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"], check=True, capture_output=True)
    (tmp_path / "files").mkdir()
    tmp_path.chmod(0o777)
    (tmp_path / "files").chmod(0o777)
    port = free_port()
    with Running("nginx", tmp_path, "user root;" + NGINX.format(folder=tmp_path, port=port), port) as origin:
        origin.folder = tmp_path
        yield origin


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_through_a_tunnel(tunnels, secure, version):
    """The TLS is between curl and nginx; 30 MiB there and back."""
    rules = [{"domains": ["secure.example"], "rules": [{"cluster": "origin", "connect": True}]}]
    tunnels.serve(configure(tunnels, [cluster("origin", secure)], hosts=rules))
    sent, back = secure.folder / "sent", secure.folder / "back"
    sent.write_bytes(os.urandom(30 * MIB))
    curl = ["curl", "-sS", "--fail", "-p", "-x", f"http://127.0.0.1:{tunnels.port}", version,
            "--cacert", str(secure.folder / "cert.pem"), "--max-time", "60"]
    subprocess.run([*curl, "-T", sent, "https://secure.example/there/file"], check=True, timeout=90)
    subprocess.run([*curl, "-o", back, "https://secure.example/there/file"], check=True, timeout=90)
    assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(sent.read_bytes()).digest()
