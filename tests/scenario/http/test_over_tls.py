"""What TLS is beneath: the identity of clients, PROXY headers before the handshake, tunnels."""
import base64
import hashlib
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "control"))

from certificates import Authority  # noqa: E402  (found by the line above)
from configuration import cluster, configure, listener  # noqa: E402
from curl import lower, told_by_curl  # noqa: E402
from gateway import free_port  # noqa: E402
from origins import Running  # noqa: E402
from tunnels import ask  # noqa: E402
from wire import PATIENCE, Connection, request  # noqa: E402

MIB = 1 << 20
NAME = "site.example"
FORGED = ["X-Forwarded-Client-Cert: forged", "Client-Cert: :Zm9yZ2Vk:", "Client-Cert-Chain: :Zm9yZ2Vk:"]


class Files:
    """The certificates of this module, where the control plane may read them."""

    def __init__(self, folder):
        self.authority = Authority(folder / "authority-of-tls")
        self.site = self.authority.pair(folder / "tls", "site", [NAME])
        self.visitor = self.authority.pair(folder / "tls", "visitor", ["visitor.example"])

    def listening(self, **more):
        certificate, key = map(str, self.site)
        return {"certificates": [{"certificate": certificate, "key": key}], **more}

    def asking(self, mode, *identity):
        return self.listening(**{"client-certificates": {"mode": mode, "ca": str(self.authority.pem), "identity": list(identity)}})

    def visitor_der(self):
        return ssl.PEM_cert_to_DER_cert(self.visitor[0].read_text().split("-----END CERTIFICATE-----")[0] +
                                        "-----END CERTIFICATE-----\n")


@pytest.fixture(scope="module")
def files(gateway):
    return Files(gateway.folder)


def secure(gateway, name, tls, **more):
    return listener(gateway, name=name, address=f"127.0.0.1:{gateway.port_of(name)}", protocols=["http1", "http2"], tls=tls, **more)


@pytest.fixture
def site(gateway, files, teller):
    """Listeners: `required` and `if-given` ask for certificates, `proxied` expects a PROXY header."""
    believed = {"proxy-protocol": {"mode": "accept", "trusted": "127.0.0.0/8"}}
    gateway.serve(configure(gateway, [cluster("teller", teller)], listeners=[
        listener(gateway), secure(gateway, "required", files.asking("required", "xfcc", "client-cert")),
        secure(gateway, "if-given", files.asking("if-given", "xfcc")),
        secure(gateway, "proxied", files.listening(), **believed)]))
    return gateway


def curl(gateway, files, name, *options):
    port = gateway.port_of(name)
    return told_by_curl(f"https://{NAME}:{port}/", "--cacert", files.authority.pem, "--resolve", f"{NAME}:{port}:127.0.0.1",
                        *options)


def told(fields):
    """What the origin gets of a client's certificate."""
    return {name: value for name, value in fields if "cert" in name}


def expected(files, *names):
    der = files.visitor_der()
    xfcc = f'Hash={hashlib.sha256(der).hexdigest()};Subject="CN=visitor.example";DNS=visitor.example'
    both = {"x-forwarded-client-cert": xfcc, "client-cert": f":{base64.b64encode(der).decode()}:"}
    return {name: both[name] for name in names}


@pytest.fixture(params=["--http1.1", "--http2"])
def version(request):  # pylint: disable=redefined-outer-name
    return request.param


# ---- what a listener offers

def said(gateway, files, name, *options):
    """What openssl's client says of a handshake."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port_of(name)}", "-servername", NAME, "-CAfile",
                           files.authority.pem, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=PATIENCE, check=False)
    return done.stdout + done.stderr


def test_versions_suites_and_groups_are_a_listeners_own(gateway, files, teller):
    strict = files.listening(**{"min-version": "1.3", "cipher-suites": "TLS_AES_256_GCM_SHA384", "groups": "P-384"})
    gateway.serve(configure(gateway, [cluster("teller", teller)], listeners=[
        secure(gateway, "strict", strict), secure(gateway, "usual", files.listening())]))
    assert "TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384" in said(gateway, files, "strict")
    assert "TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256" in said(gateway, files, "usual")
    for refused in (["-tls1_2"], ["-groups", "X25519"], ["-ciphersuites", "TLS_AES_128_GCM_SHA256"]):
        assert "Cipher is (NONE)" in said(gateway, files, "strict", *refused), refused
        assert "Verify return code: 0 (ok)" in said(gateway, files, "usual", *refused), refused


def test_a_stapled_response_reaches_the_client(gateway, files, teller):
    response = files.authority.ocsp(files.site[0], gateway.folder / "tls/site.ocsp")
    stapled = files.listening()
    stapled["certificates"][0]["ocsp"] = str(response)
    gateway.serve(configure(gateway, [cluster("teller", teller)], listeners=[
        secure(gateway, "stapled", stapled), secure(gateway, "usual", files.listening())]))
    assert "OCSP Response Status: successful" in said(gateway, files, "stapled", "-status")
    assert "OCSP response: no response sent" in said(gateway, files, "usual", "-status")


# ---- identity

def shown(files):
    return ["--cert", str(files.visitor[0]), "--key", str(files.visitor[1])]


def test_the_origin_is_told_what_the_handshake_proved(site, files, version):
    forged = [word for field in FORGED for word in ("-H", field)]
    got = curl(site, files, "required", version, *shown(files), *forged)
    assert told(got) == expected(files, "x-forwarded-client-cert", "client-cert")
    got = curl(site, files, "if-given", version, *shown(files), *forged)
    assert told(got) == expected(files, "x-forwarded-client-cert")


def test_a_client_without_certificate_is_nobody(site, files, version):
    forged = [word for field in FORGED for word in ("-H", field)]
    assert told(curl(site, files, "if-given", version, *forged)) == {}


def test_identity_comes_with_a_resumed_session(site, files):
    context = ssl.create_default_context(cafile=files.authority.pem)
    context.load_cert_chain(*files.visitor)
    session, resumed = None, []
    for _ in range(3):
        plain = socket.create_connection(("127.0.0.1", site.port_of("required")), timeout=PATIENCE)
        sock = context.wrap_socket(plain, server_hostname=NAME, session=session)
        with Connection(sock) as client:
            got = json.loads(client.exchange(request(host=NAME)).body)["fields"]
            assert told(lower(got)) == expected(files, "x-forwarded-client-cert", "client-cert")
            resumed.append(sock.session_reused)
            session = sock.session
    assert resumed == [False, True, True]


# ---- PROXY headers

def test_a_header_comes_before_the_handshake(site, files, version):
    fields = dict(curl(site, files, "proxied", version, "--haproxy-protocol"))
    assert fields["x-forwarded-for"] == "127.0.0.1" and fields["x-forwarded-proto"] == "https"


HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen l
    bind 127.0.0.1:{port}
    server s 127.0.0.1:{target} send-proxy-v2
"""


def test_haproxy_in_front_passes_tls_through(site, files, version, tmp_path):
    port = free_port()
    config = HAPROXY.format(port=port, target=site.port_of("proxied"))
    with Running("haproxy", tmp_path, config, port):
        via = ["--interface", "127.0.0.6", "--connect-to", f"{NAME}:{site.port_of('proxied')}:{NAME}:{port}",
               "--resolve", f"{NAME}:{port}:127.0.0.1"]
        assert dict(curl(site, files, "proxied", version, *via))["x-forwarded-for"] == "127.0.0.6"


def test_anything_else_before_the_handshake_is_closed(site):
    for first in (b"\x16\x03\x01\x02\x00\x01", request()):
        with site.connect(site.port_of("proxied")) as client:
            client.send(first)
            client.expect_closed_or_reset()


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
        listen 127.0.0.1:{port} ssl http2 proxy_protocol;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        return 200 "$proxy_protocol_addr $server_protocol";
    }}
}}
"""


@pytest.mark.parametrize("header", ["v1", "v2"])
@pytest.mark.parametrize("protocol, spoken", [("http1", "HTTP/1.1"), ("http2", "HTTP/2.0")])
def test_an_origin_gets_the_header_before_the_handshake(gateway, files, tmp_path, header, protocol, spoken):
    port = free_port()
    certificate, key = files.site
    config = NGINX.format(folder=tmp_path, port=port, certificate=certificate, key=key)
    with Running("nginx", tmp_path, config, port) as origin:
        tls = {"ca": str(files.authority.pem), "sni": NAME}
        gateway.serve(configure(gateway, [cluster("named", origin, protocol=protocol, tls=tls, **{"proxy-protocol": header})]))
        for source in ("127.0.0.2", "127.0.0.3"):
            with gateway.connect(source=source) as client:
                for _ in range(3):
                    assert client.exchange(request()).body.decode() == f"{source} {spoken}"


# ---- tunnels

class Echo:
    """A server with TLS that sends back what it gets, until the end."""

    def __init__(self, files):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*files.site)
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "127.0.0.1:%d" % self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                plain, _ = self.sock.accept()
            except OSError:
                return
            with plain:
                self.answer(plain)

    def answer(self, plain):
        try:
            with self.context.wrap_socket(plain, server_side=True) as sock:
                while data := sock.recv(1 << 16):
                    sock.sendall(data)
                sock.unwrap()
        except OSError:
            pass  # the gateway closed; a test that minds sees it on its own side

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join()


@pytest.fixture
def echo(files):
    with Echo(files) as server:
        yield server


def send_and_read_back(client, data):
    """More than all buffers on the way hold."""
    sender = threading.Thread(target=client.send, args=[data])
    sender.start()
    assert client.receive(len(data)) == data
    sender.join()


@pytest.fixture
def tunnel(gateway, files, echo):
    """Tunnels to an endpoint with TLS, from a plain listener and from one with TLS."""
    tls = {"ca": str(files.authority.pem), "sni": NAME}
    rules = [{"domains": ["tunnel.example"], "rules": [{"cluster": "echo", "connect": True}]}]
    listeners = [listener(gateway), listener(gateway, name="secure", address=f"127.0.0.1:{gateway.port_of('secure')}",
                                             tls=files.listening())]
    gateway.serve(configure(gateway, [cluster("echo", echo, tls=tls)], hosts=rules, listeners=listeners))
    return gateway


def test_a_tunnel_to_an_endpoint_with_tls(tunnel):
    with tunnel.connect() as client:
        client.send(ask())
        assert client.receive_head().status == 200
        send_and_read_back(client, os.urandom(8 * MIB))
        client.end_sending()
        assert client.receive_all() == b""


def test_a_tunnel_from_a_client_with_tls(tunnel, files):
    context = ssl.create_default_context(cafile=files.authority.pem)
    plain = socket.create_connection(("127.0.0.1", tunnel.port_of("secure")), timeout=PATIENCE)
    with Connection(context.wrap_socket(plain, server_hostname=NAME)) as client:
        client.send(ask())
        assert client.receive_head().status == 200
        for size in (1, 16384, 16385, 300000):
            data = os.urandom(size)
            client.send(data)
            assert client.receive(size) == data


def test_an_endpoint_that_is_not_who_it_should_be(gateway, files, echo):
    tls = {"ca": str(files.authority.pem), "sni": "another.example"}
    rules = [{"domains": ["tunnel.example"], "rules": [{"cluster": "echo", "connect": True}]}]
    gateway.serve(configure(gateway, [cluster("echo", echo, tls=tls)], hosts=rules))
    with gateway.connect() as client:
        answer = client.exchange(ask())
        assert (answer.status, answer.closes) == (503, True)
