"""Bodies of all sizes, both ways, with and without a known length."""
import pytest

from bodies import Flow, bytes_at, carry
from pairs import IS_LONG

SIZES = [0, 1, 16383, 16384, 16385, 1 << 20]
LARGE, LARGE_FOR_PYTHON = 100 << 20, 4 << 20


def exchange(client, origin, request, response, is_known=True):
    """A POST with a body of `request` bytes, answered with one of `response` bytes; first one, then the other."""
    asked = client.ask("POST", "/body", length=request if is_known else None, is_open=True)
    served = origin.request()
    assert served.head["content-length"] == (str(request) if is_known else None)
    carry(Flow(asked, served, request))
    served.respond(200, length=response if is_known else None, is_open=True)
    assert asked.answer()["content-length"] == (str(response) if is_known else None)
    carry(Flow(served, asked, response))


@pytest.mark.parametrize("framing", ["known", "unknown"])
def test_bodies_of_every_size(client, origin, framing):
    for size in SIZES:
        exchange(client, origin, size, 0, framing == "known")
        exchange(client, origin, 0, size, framing == "known")
        exchange(client, origin, size, size, framing == "known")


def test_whole_messages(client, origin):
    """Heads and bodies that are sent at once."""
    for size in SIZES:
        asked = client.ask("PUT", "/whole", body=bytes_at(0, size))
        served = origin.request()
        assert served.rest() == bytes_at(0, size)
        served.respond(201, body=bytes_at(7, size))
        assert asked.answer().status == 201 and asked.rest() == bytes_at(7, size)


@pytest.mark.parametrize("length", ["known", "unknown"])
def test_the_response_runs_beside_the_request(client, origin, length):
    """Each side sends what the other has to take before it goes on: neither direction waits for the other."""
    size = 1 << 20
    asked = client.ask("POST", "/both", length=size if length == "known" else None, is_open=True)
    served = origin.request()
    served.respond(200, length=size if length == "known" else None, is_open=True)
    asked.answer()
    for at in range(0, size, 1 << 16):
        asked.send(bytes_at(at, 1 << 16))
        assert served.receive(1 << 16) == bytes_at(at, 1 << 16)
        served.send(bytes_at(at + 1, 1 << 16))
        assert asked.receive(1 << 16) == bytes_at(at + 1, 1 << 16)
    asked.end()
    assert served.rest() == b""
    served.end()
    assert asked.rest() == b""


def test_100_mib_both_ways_at_once(pair, client, origin):
    """Over HTTP/3 that much is for the soak: most of the time would be aioquic's."""
    size = LARGE_FOR_PYTHON if pair.has_http3 and not IS_LONG else LARGE
    asked = client.ask("POST", "/large", length=size, is_open=True)
    served = origin.request()
    served.respond(200, is_open=True)
    asked.answer()
    up = Flow(asked, served, size)
    carry(up, Flow(served, asked, size, after=up))
