"""Fixtures of the scenarios about servers that say what is served."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / name) for name in ("http", "control", "clusters")]

from kubernetes_server import KubernetesServer  # noqa: E402  (found by the line above)
from xds_server import ManagementServer, Messages  # noqa: E402  (found by the line above)
from xds_site import XdsSite  # noqa: E402


@pytest.fixture(scope="session")
def kubernetes():
    """An API server of Kubernetes' own libraries; `reset` it."""
    server = KubernetesServer()
    yield server
    server.finish()


@pytest.fixture(scope="session")
def messages(tmp_path_factory):
    """Envoy's messages for Python, made of the project's .proto files."""
    return Messages(tmp_path_factory.mktemp("messages"))


@pytest.fixture
def servers(messages):
    """Makes management servers; they are stopped with the test."""
    made = []

    def serve(*arguments, kind=ManagementServer, **options):
        made.append(kind(messages, *arguments, **options))
        return made[-1]

    yield serve
    for server in made:
        server.stop()


@pytest.fixture
def gateway(servers):       # stopped before the servers
    """A control plane that asks management servers, and a data plane; neither is started."""
    site = XdsSite()
    yield site
    site.finish()
