"""Keys of session tickets that a management server gives."""
import http.client
import socket
import ssl

import pytest

from certificates import Authority
from planes import free_port, wait_until
from xds_site import XdsSite, answer, listener

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
ADS = {"ads": {}, "resource_api_version": "V3"}
KEYS = [letter * 80 for letter in "abc"]


@pytest.fixture
def other(servers):
    """A second gateway of the same servers."""
    site = XdsSite()
    yield site
    site.finish()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("authority") / "authority")
    made.pair(made.folder, "gateway", ["gateway.test"])
    return made


def snapshot(port, authority, keys):
    web = listener("web", port, "site")
    web["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": {
        "@type": f"{TLS}DownstreamTlsContext", "common_tls_context": {
            "tls_certificate_sds_secret_configs": [{"name": "pair", "sds_config": ADS}]},
        "session_ticket_keys_sds_secret_config": {"name": "keys", "sds_config": ADS}}}
    pair = {"certificate_chain": {"inline_string": (authority.folder / "gateway.pem").read_text()},
            "private_key": {"inline_string": (authority.folder / "gateway.key").read_text()}}
    return {"listener": {"web": web}, "routes": {"site": answer("site", "one")},
            "secret": {"pair": {"name": "pair", "tls_certificate": pair}, "keys": tickets(keys)}}


def tickets(keys):
    return {"name": "keys", "session_ticket_keys": {"keys": [{"inline_string": key} for key in keys]}}


class Client:
    """Comes again with the session that it has."""

    def __init__(self, authority):
        self.context = ssl.create_default_context(cafile=authority.pem)
        self.context.maximum_version = ssl.TLSVersion.TLSv1_2  # the session is there when the handshake is over
        self.session = None

    def connect(self, port):
        plain = socket.create_connection(("127.0.0.1", port))
        return self.context.wrap_socket(plain, server_hostname="gateway.test", session=self.session)

    def ask(self, port, keeps=True):
        """Whether it was resumed; None when nobody answers."""
        try:
            with self.connect(port) as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                response = http.client.HTTPResponse(tls)
                response.begin()
                assert (response.status, response.read()) == (200, b"one")
                if keeps:
                    self.session = tls.session
                return tls.session_reused
        except OSError:
            return None


def test_a_session_resumes_across_gateways_and_rotations(gateway, other, servers, authority):
    ports = free_port(), free_port()
    managers = [servers(snapshot(port, authority, KEYS[:1])) for port in ports]
    for site, manager in zip((gateway, other), managers):
        site.start_all(site.bootstrap(manager))
    client = Client(authority)
    wait_until("the first answers", lambda: Client(authority).ask(ports[0]) is False)
    wait_until("the second answers", lambda: Client(authority).ask(ports[1]) is False)
    assert client.ask(ports[0]) is False
    assert client.ask(ports[1]) is True, "a ticket of one gateway is good at the other"
    open_before = client.connect(ports[0])
    managers[0].set(secret={**managers[0].resources["secret"], "keys": tickets([KEYS[1], KEYS[0]])})
    fresh = Client(authority)

    def has_rotated():
        """A ticket of the new key is nothing to the gateway that has the old one."""
        fresh.session = None
        return fresh.ask(ports[0]) is False and fresh.ask(ports[1], keeps=False) is False

    wait_until("the keys are rotated", has_rotated)
    assert client.ask(ports[0], keeps=False) is True, "tickets of the key before are still good"
    open_before.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    response = http.client.HTTPResponse(open_before)
    response.begin()
    assert response.status == 200, "a rotation drains nothing"
    assert response.getheader("Connection") != "close"
    open_before.close()
    managers[0].set(secret={**managers[0].resources["secret"], "keys": tickets([KEYS[2]])})
    wait_until("the old key is gone", lambda: client.ask(ports[0], keeps=False) is False)
