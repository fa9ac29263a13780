"""TLS streams that end without close_notify: anybody may have cut them, so what only their end delimits is not whole
(RFC 8446 section 6.1, RFC 9112 section 9.8)."""
import pathlib
import socket
import ssl
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "control"))

from certificates import Authority  # noqa: E402  (found by the line above)
from configuration import cluster, configure, listener  # noqa: E402
from test_upgrades import WEBSOCKET, agreement  # noqa: E402
from wire import PATIENCE, Connection, head_of, request  # noqa: E402

NAME = "site.example"


class Endpoint:
    """Listens with TLS. What it accepts tells an end with close_notify from one without."""

    def __init__(self, pair):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*pair)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(PATIENCE)
        self.endpoint = "127.0.0.1:%d" % self.listening.getsockname()[1]
        self.accepted = []

    def accept(self):
        plain, _ = self.listening.accept()
        sock = self.context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)
        self.accepted.append(Connection(sock, "endpoint"))
        return self.accepted[-1]

    def close(self):
        for connection in self.accepted:
            connection.close()
        self.listening.close()


@pytest.fixture(scope="module")
def files(gateway):
    authority = Authority(gateway.folder / "authority-of-ends")
    return authority, authority.pair(gateway.folder / "tls-of-ends", "site", [NAME])


@pytest.fixture
def endpoint(files):
    server = Endpoint(files[1])
    yield server
    server.close()


@pytest.fixture
def site(gateway, files, endpoint):
    """A plain listener and one with TLS, in front of an endpoint with TLS."""
    authority, (certificate, key) = files
    tls = {"certificates": [{"certificate": str(certificate), "key": str(key)}]}
    rules = [{"domains": ["tunnel.example"], "rules": [{"cluster": "endpoint", "connect": True}]}]
    listeners = [listener(gateway),
                 listener(gateway, name="secure", address=f"127.0.0.1:{gateway.port_of('secure')}", tls=tls)]
    clusters = [cluster("endpoint", endpoint, tls={"ca": str(authority.pem), "sni": NAME})]
    gateway.serve(configure(gateway, clusters, hosts=rules, listeners=listeners))
    return gateway


@pytest.fixture(params=["plain", "tls"])
def client(site, files, request):  # pylint: disable=redefined-outer-name
    if request.param == "plain":
        with site.connect() as connection:
            yield connection
        return
    plain = socket.create_connection(("127.0.0.1", site.port_of("secure")), timeout=PATIENCE)
    context = ssl.create_default_context(cafile=files[0].pem)
    with Connection(context.wrap_socket(plain, server_hostname=NAME, suppress_ragged_eofs=False)) as connection:
        yield connection


def by_connect(client, endpoint):
    client.send(head_of("CONNECT tunnel.example:443 HTTP/1.1", "Host: tunnel.example:443"))
    served = endpoint.accept()
    assert client.receive_head().status == 200
    return served


def by_upgrade(client, endpoint):
    client.send(request("GET", "/chat", *WEBSOCKET))
    served = endpoint.accept()
    served.send(agreement(served.receive_request()["Sec-WebSocket-Key"]))
    assert client.receive_head().status == 101
    return served


@pytest.fixture(params=[by_connect, by_upgrade])
def served(client, endpoint, request):  # pylint: disable=redefined-outer-name
    """The endpoint's side of an open tunnel, through which bytes have passed."""
    connection = request.param(client, endpoint)
    client.send("ping")
    connection.expect("ping")
    connection.send("pong")
    client.expect("pong")
    return connection


def cut(connection):
    """The end of the stream, and not a word of TLS."""
    socket.socket.shutdown(connection.sock, socket.SHUT_WR)


def end(connection):
    """close_notify, without waiting for the other side's."""
    connection.sock.settimeout(0)
    try:
        connection.sock.unwrap()
    except (ssl.SSLWantReadError, ssl.SSLSyscallError):
        connection.sock.settimeout(PATIENCE)


def expect_cut(connection):
    """Neither TLS nor TCP say that this is all. To a peer without TLS only a reset can."""
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        connection.receive_all()


def test_a_tunnel_that_the_endpoints_side_cuts(client, served):
    cut(served)
    expect_cut(client)


def test_a_tunnel_that_the_clients_side_cuts(client, served):
    if not isinstance(client.sock, ssl.SSLSocket):
        client.reset()
    else:
        cut(client)
    expect_cut(served)


def test_a_tunnel_that_the_endpoint_ends(client, served):
    """The other direction goes on."""
    end(served)
    assert client.receive_all() == b""


def test_a_tunnel_that_the_client_ends(client, served):
    if isinstance(client.sock, ssl.SSLSocket):
        end(client)
    else:
        client.end_sending()
    assert served.receive_all() == b""
    served.send("a late answer")
    if not isinstance(client.sock, ssl.SSLSocket):
        client.expect("a late answer")


@pytest.mark.parametrize("how", [cut, end])
def test_a_response_that_the_end_of_the_connection_delimits(client, endpoint, how):
    client.send(request("GET", "/"))
    served = endpoint.accept()
    served.receive_request()
    served.send("HTTP/1.1 200 OK\r\n\r\nhello")
    how(served)
    if how is end:
        assert client.receive_response().body == b"hello"
    else:
        assert client.receive_head().is_chunked
        client.expect("5\r\nhello\r\n")
        rest = b""
        try:
            rest = client.receive_all()
        except OSError:
            pass
        assert rest == b"", "no last chunk"
