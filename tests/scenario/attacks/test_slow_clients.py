"""Clients of HTTP/2 that are slow on purpose: windows that stay shut or open by crumbs, heads and bodies that never end,
and answers that nobody reads. Each meets its deadline, is counted, and others are served meanwhile."""
import contextlib
import select

import pytest

import floods
import frames
import literal_hpack as hpack
from frames import END_STREAM, continuation, data, headers, window_update
from test_h2_floods import GROWTH
from watching import MIB, Watch
from wire import Connection, head_of

LISTENERS = ["quick", "quick-secure"]
OF_HEADS = ["brief", "brief-secure"]
STALLED, EACH = 1000, 125
OF_EACH = range(1, 2 * EACH, 2)
SHUT = frames.settings((frames.INITIAL_WINDOW_SIZE, 0))
BUFFER, HELD_HEAD = 256 << 10, 64 << 10   # `limits.buffer`, `header-bytes`
UNTAKEN = 144 << 10   # of a response of which nothing was taken: 64 KiB, and what one read brought with its head
FILLED = 20000        # of an answer of /filled
# For each stream that waits: its answer in blocks of 16 KiB, and its exchange, a head and what the library holds, which are less
# than 16 KiB even where a sanitizer is around each piece. A release takes 30 KB for all of it, one with sanitizers 48.
OF_STREAM = (32 + 16 + 16) << 10


def rise(site, name):
    """A function that waits until the counter has risen by n since now."""
    before = site.gateway.metric(name)
    return lambda n: site.gateway.wait_metric(name, lambda count: count >= before + n)


@contextlib.contextmanager
def stalled(site, listener):
    """The attackers, whose windows stay shut for answers to a thousand requests."""
    requests = b"".join(floods.get(stream, path="/filled") for stream in OF_EACH)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(site.attack(listener, SHUT)).send(requests) for _ in range(STALLED // EACH)]


@pytest.mark.parametrize("listener", ["web", "secure"])
def test_a_thousand_streams_hold_their_answers_alone(site, listener):
    """CVE-2019-9517."""
    with Watch(site, STALLED * OF_STREAM) as watch, stalled(site, listener) as attackers:
        for attacker in attackers:
            attacker.wait(lambda at=attacker: len(at.statuses) == EACH)
            assert set(attacker.statuses.values()) == {200} and not attacker.resets, attacker
        watch.expect_answers()
        watch.expect_growth(STALLED * OF_STREAM)
        assert site.gateway.metric("buffered_bytes") <= STALLED * FILLED + 4 * BUFFER  # and what the two others have


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_thousand_streams_whose_windows_stay_shut(site, listener):
    """CVE-2019-9517. Every stream ends at its write deadline."""
    rose = rise(site, "client_write_timeouts_total")
    with Watch(site, STALLED * OF_STREAM) as watch, stalled(site, listener) as attackers:
        for attacker in attackers:
            attacker.wait_streams(OF_EACH)
            assert set(attacker.resets.values()) == {frames.CANCEL} and len(attacker.resets) == EACH, attacker
        watch.expect_answers()
        rose(STALLED)


@pytest.mark.parametrize("listener", LISTENERS)
def test_large_answers_behind_windows_that_stay_shut(site, listener):
    """What the origin sends waits at the origin: a response that nobody takes has a part of its buffer only."""
    with Watch(site, EACH * (BUFFER + HELD_HEAD)) as watch, site.attack(listener, SHUT) as attacker:
        attacker.send(b"".join(floods.get(stream, path="/large") for stream in OF_EACH))
        attacker.wait(lambda: len(attacker.statuses) == EACH)
        assert site.gateway.metric("buffered_bytes") <= EACH * UNTAKEN
        attacker.wait_streams(OF_EACH)
        assert set(attacker.resets.values()) == {frames.CANCEL}
        watch.expect_answers()


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_window_that_opens_by_crumbs(site, listener):
    """CVE-2019-9511: an octet at a time. It ends as a flood of window updates, or for its rate."""
    rose = rise(site, "client_write_timeouts_total")
    with Watch(site, GROWTH) as watch, site.attack(listener, SHUT) as attacker:
        attacker.send(floods.get(1, path="/large"))
        while not attacker.is_over and not attacker.resets:
            attacker.send(window_update(1, 1) * 20)
            attacker.read(0.001)
        assert attacker.code in (None, frames.ENHANCE_YOUR_CALM) and attacker.amounts.get(1, 0) < MIB
        watch.expect_answers()
    if not watch.risen().get("window-update-flood"):
        rose(1)


@pytest.mark.parametrize("listener", OF_HEADS)
@pytest.mark.parametrize("octets", [
    frames.PREFACE[:10],
    headers(1, hpack.block(floods.fields()), END_STREAM),
    headers(1, hpack.block(floods.fields()), END_STREAM) + continuation(1, hpack.literal("a", "b"), 0),
    headers(1, hpack.block(floods.fields()), END_STREAM)[:20],
], ids=["preface", "HEADERS", "CONTINUATION", "half a frame"])
def test_a_head_that_never_ends(site, listener, octets):
    with Watch(site, GROWTH):
        if octets.startswith(frames.PREFACE[:3]):
            sock = site.connect(listener)
            sock.sendall(octets)
            Connection(sock).receive_all_or_reset()
            sock.close()
        else:
            with site.attack(listener) as attacker:
                attacker.send(octets).wait_end()
    assert not site.origin.requests


@pytest.mark.parametrize("listener", OF_HEADS)
def test_a_head_that_drips(site, listener):
    """The deadline is for the whole section: octets do not move it."""
    rose = rise(site, "client_header_timeouts_total")
    field = headers(1, hpack.block(floods.fields()) + hpack.literal("x", "y" * 10000), END_STREAM)
    with Watch(site, GROWTH), site.attack(listener) as attacker:
        attacker.send(field[:-10001])
        for at in range(len(field) - 10001, len(field) - 1):
            attacker.send(field[at:at + 1]).read(0.002)
            if attacker.is_over:
                break
        assert attacker.wait_end().is_closed
    rose(1)


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("drips", [False, True], ids=["nothing", "drips"])
def test_a_body_that_never_ends(site, listener, drips):
    rose = rise(site, "client_body_timeouts_total")
    with Watch(site, GROWTH), site.attack(listener) as attacker:
        attacker.send(floods.post(1, ("content-length", "100000"), path="/quick/held"))
        while drips and not attacker.statuses and not attacker.is_over:
            attacker.send(data(1, b"x")).read(0.03)
        attacker.wait_streams([1])
        assert attacker.statuses.get(1) == 408 or 1 in attacker.resets, attacker
    rose(1)
    assert not site.origin.requests, "a request that was not complete"


@pytest.mark.parametrize("listener", LISTENERS)
def test_answers_that_nobody_reads(site, listener):
    """The windows are open and the socket is full: the connection is cut."""
    rose = rise(site, "client_write_timeouts_total")
    wide = frames.settings((frames.INITIAL_WINDOW_SIZE, frames.LARGEST_WINDOW))
    with Watch(site, EACH * BUFFER), site.attack(listener, wide, receive_buffer=4096) as attacker:
        attacker.send(window_update(0, frames.LARGEST_WINDOW - frames.WINDOW))
        for stream in range(1, 41, 2):
            attacker.send(floods.get(stream, path="/large"))
        rose(1)
        attacker.wait_end()


# ---- HTTP/1.1 over TLS; without it: tests/scenario/http/test_limits.py

HALF_POST = head_of("POST /quick/held HTTP/1.1", "Host: a", "Content-Length: 9") + b"x"


@pytest.mark.parametrize("listener, octets", [("brief-secure", b"GET / HTTP/1.1\r\nHost: a\r\nX: "), ("quick-secure", HALF_POST)],
                         ids=["head", "body"])
def test_slow_requests_of_http1_over_tls(site, listener, octets):
    with Watch(site, GROWTH), Connection(site.connect(listener, protocol="http/1.1")) as client:
        client.send(octets)
        assert client.receive_response().status == 408
        client.expect_closed()


def test_a_slow_reader_of_http1_over_tls(site):
    rose = rise(site, "client_write_timeouts_total")
    with Watch(site, GROWTH), Connection(site.connect("quick-secure", protocol="http/1.1", receive_buffer=4096)) as client:
        client.send(head_of("GET /large HTTP/1.1", "Host: a") * 20)
        rose(1)
        select.select([client.sock], [], [], 1)
        assert len(client.receive_all_or_reset()) < 20 * MIB
