"""What stands around a relayed connection: TLS, PROXY headers, pushes, draining, programs that people have."""
import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
import threading

import pytest

from certificates import Authority
from configuration import QUICK, cluster, configure, listener
from curl import curl_command
from gateway import free_port, wait_until
from origins import Nginx, Running, Teller
from proxy_headers import LINE, SOURCE, TARGET, binary, parse_binary, parse_line
from relayed import connect, ended, expect_reset, joined, relay, relay_to, tcp_listener
from wire import Connection, Origin, request

NAME = "site.example"
MIB = 1 << 20


class Files:
    """Certificates, where the control plane may read them."""

    def __init__(self, folder):
        self.authority = Authority(folder / "authority-of-tcp")
        self.certificate, self.key = self.authority.pair(folder / "tcp", "site", [NAME])
        self.visitor = self.authority.pair(folder / "tcp", "visitor", ["visitor.example"])

    def listening(self, **more):
        return {"certificates": [{"certificate": str(self.certificate), "key": str(self.key)}], **more}

    def connecting(self, **more):
        return {"ca": str(self.authority.pem), "sni": NAME, **more}

    def client_context(self):
        return ssl.create_default_context(cafile=self.authority.pem)

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        context.set_alpn_protocols(["http/1.1", "h2"])
        return context


@pytest.fixture(scope="module")
def files(gateway):
    return Files(gateway.folder)


def secured(client, context):
    """The same connection after a handshake, as the client."""
    return Connection(context.wrap_socket(client.sock, server_hostname=NAME), "the gateway")


def bid_farewell(connection):
    """close_notify, and the end."""
    connection.sock.unwrap().close()


# ---- TLS

def test_tls_is_taken_off(gateway, endpoint, files):
    relay_to(gateway, endpoint, listener={"tls": files.listening()})
    with connect(gateway) as plain:
        context = files.client_context()
        context.set_alpn_protocols(["postgresql", "h2"])
        client = secured(plain, context)
        assert client.sock.selected_alpn_protocol() is None
        served = endpoint.accept()
        client.send(b"x" * 100000)
        served.expect(b"x" * 100000)
        served.send(b"y" * 100000).end_sending()
        assert client.receive_all() == b"y" * 100000
        client.sock.unwrap()
        assert served.receive_all() == b""
        client.close()
    ended(gateway, request_bytes=100000, response_bytes=100000)


def farewell_with_the_handshake(client, context):
    """As a probe does that wants to know the certificate: close_notify stands in the same bytes as the client's Finished."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            client.send(outgoing.read())
            incoming.write(client.sock.recv(65536))
    with contextlib.suppress(ssl.SSLWantReadError):
        session.unwrap()
    client.send(outgoing.read())


def test_a_client_may_end_before_the_endpoint_is_there_behind_tls(gateway, endpoint, files):
    relay_to(gateway, endpoint, listener={"tls": files.listening()})
    with connect(gateway) as client:
        farewell_with_the_handshake(client, files.client_context())
        with endpoint.accept() as served:
            assert served.receive_all() == b""
    ended(gateway, request_bytes=0, response_bytes=0)


def test_an_endpoint_that_speaks_first_behind_tls(gateway, endpoint, files):
    relay_to(gateway, endpoint, listener={"tls": files.listening()})
    with connect(gateway) as plain:
        client = secured(plain, files.client_context())
        endpoint.accept().send(b"220 welcome\r\n")
        client.expect(b"220 welcome\r\n")
        client.close()


def test_an_end_that_anybody_could_have_made_is_none(gateway, endpoint, files):
    """Without close_notify the endpoint must not take what it got for whole."""
    relay_to(gateway, endpoint, listener={"tls": files.listening()})
    with connect(gateway) as plain:
        client = secured(plain, files.client_context())
        served = endpoint.accept()
        client.send(b"pay 100")
        served.expect(b"pay 100")
        client.sock.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            served.receive_all()
        client.close()
    ended(gateway, error="client-gone")


def test_clients_can_be_asked_for_certificates(gateway, endpoint, files):
    asking = {"mode": "required", "ca": str(files.authority.pem)}
    relay_to(gateway, endpoint, listener={"tls": files.listening(**{"client-certificates": asking})})
    before = gateway.metric("tcp_connections_total")
    with connect(gateway) as plain, pytest.raises(OSError):
        nobody = secured(plain, files.client_context())
        nobody.receive(1)
    assert gateway.metric("tcp_connections_total") == before, "whoever is not let in is not relayed"
    context = files.client_context()
    context.load_cert_chain(*files.visitor)
    with connect(gateway) as plain:
        client = secured(plain, context)
        client.send(b"it is me")
        endpoint.accept().expect(b"it is me")
        client.close()


@contextlib.contextmanager
def tls_endpoint(files):
    """Accepts one connection after the other and echoes in upper case until close_notify; what ALPN agreed on goes to the
    list."""
    agreed = []
    with Origin() as origin:
        def serve():
            context = files.server_context()
            with contextlib.suppress(OSError):
                while True:
                    sock = context.wrap_socket(origin.sock.accept()[0], server_side=True)
                    agreed.append(sock.selected_alpn_protocol())
                    while data := sock.recv(65536):
                        sock.sendall(data.upper())
                    bid_farewell(Connection(sock))
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield origin, agreed
        origin.sock.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("front", ["plaintext", "tls"])
@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_tls_is_put_on(gateway, files, front, protocol):
    """Nothing is offered by ALPN, whatever the cluster would speak for requests."""
    with tls_endpoint(files) as (origin, agreed):
        relay_to(gateway, origin, protocol=protocol, tls=files.connecting(),
                 listener={"tls": files.listening()} if front == "tls" else None)
        for _ in range(3):
            with connect(gateway) as plain:
                client = secured(plain, files.client_context()) if front == "tls" else plain
                client.send(b"a" * 300000)
                client.expect(b"A" * 300000)
                if front == "tls":
                    bid_farewell(client)
                else:
                    client.end_sending()
                    assert client.receive_all() == b""
            ended(gateway, request_bytes=300000, response_bytes=300000)
        gateway.wait_metric("tcp_connections", lambda count: count == 0)
        assert agreed == [None] * 3


def test_an_origin_that_is_somebody_else_is_not_connected_to(gateway, files):
    with tls_endpoint(files) as (origin, _):
        relay_to(gateway, origin, tls=files.connecting(names=["other.example"]))
        expect_reset(gateway)
        ended(gateway, error="connect-failed", request_bytes=0)


@pytest.mark.parametrize("front", ["plaintext", "tls"])
def test_a_short_budget_stops_nobody(gateway, endpoint, files, front):
    """Twelve uploads that nobody reads use all of the worker's buffers up; each goes on when its bytes are taken."""
    relay_to(gateway, endpoint, settings={"limits": {"worker-buffer": "1MiB"}},
             listener={"tls": files.listening()} if front == "tls" else None)
    data = os.urandom(12 * MIB)
    with contextlib.ExitStack() as stack:
        pairs, threads = [], []
        for _ in range(12):
            plain = stack.enter_context(connect(gateway))
            client = secured(plain, files.client_context()) if front == "tls" else plain
            pairs.append((client, endpoint.accept()))
            threads.append(threading.Thread(target=client.send, args=[data]))
        for thread in threads:
            thread.start()
        gateway.wait_metric("buffered_bytes", lambda held: held > 700000)
        for client, served in pairs:
            assert served.receive(len(data)) == data
        for thread in threads:
            thread.join()
        for client, _ in pairs:
            client.close()


# ---- PROXY headers

@pytest.mark.parametrize("version, read", [("v1", parse_line), ("v2", parse_binary)])
def test_the_endpoint_is_told_who_the_client_is(gateway, endpoint, version, read):
    relay_to(gateway, endpoint, **{"proxy-protocol": version})
    with connect(gateway, source="127.0.0.9") as client, endpoint.accept() as served:
        client.send(b"and then this")
        assert read(served) == (client.sock.getsockname(), ("127.0.0.1", gateway.port_of("tcp")))
        served.expect(b"and then this")


def test_what_a_proxy_in_front_says_is_passed_on(gateway, endpoint):
    relay_to(gateway, endpoint, listener={"proxy-protocol": {"mode": "accept", "trusted": ["127.0.0.0/8"]}},
             **{"proxy-protocol": "v2"})
    for header in (LINE.encode(), binary()):
        with connect(gateway) as client:
            client.send(header + b"behind it")
            with endpoint.accept() as served:
                assert parse_binary(served) == ((SOURCE, 4096), (TARGET, 443))
                served.expect(b"behind it")
    assert ended(gateway, client=SOURCE, request_bytes=9)


def test_a_header_and_then_tls(gateway, endpoint, files):
    relay_to(gateway, endpoint, listener={"proxy-protocol": {"mode": "accept", "trusted": ["127.0.0.0/8"]},
                                          "tls": files.listening()})
    with connect(gateway) as plain:
        plain.send(binary())
        client = secured(plain, files.client_context())
        client.send(b"behind both")
        endpoint.accept().expect(b"behind both")
        client.close()
    assert ended(gateway, client=SOURCE)


# ---- pushes

def test_connections_outlive_pushes(gateway, endpoint):
    """Of settings, of endpoints, of the cluster's balancer; an endpoint that is removed keeps those that it has."""
    with Origin() as other:
        relay_to(gateway, endpoint)
        with joined(gateway, endpoint) as (client, served):
            changes = [dict(settings={"server-name": "other"}), dict(balancer="maglev"), dict(tcp={"max-connect-attempts": 3})]
            for turn, change in enumerate(changes):
                relay_to(gateway, endpoint, **change)
                client.send(b"%d?" % turn)
                served.expect(b"%d?" % turn)
            relay_to(gateway, other)
            served.send(b"still here")
            client.expect(b"still here")
            with joined(gateway, other) as (fresh, there):
                fresh.send(b"new")
                there.expect(b"new")
            client.send(b"good bye").end_sending()
            assert served.receive_all() == b"good bye"


def test_the_cluster_and_the_listener_go(gateway, endpoint):
    """Nothing new is accepted, and what is open goes on."""
    relay_to(gateway, endpoint)
    with joined(gateway, endpoint) as (client, served):
        gateway.serve(configure(gateway, [], [{"respond": {"status": 404}}], timeouts={"drain": "60s"}))

        def is_closed():
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", gateway.port_of("tcp"))) != 0
        wait_until("the port is closed", is_closed)
        client.send(b"hello?")
        served.expect(b"hello?")
        served.send(b"yes").end_sending()
        assert client.receive_all() == b"yes"


def test_a_listener_that_goes_gives_time(gateway, endpoint):
    relay_to(gateway, endpoint, settings={"timeouts": {"drain": QUICK}})
    with joined(gateway, endpoint) as (client, served):
        gateway.serve(configure(gateway, [], [{"respond": {"status": 404}}]))
        client.expect_closed_or_reset()
        served.expect_closed_or_reset()
    ended(gateway, error="shutdown")


def test_a_listener_that_turns(gateway, endpoint):
    """From requests to connections and back. What is open ends as it began, and nothing begins that is not meant so."""
    address = f"127.0.0.1:{gateway.port_of('tcp')}"
    with Teller("a") as teller:
        clusters = [cluster("requests", teller, **{"idle-connections": 0}), cluster("origin", endpoint)]
        http = configure(gateway, clusters, listeners=[listener(gateway, name="tcp", address=address)])
        tcp = relay(gateway, clusters, [tcp_listener(gateway, "origin")])
        gateway.serve(http)
        with connect(gateway) as idle, contextlib.ExitStack() as stack:
            assert idle.exchange(request()).status == 200
            gateway.serve(tcp)
            idle.expect_closed()
            client, served = stack.enter_context(joined(gateway, endpoint))
            client.send(request())
            served.expect(request())
            gateway.serve(http)
            served.send(b"no answer of HTTP")
            client.expect(b"no answer of HTTP")
            with connect(gateway) as fresh:
                assert fresh.exchange(request()).status == 200


def test_what_is_begun_when_a_listener_turns(gateway, endpoint):
    """A request that is not complete when its listener ceases to serve any is not relayed to where connections go."""
    address = f"127.0.0.1:{gateway.port_of('tcp')}"
    gateway.serve(configure(gateway, [cluster("origin", endpoint)], [{"cluster": "origin"}],
                            listeners=[listener(gateway, name="tcp", address=address)]))
    before, first = gateway.metric("client_received_bytes_total"), b"GET / HTTP/1.1\r\n"
    with connect(gateway) as client:
        client.send(first)
        gateway.wait_metric("client_received_bytes_total", lambda count: count >= before + len(first))
        relay_to(gateway, endpoint)
        client.send(b"Host: a\r\n\r\n")
        assert client.receive_head().status == 404
    gateway.wait_log(lambda r: r.get("error") == "no-route")


def test_processes_drain(own):
    """A data plane that is told to end waits for what is open, and no longer than it is told."""
    with Origin() as endpoint:
        relay_to(own, endpoint, settings={"timeouts": {"drain": "60s"}})
        with joined(own, endpoint) as (client, served):
            own.holder.terminate()
            wait_until("it drains", lambda: own.probe(own.admin_port, "readyz") == 503)
            client.send(b"still")
            served.expect(b"still")
        assert own.holder.wait(timeout=60) == 0


# ---- programs that people have

def test_curl_and_nginx_through_tls_that_passes(gateway, files, tmp_path):
    """HTTP/2 inside TLS that the gateway does not look into."""
    port = free_port()
    data = os.urandom(20 * MIB)
    (tmp_path / "file").write_bytes(data)
    config = NGINX.format(folder=tmp_path, port=port, certificate=files.certificate, key=files.key)
    with Running("nginx", tmp_path, config, port) as origin:
        relay_to(gateway, origin)
        through = gateway.port_of("tcp")
        done = subprocess.run(curl_command(f"https://{NAME}:{through}/file", "--http2", "--cacert", files.authority.pem,
                                           "--resolve", f"{NAME}:{through}:127.0.0.1", "-w", "%{stderr}%{http_version}"),
                              capture_output=True, check=True)
        assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
        assert done.stderr.strip() == b"2"


def test_curl_and_nginx_with_tls_taken_off(gateway, files, tmp_path):
    data = os.urandom(20 * MIB)
    with Nginx(tmp_path) as origin:
        (origin.files / "file").write_bytes(data)
        relay_to(gateway, origin, listener={"tls": files.listening()})
        through = gateway.port_of("tcp")
        options = ["--cacert", files.authority.pem, "--resolve", f"{NAME}:{through}:127.0.0.1"]
        url = f"https://{NAME}:{through}/file"
        got = subprocess.run(curl_command(url, *options), capture_output=True, check=True).stdout
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
        subprocess.run(curl_command(f"{url}-2", *options, "-T", tmp_path / "files/file"), capture_output=True, check=True)
        assert (origin.files / "file-2").read_bytes() == data


NGINX = """
user root;
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
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{ root {folder}; }}
    }}
}}
"""
