"""Configurations with listeners that relay TCP, and connections through them."""
import contextlib

import pytest

from configuration import cluster, configure


def tcp_listener(gateway, tcp, name="tcp", **more):
    """`tcp` is a cluster's name, or what stands under the key."""
    tcp = {"cluster": tcp} if isinstance(tcp, str) else tcp
    return {"name": name, "address": f"127.0.0.1:{gateway.port_of(name)}", "tcp": tcp, **more}


def relay(gateway, clusters, listeners=None, **settings):
    """A configuration; without `listeners` the listener `tcp` goes to the first cluster."""
    listeners = listeners or [tcp_listener(gateway, clusters[0]["name"])]
    return configure(gateway, clusters, listeners=listeners, **settings)


def relay_to(gateway, *endpoints, tcp=None, listener=None, settings=None, **of_cluster):
    """Serves one listener and one cluster with these endpoints."""
    tcp = {"cluster": "origin", **(tcp or {})}
    gateway.serve(relay(gateway, [cluster("origin", *endpoints, **of_cluster)],
                        [tcp_listener(gateway, tcp, **(listener or {}))], **(settings or {})))


def connect(gateway, name="tcp", **how):
    return gateway.connect(gateway.port_of(name), **how)


@contextlib.contextmanager
def joined(gateway, endpoint, **how):
    """Both ends of one connection through the gateway."""
    with connect(gateway, **how) as client:
        with endpoint.accept() as served:
            yield client, served


def port_of_client(connection):
    return connection.sock.getsockname()[1]


def ended(gateway, **wanted):
    """The next record of a relayed connection with these values."""
    return gateway.wait_log(lambda r: r["protocol"] == "TCP" and all(r.get(k) == v for k, v in wanted.items()))


def expect_reset(gateway, name="tcp", said=b""):
    """A client that gets a reset, perhaps before it knows that it is connected. The kernel tells of a reset once, to
    whatever comes first: connecting, sending or receiving."""
    with pytest.raises(ConnectionResetError):
        with connect(gateway, name) as client:
            client.send(said)
            client.receive_all()
