"""Client status (CSDS) on control.sock, as tools like grpcdebug ask it. What is told of resources is in the unit test test_csds."""
import grpc
import pytest

from planes import PATIENCE

SERVICE = "/envoy.service.status.v3.ClientStatusDiscoveryService/"
WITH_NODE_MATCHER = b"\x0a\x00"         # ClientStatusRequest{node_matchers: {}}


@pytest.fixture
def channel(site):
    with grpc.insecure_channel(f"unix:{site.runtime}/control.sock") as channel:
        yield channel


def fetch(channel, request):
    return channel.unary_unary(SERVICE + "FetchClientStatus")(request, timeout=PATIENCE)


def test_without_management_servers_there_is_nothing_to_tell(channel):
    assert fetch(channel, b"") == b""


def test_each_request_of_a_stream_is_answered(channel):
    ask = channel.stream_stream(SERVICE + "StreamClientStatus")
    assert list(ask(iter([b""]), timeout=PATIENCE)) == [b""]
    assert list(ask(iter([]), timeout=PATIENCE)) == []


def test_nodes_cannot_be_chosen(channel):
    with pytest.raises(grpc.RpcError) as refused:
        fetch(channel, WITH_NODE_MATCHER)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "node_matchers" in refused.value.details()
