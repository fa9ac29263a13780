"""Who is slow stops nobody else, and costs a bounded amount of memory."""
from bodies import Flow, bytes_at, carry, fill
from gateway import resident_bytes
from wire import kernels_hold

MIB = 1 << 20
PIECE = 1000
HELD_MAX = 512 << 10  # body bytes of one exchange, both ways (`limits.buffer` is 256 KiB for each)
GROWTH_MAX = 32 << 20  # of the process: sanitizers keep what was freed for a while


def more_than_fits(pair):
    """More than is on the way when nobody takes anything; over HTTP/3 kernels hold nothing of it."""
    tcp = (pair.front, pair.back)
    kernels = kernels_hold() * sum(version < 3 for version in tcp) // 2
    return (kernels // MIB + 8) * MIB


def expect_others_go_on(client, origin, count=20):
    """Other exchanges between the same two sides; over HTTP/2 on the same connections."""
    for number in range(count):
        asked = client.ask("POST", f"/other/{number}", body=bytes_at(number, 20000))
        served = origin.request(f"/other/{number}")
        assert served.rest() == bytes_at(number, 20000)
        served.respond(200, body=bytes_at(number, 30000))
        assert asked.rest() == bytes_at(number, 30000)


def test_a_client_that_stops_reading(site, pair, client, origin):
    large = more_than_fits(pair)
    before = resident_bytes(site.gateway.dataplane_pid())
    asked = client.ask(target="/large")
    served = origin.request()
    served.respond(200, length=large, is_open=True)
    assert asked.answer().status == 200
    fill(served, large)
    assert 0 < site.gateway.metric("buffered_bytes") <= HELD_MAX
    assert resident_bytes(site.gateway.dataplane_pid()) - before < GROWTH_MAX
    expect_others_go_on(client, origin)
    for at in range(0, large, MIB):
        assert asked.receive(MIB) == bytes_at(at, MIB)
    served.end()
    assert asked.rest() == b""


def test_an_origin_that_stops_reading(site, pair, client, origin):
    large = more_than_fits(pair)
    before = resident_bytes(site.gateway.dataplane_pid())
    asked = client.ask("POST", "/large", length=large, is_open=True)
    served = origin.request()
    fill(asked, large)
    assert 0 < site.gateway.metric("buffered_bytes") <= HELD_MAX
    assert resident_bytes(site.gateway.dataplane_pid()) - before < GROWTH_MAX
    expect_others_go_on(client, origin)
    for at in range(0, large, MIB):
        assert served.receive(MIB) == bytes_at(at, MIB)
    asked.end()
    assert served.rest() == b""
    served.respond(200)
    assert asked.answer().status == 200


def test_a_client_that_stops_reading_and_leaves(site, pair, client, origin):
    large = more_than_fits(pair)
    asked = client.ask(target="/large")
    served = origin.request()
    served.respond(200, length=2 * large, is_open=True)
    assert asked.answer().status == 200
    fill(served, large)
    asked.cancel()
    site.gateway.wait_metric("exchanges", lambda count: count == 0)
    site.gateway.wait_metric("buffered_bytes", lambda count: count == 0)
    expect_others_go_on(client, origin, 3)


def test_a_client_that_writes_slowly(client, origin):
    """Every piece passes when it comes, however small, and others pass between them."""
    asked = client.ask("POST", "/slow", length=20 * PIECE, is_open=True)
    served = origin.request()
    for number in range(20):
        asked.send(bytes_at(number * PIECE, PIECE))
        assert served.receive(PIECE) == bytes_at(number * PIECE, PIECE)
        expect_others_go_on(client, origin, 1)
    asked.end()
    assert served.rest() == b""
    served.respond(200, body="done")
    assert asked.rest() == b"done"


def test_an_origin_that_writes_slowly(client, origin):
    asked = client.ask(target="/slow")
    served = origin.request()
    served.respond(200, is_open=True)
    for number in range(20):
        served.send(bytes_at(number * PIECE, PIECE))
        assert asked.receive(PIECE) == bytes_at(number * PIECE, PIECE)
        expect_others_go_on(client, origin, 1)
    served.end()
    assert asked.rest() == b""


def test_a_hundred_exchanges_at_once(site, pair, client, origin):
    """All are open before the first is answered, and the last is answered first."""
    asked = [client.ask("POST", f"/{number}", length=50000, is_open=True) for number in range(100)]
    served = [origin.request(f"/{number}") for number in range(100)]
    assert site.gateway.metric("exchanges") == 100
    if pair.front > 1:
        assert len(client.connections) == 1
    if pair.back > 1:
        assert len(origin.open_connections) < 100
    for number in reversed(range(100)):
        asked[number].send(bytes_at(number, 50000)).end()
    for number in reversed(range(100)):
        assert served[number].rest() == bytes_at(number, 50000)
        served[number].respond(200, body=bytes_at(number, 70000))
    for number in range(100):
        assert asked[number].rest() == bytes_at(number, 70000)


def test_large_bodies_side_by_side(client, origin):
    """Four of them both ways at once share the connections fairly enough that all come to their end."""
    flows = []
    for number in range(4):
        asked = client.ask("POST", f"/{number}", is_open=True)
        served = origin.request(f"/{number}")
        served.respond(200, is_open=True)
        up = Flow(asked, served, 4 << 20)
        flows += [up, Flow(served, asked, 4 << 20, after=up)]
    carry(*flows)
