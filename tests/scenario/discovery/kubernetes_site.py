"""A gateway beside an API server, real or a double."""
import contextlib

from gateway import Gateway
from kubernetes_api import ApiServer

TOKEN = "a-token"


@contextlib.contextmanager
def gateway_of(api, ca=None):
    """A gateway that is told of an API server."""
    gateway = Gateway()
    (gateway.folder / "token").write_text(TOKEN)
    gateway.control_arguments = ["--kubernetes-server", api.url, "--kubernetes-token-file", gateway.folder / "token"]
    if ca:
        gateway.control_arguments += ["--kubernetes-ca", ca]
    try:
        yield gateway.start()
    finally:
        api.gate.set()
        gateway.stop()


@contextlib.contextmanager
def double(pair=None, ca=None):
    with ApiServer(TOKEN, pair) as api, gateway_of(api, ca) as gateway:
        yield api, gateway
