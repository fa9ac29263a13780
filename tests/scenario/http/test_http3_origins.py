"""HTTP/1.1 clients, the gateway, and origins that speak HTTP/3: the gateway itself, by another listener. What becomes of
requests when UDP does not get through to them."""
import contextlib
import hashlib
import json
import os
import pathlib
import re
import socket
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "control"))

from certificates import Authority  # noqa: E402  (found by the line above)
from configuration import cluster, configure, listener  # noqa: E402
from gateway import Gateway, free_port, wait_until  # noqa: E402
from wire import request  # noqa: E402

NAME = "origin.example"
MIB = 1 << 20


@pytest.fixture(scope="module", name="gateway")
def gateway_of_one_worker():
    """Connections to origins belong to a worker: all requests here meet on them."""
    gateway = Gateway(workers=1)
    try:
        yield gateway.start()
    finally:
        gateway.stop()


@pytest.fixture(scope="module")
def authority(gateway):
    return Authority(gateway.folder / "authority")


@pytest.fixture(scope="module")
def pair(gateway, authority):
    return authority.pair(gateway.folder / "pairs", "origin", [NAME])


class Site:
    """The gateway with a listener `web` in front, and `behind` as the origin of HTTP/3, before the teller."""

    def __init__(self, gateway, authority, pair, teller):
        self.gateway, self.authority, self.pair, self.teller = gateway, authority, pair, teller
        self.port = free_port()
        self.before = {}

    def behind(self, *protocols):
        certificate, key = map(str, self.pair)
        return listener(self.gateway, name="behind", address=f"127.0.0.1:{self.port}", protocols=list(protocols),
                        **{"route-table": "behind"}, tls={"certificates": [{"certificate": certificate, "key": key}]})

    def serve(self, *protocols, tls=None, endpoint=None, **more):
        """The origin speaks these; `more` is the cluster's."""
        tls = {"ca": str(self.authority.pem), "sni": NAME, **(tls or {})}
        far = cluster("far", endpoint or f"127.0.0.1:{self.port}", protocol="http3", tls=tls, **more)
        config = configure(self.gateway, [far, cluster("teller", self.teller)],
                           listeners=[listener(self.gateway), *([self.behind(*protocols)] if protocols else [])])
        config["route-tables"].append({"name": "behind", "hosts": [{"domains": ["*"], "rules": [{"cluster": "teller"}]}]})
        self.gateway.serve(config)
        return self

    def tls(self, what, **labels):
        """What is counted of TLS towards origins."""
        counts = re.findall(rf"(?m)^headgate_tls_{what}_total{{(.*)}} ([0-9]+)$", self.gateway.metrics_text())
        wanted = {"side": "origins", **labels}.items()
        return sum(int(n) for text, n in counts if all(f'{name}="{value}"' in text for name, value in wanted))

    def count(self, name):
        """How much the counter has grown since it was asked for last."""
        value = self.gateway.metric(name)
        grown, self.before[name] = value - self.before.get(name, 0), value
        return grown


@pytest.fixture
def site(gateway, authority, pair, teller):
    site = Site(gateway, authority, pair, teller)
    for name in [*COUNTERS, "quic_handshakes_total"]:
        site.count(name)
    yield site
    gateway.serve(configure(gateway, [], [{"respond": {"status": 404}}]))


COUNTERS = ["origin_connects_total", "origin_fallback_connects_total", "origin_http3_failures_total",
            "origin_http3_late_total"]


def told_of(answer):
    """What the origin saw."""
    assert answer.status == 200, answer
    return json.loads(answer.body)


@contextlib.contextmanager
def black_hole(port):
    """Takes all datagrams and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        yield sock


# ---- HTTP/3

@pytest.mark.parametrize("size", [0, 1, 1000, 65536, MIB, 10 * MIB])
def test_bodies_arrive_whole(site, size):
    site.serve("http3")
    body = os.urandom(size)
    with site.gateway.connect() as client:
        told = told_of(client.exchange(request("POST", "/up", "Content-Type: x/y", body=body)))
    assert (told["length"], told["sha256"]) == (size, hashlib.sha256(body).hexdigest())
    assert told["method"] == "POST" and told["target"] == "/up"


def test_requests_share_a_connection(site):
    site.serve("http3")
    for _ in range(5):
        told_of(site.gateway.get("/one"))
    assert site.count("origin_fallback_connects_total") == 0


# ---- what an origin has to prove

def test_an_origin_of_another_name_is_refused(site):
    site.serve("http3", tls={"sni": "other.example"})
    assert site.gateway.get("/").status == 503
    assert site.tls("failures", reason="name-mismatch") > 0


def test_an_origin_of_another_authority_is_refused(site, gateway):
    other = Authority(gateway.folder / "other-authority")
    site.serve("http3", tls={"ca": str(other.pem)})
    assert site.gateway.get("/").status == 503
    assert site.tls("failures", reason="unknown-ca") > 0


# ---- without UDP

def test_without_a_fallback_there_is_no_answer(site):
    site.serve("http2")
    assert site.gateway.get("/").status == 503
    assert site.count("origin_fallback_connects_total") == 0


def test_tcp_takes_over_where_nobody_serves_udp(site):
    site.serve("http2", **{"http3-fallback": {"remember": "1h", "remember-most": "1h"}})
    for _ in range(3):
        told_of(site.gateway.get("/"))
    assert site.count("origin_http3_failures_total") == 1  # and is not tried again
    assert site.count("origin_fallback_connects_total") == 1


def test_tcp_takes_over_where_nothing_answers(site):
    with black_hole(site.port) as hole:
        site.serve("http2", **{"http3-fallback": {"after": "50ms"}})
        told_of(site.gateway.get("/"))
        assert len(hole.recv(65536)) >= 1200  # it was tried
    assert site.count("origin_http3_late_total") == 1
    assert site.count("origin_fallback_connects_total") == 1


def test_both_race_where_told_so(site):
    with black_hole(site.port):
        site.serve("http2", **{"http3-fallback": {"after": "0s"}})
        told_of(site.gateway.get("/"))
    assert site.count("origin_fallback_connects_total") == 1
    assert site.count("origin_http3_late_total") == 0


def test_udp_is_found_once_it_gets_through(site):
    site.serve("http2", **{"http3-fallback": {"remember": "10ms", "remember-most": "10ms"}})
    told_of(site.gateway.get("/"))
    site.count("origin_http3_failures_total")
    assert site.count("quic_handshakes_total") == 0
    site.serve("http2", "http3", **{"http3-fallback": {"remember": "10ms", "remember-most": "10ms"}})

    def is_found():
        told_of(site.gateway.get("/"))  # over TCP, as long as nothing better is known
        return site.count("quic_handshakes_total") > 0
    wait_until("a handshake of QUIC", is_found)
    site.count("origin_fallback_connects_total")
    for _ in range(3):
        told_of(site.gateway.get("/"))
    assert site.count("origin_fallback_connects_total") == 0


def test_a_session_is_resumed(site):
    site.serve("http3", **{"idle-timeout": "10ms"})
    told_of(site.gateway.get("/"))
    site.gateway.wait_metric("quic_connections", lambda count: count == 0)
    before = site.tls("handshakes", result="resumed")
    told_of(site.gateway.get("/"))
    assert site.tls("handshakes", result="resumed") == before + 1
