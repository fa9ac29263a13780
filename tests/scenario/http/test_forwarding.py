"""What the gateway takes out of messages and adds to them: hop-by-hop fields, who the client is, Via, request
ids."""
import re

import pytest

from configuration import cluster, configure, under
from wire import head_of, request, response


def seen_by_origin(client, origin, *fields, target="/", version="HTTP/1.1", **how):
    """The request as the origin gets it."""
    client.send(request("GET", target, *fields, version=version, **how))
    served, _ = origin.accept_request(target)
    got = served.receive_request()
    served.send(response())
    assert client.receive_response().status == 200
    return got


# ---- hop by hop

def test_fields_of_the_connection_end_here(client, origin):
    got = seen_by_origin(client, origin, "Connection: x-one, keep-alive, X-Two", "X-One: 1", "x-two: 2",
                         "X-Three: 3",
                         "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
                         "Proxy-Authorization: Basic YQ==",
                         "TE: gzip", "Upgrade: websocket")
    names = [name.lower() for name, _ in got.fields]
    for gone in ("connection", "x-one", "x-two", "keep-alive", "proxy-connection", "te", "upgrade"):
        assert gone not in names
    assert got["X-Three"] == "3"


def test_connection_cannot_take_away_what_the_gateway_says(client, origin):
    got = seen_by_origin(client, origin,
                         "Connection: host, x-forwarded-for, content-length, via, x-request-id, cookie",
                         "Cookie: a=b")
    assert got["Host"] == "test.example"
    assert got["X-Forwarded-For"] == "127.0.0.1"
    assert got["Via"] and got["X-Request-Id"]
    assert got["Cookie"] is None  # that one is the client's own affair


def test_several_connection_fields_count_together(client, origin):
    got = seen_by_origin(client, origin, "Connection: x-one", "X-One: 1", "Connection: ,, x-two ,",
                         "X-Two: 2")
    assert got["X-One"] is None and got["X-Two"] is None


def test_fields_of_the_origins_connection_end_here(client, origin):
    client.send(request())
    served = origin.accept()
    served.receive_request()
    served.send(response(200, "Connection: x-one", "X-One: 1", "Keep-Alive: timeout=9", "Upgrade: h2c",
                         "Proxy-Authenticate: Basic", "X-Two: 2", "Proxy-Connection: close"))
    answer = client.receive_response()
    for gone in ("X-One", "Keep-Alive", "Upgrade", "Proxy-Connection", "Connection"):
        assert answer[gone] is None
    assert answer["X-Two"] == "2"


def test_trailers_are_offered_when_the_client_takes_them(client, origin):
    got = seen_by_origin(client, origin, "TE: trailers, deflate;q=0.5", "Connection: TE")
    assert got["TE"] in (None, "trailers")


def test_max_forwards(client, origin):
    client.send(request("OPTIONS", "/", "Max-Forwards: 5"))
    served = origin.accept()
    assert served.receive_request()["Max-Forwards"] == "4"
    served.send(response())
    assert client.receive_response().status == 200
    client.send(request("OPTIONS", "/", "Max-Forwards: 0"))
    assert client.receive_response().status in (200, 204)  # it is answered here
    client.send(request("GET", "/", "Max-Forwards: 0"))  # it means nothing for other methods
    served.receive_request()
    served.send(response())
    assert client.receive_response().status == 200


# ---- who the client is

SPOOFED = ["X-Forwarded-For: 192.0.2.1, 192.0.2.2", "X-Forwarded-Proto: https",
           "X-Forwarded-Host: evil.example",
           "X-Real-IP: 192.0.2.3", "Forwarded: for=192.0.2.4"]


def test_nobody_is_believed_by_default(client, origin):
    got = seen_by_origin(client, origin, *SPOOFED, host="Shop.Example:8080")
    assert got["X-Forwarded-For"] == "127.0.0.1"
    assert got["X-Forwarded-Proto"] == "http"
    assert got["X-Forwarded-Host"] == "shop.example:8080"
    assert got["X-Real-IP"] == "127.0.0.1"
    assert got["Forwarded"] is None


CERTIFICATE_FIELDS = ["X-Forwarded-Client-Cert", "Client-Cert", "Client-Cert-Chain"]


@pytest.mark.parametrize("hops", [0, 1])
def test_no_client_can_say_whose_certificate_it_has(gateway, usual, origin, hops):
    """Not over a connection without TLS, not from a trusted proxy, not in the spelling that CGI takes for the same name."""
    gateway.serve({**usual, "trusted-hops": hops})
    names = CERTIFICATE_FIELDS + [name.replace("-", "_") for name in CERTIFICATE_FIELDS] + ["client-CERT"]
    with gateway.connect() as client:
        got = seen_by_origin(client, origin, "Connection: client-cert", *(f"{name}: forged" for name in names))
    assert [name for name, value in got.fields if "cert" in name.lower() or value == "forged"] == []


# hops: (X-Forwarded-For that comes, X-Real-IP that goes)
@pytest.mark.parametrize("hops, came, real", [
    (1, None, "127.0.0.1"), (1, "192.0.2.1", "192.0.2.1"), (1, "192.0.2.1, 192.0.2.2", "192.0.2.2"),
    (2, "192.0.2.1, 192.0.2.2", "192.0.2.1"), (2, "192.0.2.9", "192.0.2.9"),
    (1, "192.0.2.1,, 192.0.2.2 ", "192.0.2.2"),
    (3, "192.0.2.0, 192.0.2.1, 192.0.2.2, 192.0.2.3", "192.0.2.1"), (1, "", "127.0.0.1"),
])
def test_trusted_hops_are_counted_from_the_right(gateway, usual, origin, hops, came, real):
    gateway.serve({**usual, "trusted-hops": hops})
    fields = ["X-Real-IP: 203.0.113.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: public.example"]
    with gateway.connect() as client:
        got = seen_by_origin(client, origin, *fields,
                             *([f"X-Forwarded-For: {came}"] if came is not None else []))
    assert got["X-Real-IP"] == real
    assert got["X-Forwarded-For"].replace(" ", "").split(",")[-1] == "127.0.0.1"
    if came:
        assert got["X-Forwarded-For"].startswith(came.split(",")[0])
    assert (got["X-Forwarded-Proto"], got["X-Forwarded-Host"]) == ("https", "public.example")


def test_repeated_chains_are_one(gateway, usual, origin):
    gateway.serve({**usual, "trusted-hops": 2})
    with gateway.connect() as client:
        got = seen_by_origin(client, origin, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2")
    assert got.fields.all("X-Forwarded-For") == ["192.0.2.1, 192.0.2.2, 127.0.0.1"]
    assert got["X-Real-IP"] == "192.0.2.1"


def test_forwarded(gateway, usual, origin):
    gateway.serve({**usual, "forwarded": {"forwarded": True, "x-forwarded": False, "x-real-ip": False,
                                          "via": False}})
    with gateway.connect() as client:
        got = seen_by_origin(client, origin, *SPOOFED, host="shop.example:8080")
        assert got["Forwarded"] == 'for=127.0.0.1;proto=http;host="shop.example:8080"'
        for gone in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Via"):
            assert got[gone] is None


# ---- Via and request ids

def test_via_is_added_at_the_end(gateway, usual, origin):
    gateway.serve({**usual, "server-name": "edge-7"})
    with gateway.connect() as client:
        assert seen_by_origin(client, origin)["Via"] == "1.1 edge-7"
        assert seen_by_origin(client, origin, "Via: 1.0 first", target="/2").fields.all("Via") in (
            ["1.0 first", "1.1 edge-7"], ["1.0 first, 1.1 edge-7"])
        client.send(request())
        served, _ = origin.accept_request("/")
        served.receive_request()
        served.send(response(200, "Via: 1.1 inner"))
        assert client.receive_response().fields.all("Via") in (["1.1 inner", "1.1 edge-7"],
                                                               ["1.1 inner, 1.1 edge-7"])
    with gateway.connect() as old:
        assert seen_by_origin(old, origin, version="HTTP/1.0", target="/3")["Via"] == "1.0 edge-7"


def test_every_request_has_an_id_of_its_own(client, origin):
    ids = [seen_by_origin(client, origin, target=f"/{number}")["X-Request-Id"] for number in range(10)]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert len(set(ids)) == 10


def test_an_id_is_taken_from_a_trusted_proxy_only(gateway, usual, origin):
    with gateway.connect() as client:
        gateway.serve(usual)
        assert seen_by_origin(client, origin, "X-Request-Id: spoofed")["X-Request-Id"] != "spoofed"
        gateway.serve({**usual, "trusted-hops": 1})
        assert seen_by_origin(client, origin, "X-Request-Id: from-the-edge",
                              target="/2")["X-Request-Id"] == "from-the-edge"
        for number, bad in enumerate(["a b", "a\tb", "x" * 200, "\xe9", ""]):
            got = seen_by_origin(client, origin, f"X-Request-Id: {bad}", target=f"/bad{number}")
            assert re.fullmatch("[0-9a-f]{32}", got["X-Request-Id"])
        gateway.serve({**usual, "trusted-hops": 1, "request-id-header": "X-Trace"})
        got = seen_by_origin(client, origin, "X-Trace: mine", "X-Request-Id: other", target="/3")
        assert (got["X-Trace"], got["X-Request-Id"]) == ("mine", "other")


# ---- the Host that the origin sees

def test_host_for_the_origin(gateway, scripted, origin):
    named = {"address": scripted.endpoint, "hostname": "inner.example"}
    gateway.serve(configure(gateway, [cluster("plain", scripted), cluster("named", named)], [
        under("/fixed", "plain", rewrite={"host": "fixed.example"}),
        under("/named", "named", rewrite={"host-from-endpoint": True}),
        under("/address", "plain", rewrite={"host-from-endpoint": True}),
    ]))
    with gateway.connect() as client:
        for target, host in (("/fixed", "fixed.example"), ("/named", "inner.example"),
                             ("/address", scripted.endpoint),
                             ("/", "test.example")):
            got = seen_by_origin(client, origin, target=target)
            assert got.fields.all("Host") == [host]
            assert got["X-Forwarded-Host"] == "test.example"


def test_a_request_without_a_host_has_none_made_up(client, origin):
    client.send(head_of("GET / HTTP/1.0"))
    served = origin.accept()
    got = served.receive_request()
    assert got["X-Forwarded-Host"] is None
    served.send(response())
    assert client.receive_response().status == 200
