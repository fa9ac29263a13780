"""The gateway between clients and an origin of HTTP/2 that breaks the rules: the client gets a 502, or an end that tells
that content is missing; the origin is told the right code; and the next request is served."""
import pytest
from cases_origin import all_origin_cases
from configuration import cluster, configure
from gateway import Gateway, resident_bytes
from wire import request

from hostile import CUT, HostileOrigin

CASES = all_origin_cases()
SHORT_MEMORY = ":quarantine_size_mb=4:thread_local_quarantine_size_kb=64"
GROWTH = 48 << 20    # a sanitizer's memory included, over all cases that were played so far


@pytest.fixture(scope="module", name="origin")
def hostile_origin():
    origin = HostileOrigin()
    yield origin
    origin.close()


@pytest.fixture(scope="module", name="hostile_gateway")
def gateway_before_it(origin):
    """One worker: what an origin does to it, it does to all."""
    gateway = Gateway(workers=1)
    gateway.environment["ASAN_OPTIONS"] = gateway.environment.get("ASAN_OPTIONS", "") + SHORT_MEMORY
    try:
        gateway.start().serve(configure(gateway, [cluster("origin", origin, protocol="http2")]))
        assert gateway.get("/good").status == 200
        gateway.begun = gateway.dataplane_pid(), resident_bytes(gateway.dataplane_pid())
        yield gateway
    finally:
        gateway.stop()


def is_complete(message, rest, method):
    if message.is_chunked:
        return rest.endswith(b"0\r\n\r\n")
    return method == "HEAD" or len(rest) == int(message["Content-Length"] or 0)


def ask(gateway, case):
    """The status that the client gets, or CUT."""
    with gateway.connect(receive_buffer=None if case.reads else 4096) as client:
        client.send(request(case.method, "/bad", "Connection: close"))
        if not client.buffer and not client.more_or_reset():
            return CUT  # the head was there, and had not been sent when the fault was found
        message = client.receive_head()
        while 100 <= message.status < 200:
            message = client.receive_head()
        if not case.reads:
            assert gateway_tells(gateway, case), "the origin's flood went on"
        rest = client.receive_all_or_reset()
        return message.status if is_complete(message, rest, case.method) else CUT


def gateway_tells(gateway, case):
    return gateway.origin.wait_told(lambda told: has_told(told, case))


def has_told(told, case):
    codes = set(case.codes)
    return bool(codes & told.goaways and case.is_fatal is not False or codes & told.resets and case.is_fatal is not True)


@pytest.mark.parametrize("name", CASES)
def test_hostile_origin(hostile_gateway, origin, name):
    case, gateway = CASES[name], hostile_gateway
    gateway.origin = origin
    origin.drop()
    gateway.wait_metric("origin_connections", lambda count: count == 0)
    origin.play(case)
    outcome = ask(gateway, case)
    assert outcome in case.outcome, f"the client got {outcome}; the origin was told {origin.told}"
    if case.codes:
        assert gateway_tells(gateway, case), f"the origin was told {origin.told}"
    if case.is_fatal:
        assert origin.wait_told(lambda told: told.open == 0), f"the connection is kept: {origin.told}"
    origin.be_good()
    assert gateway.get("/good").status == 200
    pid, memory = gateway.begun
    assert gateway.dataplane_pid() == pid, "the data plane has been started anew"
    growth = resident_bytes(pid) - memory
    assert growth <= GROWTH, f"{growth >> 20} MiB more than before"
