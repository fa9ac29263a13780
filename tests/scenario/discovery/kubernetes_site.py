"""A gateway beside an API server, real or a double."""
import contextlib

from gateway import Gateway
from kubernetes_api import ApiServer

TOKEN = "a-token"


@contextlib.contextmanager
def gateway_of(api, ca=None, zone=None):
    """A gateway that is told of an API server; its data plane is in `zone`."""
    gateway = Gateway()
    gateway.holder_arguments = ["--zone", zone] if zone else []
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
def double(pair=None, ca=None, **options):
    with ApiServer(TOKEN, pair) as api, gateway_of(api, ca, **options) as gateway:
        yield api, gateway


@contextlib.contextmanager
def chosen(request, **options):
    """An API server, "double" or "real" as the fixture's parameter says, and a gateway."""
    if request.param == "double":
        with double(**options) as both:
            yield both
        return
    api = request.getfixturevalue("kubernetes")
    api.reset(TOKEN)
    with gateway_of(api, api.ca, **options) as gateway:
        yield api, gateway
