"""Early data (0-RTT) over HTTP/3, with ngtcp2's own client: what goes on at once, what waits, what 425 does, and that nobody
can send it all again."""
import json
import pathlib
import re
import socket
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(TESTS / "scenario/control"), str(TESTS / "http3_peers"), str(TESTS / "scenario/versions")]

import http3_peers  # noqa: E402  (found by the line above)
from certificates import Authority  # noqa: E402
from configuration import cluster, configure, listener  # noqa: E402
from gateway import wait_until  # noqa: E402
from loop import Loop  # noqa: E402
from udp_relay import Plan, Relay  # noqa: E402
from wire import PATIENCE, response  # noqa: E402

if http3_peers.reason:
    pytest.skip(http3_peers.reason, allow_module_level=True)

NAME = "site.example"
THIEVES = 32    # each of them comes to a worker by chance


class Site:
    def __init__(self, gateway):
        self.gateway, self.port = gateway, gateway.port_of("early")
        authority = Authority(gateway.folder / "authority-of-early-data")
        certificate, key = map(str, authority.pair(gateway.folder / "early-data", "site", [NAME]))
        self.tls = {"certificates": [{"certificate": certificate, "key": key}]}

    def serve(self, origin, takes_early_data=True):
        early = listener(self.gateway, name="early", address=f"127.0.0.1:{self.port}", tls=self.tls, protocols=["http3"],
                         quic={"early-data": takes_early_data})
        self.gateway.serve(configure(self.gateway, [cluster("origin", origin)], listeners=[listener(self.gateway), early]))

    def taken(self):
        return self.gateway.metric("quic_early_total")


class Returning:
    """A client that keeps its ticket, and the transport parameters that belong to it."""

    def __init__(self, site, folder):
        self.site, self.folder = site, folder
        self.kept = [f"--session-file={folder}/session", f"--tp-file={folder}/parameters", "--wait-for-ticket"]

    def command(self, target, *options, port=None):
        port = port or self.site.port
        return [http3_peers.program("gtlsclient"), *self.kept, "--no-quic-dump", "--exit-on-all-streams-close", f"--sni={NAME}",
                f"--download={self.folder}", *options, "127.0.0.1", str(port), f"https://{NAME}:{port}{target}"]

    def ask(self, target, *options):
        """What it prints; the answer's content is a file of the target's name."""
        done = subprocess.run(self.command(target, *options), capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def told(self, target):
        """What the teller has answered."""
        told = json.loads((self.folder / target.strip("/")).read_text())
        assert told["target"] == target
        return told, [value for name, value in told["fields"] if name.lower() == "early-data"]

    def ask_early(self, target, *options):
        """Whether its early data was taken; and the answer."""
        before = self.site.taken()
        self.ask(target, *options)
        return self.site.taken() > before, *self.told(target)


@pytest.fixture(scope="module")
def site(gateway):
    return Site(gateway)


@pytest.fixture(name="client")
def client_that_has_been_here(site, teller, tmp_path):
    """A gateway takes none in its first seconds: it does not know what the one before has taken."""
    site.serve(teller)
    client = Returning(site, tmp_path)
    client.ask("/first")
    assert client.told("/first")[1] == []
    wait_until("early data is taken", lambda: client.ask_early("/again")[0])
    return client


def test_a_safe_request_goes_on_at_once(client):
    assert client.ask_early("/safe")[::2] == (True, ["1"])


def test_a_request_with_content_waits(client, tmp_path):
    """For the end of the handshake, though all of it has come before."""
    (tmp_path / "content").write_bytes(b"x" * 500)
    for method in ("POST", "PUT", "GET"):
        is_taken, told, early = client.ask_early(f"/{method}", f"--data={tmp_path}/content", f"--http-method={method}")
        assert (is_taken, told["method"], told["length"], early) == (True, method, 500, [])


def test_a_method_that_is_not_safe_waits(client):
    is_taken, told, early = client.ask_early("/delete", "--http-method=DELETE")
    assert (is_taken, told["method"], early) == (True, "DELETE", [])


def test_425_reaches_the_client(site, client, scripted):
    """An origin that does not want to answer before the handshake is done; the client tries again (RFC 8470 section 5.2)."""
    site.serve(scripted)
    for is_early, status in ((True, 425), (False, 200)):
        how = [] if is_early else ["--disable-early-data"]
        with subprocess.Popen(client.command("/wanted", *how), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as process:
            served, _others = scripted.accept_request("/wanted")
            request = served.receive_request()
            assert request.fields.get("early-data") == ("1" if is_early else None)
            served.send(response(status))
            said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0 and re.search(rf"\[:status: {status}\]", said), said
    scripted.drop_connections()


def test_where_it_is_turned_off(site, client, teller):
    """The request comes all the same, after the handshake."""
    site.serve(teller, takes_early_data=False)
    assert client.ask_early("/off")[::2] == (False, [])


class Thief(Relay):
    """Keeps what a client says before it has heard anything, and sends it again from other ports: each worker gets it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.flight, self.sockets = [], [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(THIEVES)]

    def to_server(self, data, address):
        if not self.back.counts["came"]:
            self.flight.append(data)
        super().to_server(data, address)

    def to_client(self, client, data):
        if not self.back.counts["came"]:
            for sock in self.sockets:
                for stolen in self.flight:
                    sock.sendto(stolen, self.server)
        super().to_client(client, data)

    def close(self):
        super().close()
        for sock in self.sockets:
            sock.close()


def test_it_is_taken_once(site, client, teller, gateway):
    """Somebody listens, and sends it all again at once."""
    loop = Loop()
    thief = Thief(loop, ("127.0.0.1", site.port), Plan())
    taken, begun = site.taken(), gateway.metric("quic_connections_total")
    teller.take_count()
    with subprocess.Popen(client.command("/once", "-q", port=thief.port), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            loop.turn(0.01)
    thief.close()
    assert process.returncode == 0 and client.told("/once")[1] == ["1"]
    gateway.wait_metric("quic_connections_total", lambda count: count > begun + 1)  # on a worker that does not have the first
    assert client.ask_early("/another")[::2] == (True, ["1"])   # who was robbed is not hindered
    assert site.taken() == taken + 2 and teller.take_count() == 2
