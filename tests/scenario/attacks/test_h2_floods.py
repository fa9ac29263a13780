"""Floods over HTTP/2: more than any honest client sends. The connection ends with the right code, the right counter rises,
the origin sees few requests, memory stays bounded, and others are served."""
import pytest

import floods
import frames
import literal_hpack as hpack
from attacked import RESET_BURST, RESETS_PER_SECOND, STREAMS
from floods import get, post
from watching import MIB, Watch

LISTENERS = ["web", "secure"]
ROUNDS = 2000
GROWTH = 24 * MIB   # sanitizers' memory included; the soak has the figures of a release
BLOCK_OCTETS = {"large CONTINUATION": 2 * 65536 + 16384}   # twice `header-bytes`: a large block may come in large frames


def expect_end(attacker, codes):
    """The connection is over with one of the codes; only a reset by TCP may take the last frame along."""
    attacker.wait_end()
    assert attacker.code in codes or attacker.code is None and attacker.was_reset, attacker


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("name", floods.ALL)
def test_flood(site, listener, name):
    attack = floods.ALL[name]
    with Watch(site, GROWTH) as watch, site.attack(listener, attack.settings) as attacker:
        attack.run(attacker, ROUNDS)
        expect_end(attacker, attack.codes)
        most = RESET_BURST + RESETS_PER_SECOND * watch.seconds + 2 * STREAMS
    assert watch.risen().keys() & set(attack.reasons), f"counted are {watch.risen()}"
    assert len(site.origin.requests) <= most, "requests at the origin"
    assert site.origin.most_open <= 2 * STREAMS, "requests at one time at the origin"


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("name", floods.BLOCKS)
def test_an_endless_block_is_cut_off_early(site, listener, name):
    """Within 64 KiB of small frames, and nothing more has to be sent for that."""
    attack = floods.BLOCKS[name]
    with Watch(site, GROWTH), site.attack(listener, attack.settings) as attacker:
        batches = attack.octets()
        octets, most = b"", BLOCK_OCTETS.get(name, 65536)
        while len(octets) < most:
            octets += next(batches)
        attacker.send(octets[:most])
        expect_end(attacker, attack.codes)
    assert not site.origin.requests


# ---- HPACK bombs

ENTRY = hpack.literal("x-bomb", "y" * 4000, "indexing")
USE = hpack.indexed(hpack.FIRST_DYNAMIC)
SMALL_ENTRY, SMALL_USES = hpack.literal("x", "", "indexing"), 80
HELD_MOST = 1 << 20       # `header-bytes-held`, of all streams of a connection
BOMB_GROWTH = 12 * MIB   # that, and of 128 streams 20 KiB of a response wait


def bomb(stream, uses, first=b""):
    return frames.headers(stream, hpack.block(floods.fields("/filled")) + first + USE * uses)


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_bomb_of_one_entry(site, listener):
    """CVE-2016-1544: twelve kilobytes of references are 48 megabytes of fields."""
    with Watch(site, GROWTH) as watch, site.attack(listener) as attacker:
        attacker.send(bomb(1, 12000, ENTRY))
        expect_end(attacker, floods.CALM)
    assert "header-block-too-long" in watch.risen(), f"counted are {watch.risen()}"
    assert not site.origin.requests


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("entry, uses, of_one", [(ENTRY, 15, 15 * 4038), (SMALL_ENTRY, SMALL_USES, SMALL_USES * 33)],
                         ids=["large", "many"])
def test_a_bomb_on_many_streams_that_windows_hold(site, listener, entry, uses, of_one):
    """CVE-2026-49975: each stream is within the limits and costs a few octets, and a window of 0 keeps it. Together they
    hold no more than one connection may: the others are told 431."""
    held = frames.settings((frames.INITIAL_WINDOW_SIZE, 0))
    streams, refused = range(1, 2 * STREAMS, 2), site.gateway.metric("h2_heads_refused_total")
    with Watch(site, GROWTH) as watch, site.attack(listener, held) as attacker:
        attacker.send(bomb(1, uses, entry))
        for stream in streams[1:]:
            attacker.send(bomb(stream, uses))
        attacker.wait(lambda: len(attacker.statuses) == len(streams) or attacker.is_over)
        served = list(attacker.statuses.values()).count(200)
        assert served == len(streams) or served in range(HELD_MOST // of_one - 1, HELD_MOST // of_one + 1), attacker
        assert list(attacker.statuses.values()).count(431) == len(streams) - served, attacker
        assert site.gateway.metric("h2_heads_refused_total") == refused + len(streams) - served
        assert (served < len(streams)) == (of_one * len(streams) > HELD_MOST), attacker
        watch.expect_answers()
        watch.expect_growth(BOMB_GROWTH)
        attacker.send(b"".join(map(frames.rst_stream, streams)))
