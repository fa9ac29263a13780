"""What rules change of the fields of requests and responses."""
import json

import pytest

from configuration import cluster, configure, under
from wire import request, response

CHANGES = [
    {"name": "x-set", "value": "new %REQ(x-user?x-none)%"},
    {"name": "x-append", "value": "%REQ(:method)% %REQ(:path)%", "action": "append"},
    {"name": "x-absent", "value": "never", "action": "add-if-absent"},
    {"name": "x-added", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% by %ROUTE_NAME% to %UPSTREAM_CLUSTER%",
     "action": "add-if-absent"},
    {"name": "x-replace", "value": "replaced", "action": "replace"},
    {"name": "x-nowhere", "value": "never", "action": "replace"},
    {"name": "x-gone", "action": "remove"},
    {"name": "x-empty", "value": "%REQ(x-none)%"},
    {"name": "x-kept", "keep-empty": True},
    {"name": "x-forwarded-for", "action": "remove"},
]
ANSWER = [
    {"name": "server", "action": "remove"},
    {"name": "x-status", "value": "%RESPONSE_CODE% for %REQ(x-user)%"},
    {"name": "set-cookie", "value": "a=b", "action": "append"},
    {"name": "x-echo", "value": "%RESP(x-origin):3%"},
]


@pytest.fixture
def changed(gateway, scripted):
    rules = [
        under("/changed", "origin", name="the-rule", **{"request-headers": CHANGES, "response-headers": ANSWER}),
        under("/choice", {"clusters": [{"name": "origin", "request-headers": [{"name": "x-a", "value": "choice"}],
                                        "response-headers": [{"name": "x-b", "value": "choice"}]}]},
              **{"request-headers": [{"name": "x-a", "value": "rule", "action": "append"}],
                 "response-headers": [{"name": "x-b", "value": "rule", "action": "append"}]}),
        under("/own", {"respond": {"status": 200, "body": "x"}}, **{"response-headers": ANSWER}),
        under("/none", "empty", **{"response-headers": ANSWER}),
    ]
    gateway.serve(configure(gateway, [cluster("origin", scripted), cluster("empty")], rules))
    yield scripted
    scripted.drop_connections()


def asked(gateway, origin, target, answer, *fields):
    """What the origin got, and the client."""
    with gateway.connect() as client:
        client.send(request("GET", target, *fields))
        served, _others = origin.accept_request(target)
        got = served.receive_request()
        served.send(answer)
        return got, client.receive_response()


def test_requests_and_responses(gateway, changed):
    got, answer = asked(gateway, changed, "/changed?q",
                        response(201, "server: o", "set-cookie: c=d", "x-origin: abcdef", body=b"x"),
                        "x-user: alice", "x-set: a", "x-set: b", "x-append: first", "x-absent: there", "x-replace: old",
                        "x-gone: a", "x-gone: b", "x-empty: stays")
    assert got.fields.all("x-set") == ["new alice"]
    assert got.fields.all("x-append") == ["first", "GET /changed?q"]
    assert got.fields.all("x-absent") == ["there"]
    assert got.fields.all("x-added") == ["127.0.0.1 by the-rule to origin"]
    assert got.fields.all("x-replace") == ["replaced"]
    assert got.fields.all("x-empty") == ["stays"]
    assert got.fields.all("x-kept") == [""]
    assert not [name for name in ("x-nowhere", "x-gone", "x-forwarded-for") if got.fields.all(name)]
    assert answer.status == 201
    assert answer.fields.all("set-cookie") == ["c=d", "a=b"]
    assert answer.fields.all("x-status") == ["201 for alice"]
    assert answer.fields.all("x-echo") == ["abc"]
    assert not answer.fields.all("server")


def test_a_choice_comes_before_its_rule(gateway, changed):
    got, answer = asked(gateway, changed, "/choice", response(200, "x-b: origin", body=b"x"), "x-a: client")
    assert got.fields.all("x-a") == ["choice", "rule"]
    assert answer.fields.all("x-b") == ["choice", "rule"]


@pytest.mark.parametrize("target, status", [("/own", 200), ("/none", 503)])
def test_answers_of_our_own(gateway, changed, target, status):
    answer = gateway.get(target, "x-user: bob")
    assert answer.status == status
    assert answer.fields.all("x-status") == [f"{status} for bob"]
    assert not answer.fields.all("server")


def test_explain_tells(gateway, changed):
    done = gateway.headgate("explain", "GET", "http://test.example/changed", "-H", "x-user: alice", "-H", "x-gone: a",
                            "--output", "json")
    told = {c["name"]: c for c in json.loads(done.stdout)["request_changes"]}
    assert told["x-set"] == {"action": "set", "name": "x-set", "value": "new alice", "is_made": True}
    assert told["x-gone"]["is_made"] and not told["x-replace"]["is_made"]


@pytest.mark.parametrize("change, path", [
    ({"name": "content-length", "value": "1"}, "request-headers[0].name"), ({"name": "x"}, "request-headers[0]"),
    ({"name": "x", "value": "%HOSTNAME%"}, "request-headers[0]"),
    ({"name": "x", "value": "%RESP(a)%"}, "request-headers[0]"),
    ({"name": "x", "value": "a", "action": "remove"}, "request-headers[0].value"),
    ({"name": "x", "value": "a\r\nb: c"}, "request-headers[0].value"),
])
def test_what_is_wrong_is_named(gateway, scripted, change, path):
    push = gateway.push(configure(gateway, [cluster("origin", scripted)], [
        under("/", "origin", **{"request-headers": [change]})]))
    assert not push.is_committed
    assert path in repr(push)
