"""Fixtures of the scenarios over HTTP: one gateway for all of them, and the configuration that most of them
use."""
import socket
import tempfile

import pytest

from configuration import QUICK, cluster, configure, listener, under
from gateway import Gateway
from origins import Nginx, Teller
from wire import Origin


@pytest.fixture(scope="session")
def gateway():
    gateway = Gateway()
    try:
        gateway.start().serve(configure(gateway, [], [{"respond": {"status": 404}}]))
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture(scope="session")
def scripted():
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="session")
def usual(gateway, scripted):
    """The configuration of most tests. Its listener `quick` and routes below /quick/ have short deadlines,
    below /small/ a body has at most 1000 bytes."""
    quick_port = gateway.port_of("quick")
    short = dict.fromkeys(("response-head", "body", "response-body"), QUICK)
    rules = [
        under("/respond", {"respond": {"status": 200, "body": "here\n"}}),
        under("/large-answer", {"respond": {"status": 200, "body": "x" * 20000}}),
        under("/small", "origin", limits={"body": 1000}),
        under("/quick", "origin", timeouts=short),
        under("/request-timeout", "origin", timeouts={"request": QUICK}),
        under("/none", "empty"),
    ]
    quick = listener(gateway, name="quick", address=f"127.0.0.1:{quick_port}",
                     timeouts={"header": QUICK, "idle": QUICK, "write": QUICK})
    return configure(gateway, [cluster("origin", scripted), cluster("empty")], rules,
                     listeners=[listener(gateway), quick], limits={"header-bytes": "16KiB", "headers": 40,
                                                                   "uri-bytes": "2KiB"})


@pytest.fixture
def origin(gateway, scripted, usual):
    """The scripted origin behind the usual configuration. Afterwards the gateway has no connection to it any
    more."""
    gateway.serve(usual)
    yield scripted
    scripted.drop_connections()
    gateway.wait_metric("origin_connections", lambda count: count == 0)


@pytest.fixture
def client(gateway, origin):
    """A client of the gateway with the scripted origin behind it."""
    with gateway.connect() as connection:
        yield connection


@pytest.fixture
def refused():
    """An endpoint that nobody listens on, and that nobody else can take."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture(scope="session")
def nginx():
    with tempfile.TemporaryDirectory(prefix="headgate-nginx-") as folder, Nginx(folder) as origin:
        yield origin


@pytest.fixture
def teller():
    with Teller("a") as origin:
        yield origin
