"""Resources that are parts of others, from a real management server: virtual hosts by themselves (VHDS), scopes (SRDS)."""
import contextlib
import json

import pytest

import envoy
from gateway import Gateway, wait_until
from load import Clients
from management import ManagementServer
from origins import Teller
from wire import request

HELD_SECONDS = 30  # an answer that waits longer waits for nothing: it would be sent after a minute


@contextlib.contextmanager
def site(mode):
    """(management server, gateway, two origins), all running."""
    with contextlib.ExitStack() as stack:
        origins = [stack.enter_context(Teller(name)) for name in ("o1", "o2")]
        server = stack.enter_context(ManagementServer(ads=mode == "ads"))
        gateway = Gateway(workers=1)
        path = gateway.folder / "bootstrap.json"
        path.write_text(json.dumps(envoy.bootstrap(mode, server.port)))
        gateway.control_arguments = ["--xds-bootstrap", path]
        stack.callback(gateway.stop)
        yield server, gateway.start(), origins


def clusters(mode, origins):
    for name, origin in zip(("one", "two"), origins):
        yield envoy.cluster(name, mode)
        yield envoy.assignment(name, [origin.endpoint])


def answers(gateway, port, *hosts, fields=()):
    """Who answers each of the hosts, or the status; None: nobody listens."""
    try:
        with gateway.connect(port) as client:
            found = [client.exchange(request("GET", "/", *fields, host=host)) for host in hosts]
    except ConnectionRefusedError:
        return None
    return [response["X-Origin"] or response.status for response in found]


# ---- virtual hosts by themselves

def by_hosts(name, mode):
    return {"@type": f"{envoy.TYPE}envoy.config.route.v3.RouteConfiguration", "name": name,
            "vhds": {"config_source": envoy.source(mode)}}


def virtual_host(table, host, cluster, domains=None):
    return {"@type": f"{envoy.TYPE}envoy.config.route.v3.VirtualHost", "name": f"{table}/{host}", "domains": domains or [host],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}


@pytest.mark.parametrize("mode", ["delta", "delta-ads"])
def test_virtual_hosts(mode):
    with site(mode) as (server, gateway, origins):
        port = gateway.port_of("web")

        def serve(version, table, *hosts):
            server.serve(version, [*clusters(mode, origins), envoy.listener("web", port, table, mode), by_hosts(table, mode),
                                   virtual_host("another", "c.example", "one"), *hosts])

        serve(1, "r", virtual_host("r", "a.example", "one"), virtual_host("r", "b.example", "two"))
        wait_until("both are served", lambda: answers(gateway, port, "a.example", "b.example") == ["o1", "o2"])
        assert answers(gateway, port, "c.example") == [404]
        serve(2, "r", virtual_host("r", "a.example", "two"))
        wait_until("one has changed, one is gone", lambda: answers(gateway, port, "a.example", "b.example") == ["o2", 404])

        def serve_another(version):  # a table of another name each time, as upstream's driver has it
            table, to = f"r{version}", version % 2
            serve(version, table, virtual_host(table, f"127.0.0.1:{port}", ("one", "two")[to], ["*"]))
            wait_until("the new table is served", lambda: answers(gateway, port, "any") == [origins[to].name])

        serve_another(3)
        with Clients(gateway, threads=2) as clients:
            for version in range(4, 9):
                serve_another(version)
            wait_until("all is answered", lambda: not server.unanswered(), HELD_SECONDS)
        assert clients.answered and clients.failures == []
        assert server.refusals() == []


def test_one_bad_virtual_host():
    """It is refused by its name; the others are served, and so is the one before it."""
    with site("delta") as (server, gateway, origins):
        port = gateway.port_of("web")
        rest = [*clusters("delta", origins), envoy.listener("web", port, "r", "delta"), by_hosts("r", "delta")]
        server.serve(1, [*rest, virtual_host("r", "a.example", "one"), virtual_host("r", "b.example", "one")])
        wait_until("both are served", lambda: answers(gateway, port, "a.example", "b.example") == ["o1", "o1"])
        bad = {**virtual_host("r", "a.example", "two"), "matcher": {}}
        server.serve(2, [*rest, bad, virtual_host("r", "b.example", "two")])
        wait_until("the other has changed", lambda: answers(gateway, port, "b.example") == ["o2"])
        assert answers(gateway, port, "a.example") == ["o1"]
        wait_until("it is refused", server.refusals)
        assert "r/a.example: matcher: is not supported" in server.refusals()[0]["error"]
        # two hosts with one domain are good by themselves alone
        server.serve(3, [*rest, virtual_host("r", "a.example", "two"),
                         virtual_host("r", "b.example", "one", ["a.example"])])
        wait_until("the second is refused", lambda: any("r/b.example: virtual_hosts[1]" in r["error"] for r in server.refusals()))
        assert answers(gateway, port, "a.example", "b.example") == ["o2", "o2"]


# ---- scopes

def scoped_listener(port, mode, key):
    listener = envoy.listener("web", port, "unused", mode)
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["rds"]
    manager["scoped_routes"] = {"name": "any", "rds_config_source": envoy.source(mode),
                                "scope_key_builder": {"fragments": [{"header_value_extractor": part} for part in key]},
                                "scoped_rds": {"scoped_rds_config_source": envoy.source(mode)}}
    return listener


def scope(name, table, *key):
    return {"@type": f"{envoy.TYPE}envoy.config.route.v3.ScopedRouteConfiguration", "name": name,
            "route_configuration_name": table, "key": {"fragments": [{"string_key": text} for text in key]}}


def rds_table(name, cluster):
    return envoy.routes(name, [("/", cluster)])


@pytest.mark.parametrize("mode", ["ads", "xds", "delta", "delta-ads"])
def test_scopes_by_host(mode):
    """As upstream's driver has it: the key is Host, and tables have other names each time."""
    with site(mode) as (server, gateway, origins):
        port = gateway.port_of("web")
        listener = scoped_listener(port, mode, [{"name": "Host", "index": 0}])
        here = f"127.0.0.1:{port}"

        def serve(version, to, *more):
            server.serve(version, [*clusters(mode, origins), listener, scope("s", f"r{version}", here), rds_table(f"r{version}", to),
                                   *more])
            wait_until("it is served", lambda: answers(gateway, port, here) == [origins[to == "two"].name])

        serve(1, "one")
        assert answers(gateway, port, "another.example") == [404]
        with Clients(Here(gateway, here), threads=2, check=lambda answer: answer.status == 200) as clients:
            for version in range(2, 7):
                serve(version, ("one", "two")[version % 2])
            serve(7, "one", scope("t", "t", "another.example"), rds_table("t", "two"))
            wait_until("the other scope is there", lambda: answers(gateway, port, "another.example") == ["o2"])
            serve(8, "one")
            wait_until("it is gone", lambda: answers(gateway, port, "another.example") == [404])
            wait_until("all is answered", lambda: not server.unanswered(), HELD_SECONDS)
        assert clients.answered and clients.failures == []
        assert server.refusals() == []


class Here:
    """The gateway to clients that say its own host."""

    def __init__(self, gateway, host):
        self.gateway, self.host = gateway, host

    def connect(self):
        connection = self.gateway.connect()
        exchange = connection.exchange
        connection.exchange = lambda _request: exchange(request("GET", "/", host=self.host))
        return connection


def test_elements_and_bad_scopes():
    key = [{"name": "x-route", "element_separator": ",", "element": {"separator": "=", "key": "vip"}}]
    with site("delta") as (server, gateway, origins):
        port = gateway.port_of("web")
        rest = [*clusters("delta", origins), scoped_listener(port, "delta", key), rds_table("r1", "one"), rds_table("r2", "two")]
        server.serve(1, [*rest, scope("a", "r1", "10.0.0.1"), scope("b", "r2", "10.0.0.2")])
        ask = lambda value: answers(gateway, port, "any", fields=(f"X-Route: {value}",))
        wait_until("it is served", lambda: ask("vip=10.0.0.1") == ["o1"])
        assert ask("a=b,vip=10.0.0.2,vip=10.0.0.1") == ["o2"]
        assert ask("vip=10.0.0.3") == [404] and ask("10.0.0.1") == [404]
        assert answers(gateway, port, "any") == [404]
        # one without a key is refused by itself, one whose key another has beside that
        server.serve(2, [*rest, scope("a", "r2", "10.0.0.1"), scope("b", "r2"), scope("c", "r1", "10.0.0.1"),
                         scope("d", "r1", "10.0.0.4")])
        wait_until("the good ones have changed", lambda: (ask("vip=10.0.0.1"), ask("vip=10.0.0.4")) == (["o2"], ["o1"]))
        assert ask("vip=10.0.0.2") == ["o2"]
        wait_until("both are refused", lambda: len(server.refusals()) >= 2 or any(
            "b: key" in r["error"] and "c: scopes" in r["error"] for r in server.refusals()))
        said = " ".join(r["error"] for r in server.refusals())
        assert "b: key.fragments: are missing" in said and "c: scopes[2]: another scope has this key" in said
