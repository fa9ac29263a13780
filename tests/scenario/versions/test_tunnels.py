"""WebSocket in all pairs: Upgrade of HTTP/1.1, extended CONNECT of HTTP/2, and from one to the other."""
import contextlib

import pytest

from bodies import bytes_at
from configuration import QUICK
from gateway import START_SECONDS
from pairs import ALL, Site
from talk import CANCEL, CONNECT_ERROR, CUT, END


def open_tunnel(client, origin, target="/chat"):
    """Both ends of it."""
    asked = client.ask_tunnel(target)
    served = origin.request()
    served.agree_on_tunnel()
    assert asked.answer().status == (200 if asked.connection.can_multiplex else 101)
    return asked, served


def test_bytes_pass_both_ways(client, origin):
    asked, served = open_tunnel(client, origin)
    for number in range(20):
        asked.send(bytes_at(number, 1000))
        assert served.receive(1000) == bytes_at(number, 1000)
        served.send(bytes_at(number, 2000))
        assert asked.receive(2000) == bytes_at(number, 2000)
    asked.cancel()


def test_much_passes_both_ways_at_once(client, origin):
    size = 8 << 20
    asked, served = open_tunnel(client, origin)
    asked.send(bytes_at(0, size))
    served.send(bytes_at(5, size))
    for at in range(0, size, 1 << 20):
        assert served.receive(1 << 20) == bytes_at(at, 1 << 20)
        assert asked.receive(1 << 20) == bytes_at(at + 5, 1 << 20)
    asked.cancel()


def test_other_exchanges_beside_a_tunnel(client, origin):
    asked, served = open_tunnel(client, origin)
    other = client.ask("POST", "/beside", body=b"x")
    beside = origin.request("/beside")
    assert beside.rest() == b"x"
    beside.respond(200, body="y")
    assert other.rest() == b"y"
    served.send("still there")
    assert asked.receive(11) == b"still there"
    asked.cancel()


def test_the_client_leaves(pair, client, origin):
    asked, served = open_tunnel(client, origin)
    asked.cancel()
    assert served.fate() in ((CUT, END) if pair.back == 1 else (8, CUT))


def test_the_origin_leaves(pair, client, origin):
    asked, served = open_tunnel(client, origin)
    served.send("last words").flush()
    assert asked.receive(10) == b"last words"
    served.cancel()
    assert asked.fate() in ((CUT, END) if pair.front == 1 else (CONNECT_ERROR,))


def test_an_origin_that_does_not_want_it(client, origin):
    asked = client.ask_tunnel()
    origin.request().respond(403, body="no")
    assert asked.answer().status == 403 and asked.rest() == b"no"


# ---- what the client says before it has an answer

def ask_and_go_on(client, origin):
    """Both ends; the client's has sent more than its request already."""
    asked = client.ask_tunnel().send("early")
    return asked, origin.request()


def test_what_comes_early_waits_until_the_origin_has_agreed(client, origin):
    asked, served = ask_and_go_on(client, origin)
    assert client.loop.is_quiet(lambda: served.received), "payload came before the agreement"
    served.agree_on_tunnel()
    assert served.receive(5) == b"early"
    asked.cancel()


def test_what_comes_early_is_not_for_an_origin_that_refuses(client, origin):
    asked, served = ask_and_go_on(client, origin)
    served.respond(403, body="no")
    assert asked.answer().status == 403 and asked.rest() == b"no"
    client.loop.until("the end of what the origin hears", lambda: served.is_over)
    assert not served.received and not origin.arrived()


# ---- idle

def test_a_tunnel_that_is_idle_is_cut(pair, site, client, origin):
    """That one alone: another goes on, over HTTP/2 and HTTP/3 on the same connections."""
    other, beside = open_tunnel(client, origin)
    asked, served = open_tunnel(client, origin, f"/idle/{pair}")
    assert asked.fate() in ((CUT, END) if pair.front == 1 else (CANCEL,))
    assert served.fate() in ((CUT, END) if pair.back == 1 else (CANCEL,))
    site.gateway.wait_log(lambda r: r.get("target") == f"/idle/{pair}" and r.get("error") == "tunnel-idle")
    beside.send("still there")
    assert other.receive(11) == b"still there"
    other.cancel()


# ---- a gateway that goes away, and clients that have tunnels on streams

WITH_STREAMS = [pair for pair in ALL if pair.front > 1 and pair.back == 1]
EVERY_STREAM = {2: (1 << 31) - 1, 3: (1 << 62) - 4}


@pytest.fixture
def own():
    """A gateway that the test may end."""
    site = Site()
    try:
        site.gateway.start()
        yield site
    finally:
        site.gateway.stop()


@contextlib.contextmanager
def going_away(site, drain):
    """Tunnels through a gateway that has been told to end: (pair, both ends) of each."""
    site.gateway.serve({**site.configuration(), "timeouts": {"drain": drain}})
    with contextlib.ExitStack() as stack:
        clients = [(pair, stack.enter_context(site.client(pair))) for pair in WITH_STREAMS]
        tunnels = [(pair, *open_tunnel(client, site.origins[pair.cluster])) for pair, client in clients]
        site.gateway.holder.terminate()
        yield tunnels
        assert site.gateway.holder.wait(timeout=START_SECONDS) == 0


def test_tunnels_on_streams_go_on_after_term(own):
    """Clients are told twice: that all streams that are on their way are taken, and then which was the last one (RFC 9113
    section 6.8; RFC 9114 section 5.2, with the first that is not taken)."""
    with going_away(own, "60s") as tunnels:
        connections = [asked.connection for _, asked, _ in tunnels]
        own.loop.until("both GOAWAYs", lambda: all(len(c.goaways) == 2 for c in connections))
        for pair, asked, served in tunnels:
            assert asked.connection.goaways == [EVERY_STREAM[pair.front], asked.number + (4 if pair.front == 3 else 0)]
            asked.send("still")
            assert served.receive(5) == b"still"
            served.send("there")
            assert asked.receive(5) == b"there"
            asked.cancel()
            assert served.fate() in (CUT, END)
        own.loop.until("the connections end", lambda: all(c.pipe.is_ended for c in connections))


def test_tunnels_on_streams_end_with_the_time_to_drain(own):
    with going_away(own, QUICK) as tunnels:
        for _, asked, served in tunnels:
            assert asked.fate() == CUT
            assert served.fate() in (CUT, END)
