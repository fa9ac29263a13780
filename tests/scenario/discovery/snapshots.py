"""Random snapshots of a real management server, and a gateway that follows them while clients ask all the time."""
import contextlib
import json
import random
import ssl

import envoy
from certificates import Authority
from gateway import Gateway, wait_until
from load import Clients
from management import ManagementServer
from origins import Teller
from wire import request

HELD_SECONDS = 30  # an answer that waits longer waits for nothing: it would be sent after a minute
EVENTS_SHOWN, LOG_SHOWN = 60, 8000  # of a snapshot that is not served
NAMES = ["a", "b", "c", "d", "e", "f"]


class Place:
    """What stays from snapshot to snapshot: origins, ports, and the certificate of the listeners."""

    def __init__(self, gateway, origins, pair):
        self.origins = origins
        self.ports = {name: gateway.port_of(name) for name in ("web", "second", "third")}
        self.pair = pair


class Snapshot:
    """Clusters come and go, have other endpoints, and are called something else each time, as are route tables and HTTP
    filters that do not stand in their listener; the listener "web" is always there."""

    def __init__(self, rng, version, place, mode):
        self.place, self.mode = place, mode
        self.clusters = {f"{name}-{version}" if rng.random() < 0.5 else name: rng.sample(place.origins, rng.randint(1, 3))
                         for name in rng.sample(NAMES, rng.randint(1, len(NAMES)))}
        listeners = ["web", *rng.sample(["second", "third"], rng.randint(0, 2))]
        self.tables = {name: self.rules(rng) for name in listeners}
        self.names = {name: rng.choice([f"table-{name}", f"table-{name}-{version}"]) for name in listeners}
        self.filters = {name: rng.choice([None, f"filter-{name}", f"filter-{version}"]) for name in listeners}
        self.values = {"version": version}

    def rules(self, rng):
        clusters = sorted(self.clusters)
        special = [(f"/{n}", rng.choice(clusters)) for n in range(rng.randint(0, 4))]
        return [*special, ("/", rng.choice(clusters))]

    def resources(self):
        secret = "pair" if self.place.pair else None
        found = [envoy.secret(secret, *self.place.pair)] if secret else []
        found += [envoy.extension(name) for name in sorted({n for n in self.filters.values() if n})]
        found.append(envoy.runtime("values", self.values))
        for name, origins in self.clusters.items():
            found += [envoy.cluster(name, self.mode), envoy.assignment(name, [o.endpoint for o in origins])]
        for name, rules in self.tables.items():
            router = envoy.discovered(self.filters[name], self.mode) if self.filters[name] else None
            found += [envoy.routes(self.names[name], rules),
                      envoy.listener(name, self.place.ports[name], self.names[name], self.mode, secret, router)]
        return found

    def is_served(self, ask):
        """Every rule leads to the endpoints of its cluster, to all of them and to no other; what is gone is closed."""
        for name, port in self.place.ports.items():
            if name not in self.tables:
                if ask(port, "/", 1) is not None:
                    return False
                continue
            for prefix, cluster in self.tables[name]:
                wanted = {origin.name for origin in self.clusters[cluster]}
                if ask(port, prefix, 3 * len(wanted)) != wanted:
                    return False
        return True


class Reached:
    """The gateway as its clients reach it: plain or over TLS."""

    def __init__(self, gateway, tls):
        self.gateway, self.tls = gateway, tls

    def connect(self, port=None):
        connection = self.gateway.connect(port)
        if self.tls:
            connection.sock = self.tls.wrap_socket(connection.sock, server_hostname="gateway.test")
        return connection

    def origins(self, port, target, times):
        """Who answers; None when nobody listens."""
        try:
            with self.connect(port) as client:
                return {client.exchange(request("GET", target))["X-Origin"] for _ in range(times)}
        except ConnectionRefusedError:
            return None
        except (OSError, AssertionError):
            return set()


@contextlib.contextmanager
def driven(mode, authority):
    """A management server and a gateway that follows it: (server, gateway, place, reached)."""
    server_tls = {"certificate": authority.folder / "server.pem", "key": authority.folder / "server.key"} if authority else {}
    client_tls = {"common_tls_context": {"validation_context": {"trusted_ca": {"filename": str(authority.pem)}}},
                  "sni": "server.test"} if authority else None
    tls = ssl.create_default_context(cafile=authority.pem) if authority else None
    with contextlib.ExitStack() as stack:
        origins = [stack.enter_context(Teller(name)) for name in ("o1", "o2", "o3", "o4")]
        server = stack.enter_context(ManagementServer(ads=mode == "ads", **server_tls))
        gateway = Gateway(workers=1)
        path = gateway.folder / "bootstrap.json"
        path.write_text(json.dumps(envoy.bootstrap(mode, server.rest_port if mode == "rest" else server.port,
                                                   client_tls)))
        gateway.control_arguments = ["--xds-bootstrap", path]
        stack.callback(gateway.stop)
        pair = (authority.folder / "gateway.pem", authority.folder / "gateway.key") if authority else None
        yield server, gateway.start(), Place(gateway, origins, pair), Reached(gateway, tls)


def make_authority(folder):
    """What `drive` needs for TLS, in a folder that is made."""
    made = Authority(folder)
    for name in ("server", "gateway"):
        made.pair(folder, name, [f"{name}.test"])
    return made


class Outcome:
    """What became of a drive."""

    def __init__(self, clients, server, gateway):
        self.answered, self.refused, self.failures = clients.answered, clients.refused, clients.failures
        self.nacks = server.refusals()
        self.is_ready = gateway.probe(gateway.control_admin_port, "readyz") == 200


def wait_served(snapshot, server, gateway, reached, what):
    """Until it is served as it says; otherwise what both sides know of it."""
    try:
        wait_until(f"{what} is served", lambda: snapshot.is_served(reached.origins))
    except AssertionError as error:
        events = "\n".join(json.dumps(event) for event in server.events[-EVENTS_SHOWN:])
        log = (gateway.folder / "controlplane.log").read_text()[-LOG_SHOWN:]
        raise AssertionError(f"{error}\n{gateway.headgate('status').stdout}\n{events}\n{log}") from None


def drive(mode, authority, count, told=lambda version: None):
    """Goes through `count` snapshots; each must be served as it says, and in the end every response be answered. An authority
    makes it TLS, towards the server and towards clients. `told` learns of each snapshot that is served."""
    rng = random.Random(f"{mode} {authority is not None}")
    with driven(mode, authority) as (server, gateway, place, reached):
        first = Snapshot(rng, 0, place, mode)
        server.serve(0, first.resources())
        wait_served(first, server, gateway, reached, "the first snapshot")
        with Clients(reached, threads=2) as clients:
            for version in range(1, count + 1):
                snapshot = Snapshot(rng, version, place, mode)
                server.serve(version, snapshot.resources())
                wait_served(snapshot, server, gateway, reached, f"snapshot {version}")
                told(version)
            wait_until("all is answered", lambda: not server.unanswered(), HELD_SECONDS)
        return Outcome(clients, server, gateway)
