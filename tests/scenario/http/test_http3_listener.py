"""HTTP/3 on a listener: beside TCP and without it, port in use, turned off and on under a request. By curl."""
import errno
import json
import pathlib
import socket
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(TESTS / "scenario/control"), str(TESTS / "http3_peers")]

import http3_peers  # noqa: E402  (found by the line above)
from certificates import Authority  # noqa: E402
from configuration import cluster, configure, listener  # noqa: E402
from gateway import wait_until  # noqa: E402
from wire import PATIENCE, response  # noqa: E402

if http3_peers.reason:
    pytest.skip(http3_peers.reason, allow_module_level=True)

NAME = "site.example"
ALL, TCP, QUIC = ["http1", "http2", "http3"], ["http1", "http2"], ["http3"]


class Site:
    def __init__(self, gateway):
        self.gateway, self.port = gateway, gateway.port_of("http3")
        self.authority = Authority(gateway.folder / "authority-of-http3")
        certificate, key = map(str, self.authority.pair(gateway.folder / "http3", "site", [NAME]))
        self.tls = {"certificates": [{"certificate": certificate, "key": key}]}

    def listener(self, protocols, port=None, name="fast", **more):
        return listener(self.gateway, name=name, address=f"127.0.0.1:{self.port if port is None else port}", tls=self.tls,
                        protocols=protocols, **more)

    def configuration(self, origin, *arguments, **more):
        return configure(self.gateway, [cluster("origin", origin)],
                         listeners=[listener(self.gateway), self.listener(*arguments, **more)])

    def serve(self, *arguments, **more):
        self.gateway.serve(self.configuration(*arguments, **more))

    def command(self, version, *options, port=None, target="/"):
        port = port or self.port
        return [http3_peers.program("curl"), version, "-sS", "-i", "--max-time", str(PATIENCE), "--cacert", self.authority.pem,
                "--resolve", f"{NAME}:{port}:127.0.0.1", *options, f"https://{NAME}:{port}{target}"]

    def curl(self, *arguments, **more):
        """Exit code, head as lines, and body."""
        done = subprocess.run(self.command(*arguments, **more), capture_output=True, text=True, check=False)
        head, _, body = done.stdout.partition("\n\n")
        return done.returncode, head.splitlines(), body

    def speaks(self, version):
        return self.curl(version)[0] == 0


@pytest.fixture(scope="module")
def site(gateway):
    return Site(gateway)


def is_free(port):
    """Nobody has it for UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError as error:
            assert error.errno == errno.EADDRINUSE
            return False
        return True


def bound_ports(gateway, name):
    [plane] = gateway.status()["data_planes"]
    [addresses] = [each["addresses"] for each in plane["report"]["listeners"] if each["name"] == name]
    return [int(address.rpartition(":")[2]) for address in addresses]


def test_beside_tcp(gateway, site, teller):
    site.serve(teller, ALL, **{"alt-svc": {"max-age": "1h"}})
    assert f"127.0.0.1:{site.port}+udp" in gateway.headgate("status").stdout
    code, head, body = site.curl("--http3-only", target="/by-http3")
    assert code == 0 and head[0].startswith("HTTP/3 200"), (code, head)
    assert ["via", "3 headgate"] in [[name.lower(), value] for name, value in json.loads(body)["fields"]]
    assert not [line for line in head if line.lower().startswith("alt-svc")]
    record = gateway.wait_log(lambda r: r.get("target") == "/by-http3")
    assert (record["protocol"], record["status"], record["listener"]) == ("HTTP/3.0", 200, "fast")
    for version in ("--http1.1", "--http2"):
        code, head, _body = site.curl(version)
        assert code == 0 and f'alt-svc: h3=":{site.port}"; ma=3600' in [line.lower() for line in head]
    gateway.wait_metric("connections", lambda count: count == 0)
    assert gateway.metric("quic_handshakes_total") >= 1


def test_a_port_that_the_system_picks(gateway, site, teller):
    site.serve(teller, ALL, port=0, **{"alt-svc": {}})
    [port] = bound_ports(gateway, "fast")
    code, head, _body = site.curl("--http2", port=port)
    assert code == 0 and f'alt-svc: h3=":{port}"; ma=86400' in head
    assert site.curl("--http3-only", port=port)[0] == 0


def test_a_port_that_is_in_use(gateway, site, teller):
    site.serve(teller, TCP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", site.port))
        push = gateway.push(site.configuration(teller, ALL))
        assert push.code != 0 and f"127.0.0.1:{site.port} is in use for UDP" in json.dumps(push.reply), push
        assert site.speaks("--http2")
    site.serve(teller, ALL)
    assert site.speaks("--http3-only") and site.speaks("--http2")


def test_without_tcp(gateway, site, teller):
    site.serve(teller, QUIC)
    assert site.speaks("--http3-only")
    assert f"127.0.0.1:{site.port}/udp" in gateway.headgate("status").stdout
    gateway.wait_refused(site.port)
    site.serve(teller, ALL)
    assert site.speaks("--http3-only") and site.speaks("--http1.1")
    gateway.wait_metric("connections", lambda count: count == 0)


def test_off_and_on_under_a_request(gateway, site, scripted):
    site.serve(scripted, ALL)
    with subprocess.Popen(site.command("--http3-only", target="/slow"), stdout=subprocess.PIPE, text=True) as client:
        served, _others = scripted.accept_request("/slow")
        served.receive_request()
        whole = response(200, body=b"x" * 100000)
        served.send(whole[:50000])
        site.serve(scripted, TCP)
        refused = gateway.metric("quic_refused_total")
        assert site.curl("--http3-only", "--connect-timeout", "2")[0] != 0  # it would try again and again
        gateway.wait_metric("quic_refused_total", lambda count: count > refused)
        site.serve(scripted, ALL)       # the same socket, which the request still holds
        with subprocess.Popen(site.command("--http3-only", target="/again"), stdout=subprocess.PIPE) as second:
            another, _others = scripted.accept_request("/again")
            another.receive_request()
            another.send(response(200, body=b"again"))
            assert second.communicate()[0].endswith(b"again") and second.returncode == 0
        site.serve(scripted, TCP)
        assert not is_free(site.port)
        served.send(whole[50000:])
        answer = client.communicate()[0]
        assert client.returncode == 0 and answer.endswith("x" * 100000)
    wait_until("the socket of UDP is closed", lambda: is_free(site.port))
    scripted.drop_connections()


def test_two_listeners_at_one_address(gateway, site, scripted):
    """One has TCP, the other UDP, which then goes over to the first."""
    def serve(*listeners):
        gateway.serve(configure(gateway, [cluster("origin", scripted)], listeners=[listener(gateway), *listeners]))

    serve(site.listener(TCP, name="slow"), site.listener(QUIC))
    with subprocess.Popen(site.command("--http3-only", target="/one"), stdout=subprocess.PIPE, text=True) as client:
        served, _others = scripted.accept_request("/one")
        served.receive_request()
        serve(site.listener(ALL, name="slow"))
        with subprocess.Popen(site.command("--http3-only", target="/two"), stdout=subprocess.PIPE, text=True) as second:
            another, _others = scripted.accept_request("/two")
            another.receive_request()
            another.send(response(200, body=b"two"))
            assert second.communicate()[0].endswith("two")
        served.send(response(200, body=b"one"))
        assert client.communicate()[0].endswith("one") and client.returncode == 0
    records = [gateway.wait_log(lambda r, target=target: r.get("target") == target) for target in ("/one", "/two")]
    assert [r["listener"] for r in records] == ["fast", "slow"]
    gateway.serve(configure(gateway, [cluster("origin", scripted)]))
    scripted.drop_connections()


def test_a_listener_that_goes_and_comes_back(gateway, site, scripted):
    site.serve(scripted, ALL)
    with subprocess.Popen(site.command("--http3-only", target="/slow"), stdout=subprocess.PIPE, text=True) as client:
        served, _others = scripted.accept_request("/slow")
        served.receive_request()
        gateway.serve(configure(gateway, [cluster("origin", scripted)]))
        gateway.wait_metric("connections", lambda count: count == 1)    # the request's
        site.serve(scripted, QUIC)
        served.send(response(200, body=b"late"))
        assert client.communicate()[0].endswith("late") and client.returncode == 0
    gateway.serve(configure(gateway, [cluster("origin", scripted)]))
    wait_until("the socket of UDP is closed", lambda: is_free(site.port))
    scripted.drop_connections()


def test_the_data_plane_comes_back(gateway, site, teller):
    """With the same sockets, which the holder has; a client of the dead one hears of it by a stateless reset or in time."""
    site.serve(teller, ALL)
    assert site.speaks("--http3-only")
    gateway.kill_dataplane()
    assert not is_free(site.port)
    wait_until("HTTP/3 is served again", lambda: site.speaks("--http3-only"))
    assert site.speaks("--http2")
    gateway.wait_in_sync()
    gateway.serve(configure(gateway, [cluster("origin", teller)]))
    wait_until("the socket of UDP is closed", lambda: is_free(site.port))
