"""Which rule takes a request, and what becomes of it: hosts, paths, methods, fields, queries, weights,
redirects, rewrites."""
import json

import pytest

from configuration import cluster, configure, under
from origins import Teller
from wire import head_of, request


def respond(text, **more):
    return {"respond": {"status": 200, "body": text, **more}}


def rule(text, **match):
    return {"match": match, **respond(text)}


def body_of(gateway, target="/", *fields, method="GET", **how):
    with gateway.connect() as client:
        answer = client.exchange(request(method, target, *fields, **how))
        return answer.body.decode() if answer.status == 200 else answer.status


# ---- hosts

HOSTS = [
    {"domains": ["a.example", "A2.Example"], "rules": [respond("exact")]},
    {"domains": ["*.a.example"], "rules": [respond("wildcard")]},
    {"domains": ["*.b.a.example"], "rules": [respond("longer wildcard")]},
    {"domains": ["c.a.example"], "rules": [respond("exact before wildcard")]},
]


@pytest.mark.parametrize("host, expected", [
    ("a.example", "exact"), ("A.EXAMPLE", "exact"), ("a.example:8080", "exact"), ("a2.example", "exact"),
    ("x.a.example", "wildcard"), ("x.y.a.example", "wildcard"), ("x.b.a.example", "longer wildcard"),
    ("b.a.example", "wildcard"), ("c.a.example", "exact before wildcard"), ("xa.example", "any"),
    ("example", "any"),
    ("127.0.0.1", "any"), ("[::1]:80", "any"), ("a.example.", "any or exact"),
])
def test_host(gateway, host, expected):
    gateway.serve(configure(gateway, [], [respond("any")], hosts=HOSTS))
    assert body_of(gateway, host=host) in expected.split(" or ")


def test_the_host_of_an_absolute_target_counts(gateway):
    gateway.serve(configure(gateway, [], [respond("any")], hosts=HOSTS))
    assert body_of(gateway, "http://a.example/", host="other.example") == "exact"
    assert body_of(gateway, "http://other.example/", host="a.example") == "any"


def test_no_host_and_no_rule(gateway):
    gateway.serve(configure(gateway, [], [rule("x", path={"exact": "/x"})]))
    assert body_of(gateway, "/x") == "x"
    assert body_of(gateway, "/y") == 404
    with gateway.connect() as client:
        assert client.exchange(head_of("GET /x HTTP/1.0")).status == 200
    gateway.serve({**configure(gateway, []), "route-tables": [
        {"name": "site", "hosts": [{"domains": ["only.example"], "rules": [respond("only")]}]}]})
    assert body_of(gateway, host="only.example") == "only"
    assert body_of(gateway, host="other.example") == 404


# ---- paths

PATHS = [
    rule("exact", path={"exact": "/exact"}), rule("longer", path={"prefix": "/api/v1"}),
    rule("api", path={"prefix": "/api/"}),
    rule("regex", path={"regex": "/user/[0-9]+"}), rule("first", path={"prefix": "/same"}),
    rule("second", path={"prefix": "/same"}),
]


@pytest.mark.parametrize("target, expected", [
    ("/exact", "exact"), ("/exact?q", "exact"), ("/exact/", "rest"), ("/exactly", "rest"), ("/EXACT", "rest"),
    ("/api", "api"), ("/api/", "api"), ("/api/x", "api"), ("/apix", "rest"), ("/api/v1", "longer"),
    ("/api/v1/x", "longer"),
    ("/api/v10", "api"), ("/user/42", "regex"), ("/user/42x", "rest"), ("/x/user/42", "rest"),
    ("/user/", "rest"),
    ("/same/x", "first"), ("/", "rest"), ("/%65xact", "exact"), ("/x/../api/v1", "longer"),
])
def test_path(gateway, target, expected):
    gateway.serve(configure(gateway, [], [*PATHS, respond("rest")]))
    assert body_of(gateway, target) == expected


def test_the_first_rule_wins_whatever_its_kind(gateway):
    gateway.serve(configure(gateway, [], [rule("prefix", path={"prefix": "/a"}),
                                          rule("exact", path={"exact": "/a/b"}), respond("rest")]))
    assert body_of(gateway, "/a/b") == "prefix"
    gateway.serve(configure(gateway, [], [rule("regex", path={"regex": "/a.*"}),
                                          rule("exact", path={"exact": "/a/b"})]))
    assert body_of(gateway, "/a/b") == "regex"


def test_a_regex_that_explodes_is_given_up(gateway):
    """Such a path may be what the rule forbids, so none of the rules behind it is taken."""
    gateway.serve(configure(gateway, [], [{"match": {"path": {"regex": "/((a+)+b|.*/secret)"}}, "respond": {"status": 403}},
                                          respond("rest")]))
    assert body_of(gateway, "/x/secret") == 403
    assert body_of(gateway, "/" + "a" * 2000 + "b/secret") == 500
    assert body_of(gateway, "/short") == "rest"
    url = f"http://a.example:{gateway.port}/" + "a" * 2000 + "b/secret"
    explained = json.loads(gateway.headgate("explain", "GET", url, "-o", "json").stdout)
    assert (explained["status"], len(explained["rules"])) == (500, 1)


# ---- methods, fields, queries

CONDITIONS = [
    rule("post", path={"exact": "/m"}, methods=["POST", "PUT"]),
    rule("exact", headers={"x-exact": {"exact": "1"}}), rule("short", headers={"x-short": "yes"}),
    rule("prefix", headers={"X-Prefix": {"prefix": "ab"}}), rule("suffix",
                                                                 headers={"x-suffix": {"suffix": "yz"}}),
    rule("contains", headers={"x-contains": {"contains": "mid"}}),
    rule("regex", headers={"x-regex": {"regex": "[0-9]{3}"}}),
    rule("both", headers={"x-a": {"exact": "1"}, "x-b": {"exact": "2"}}),
    rule("absent", path={"exact": "/absent"}, headers={"x-gone": {"present": False}}),
    rule("inverted", path={"exact": "/inverted"}, headers={"x-not": {"exact": "1", "not": True}}),
    rule("query", query={"debug": {"present": True}}), rule("query value", query={"v": {"exact": "a b"}}),
    rule("agent", path={"exact": "/agent"}, headers={"user-agent": {"contains": "curl/"}}),
]


@pytest.mark.parametrize("target, fields, expected", [
    ("/x", ["X-Exact: 1"], "exact"), ("/x", ["x-EXACT:   1 "], "exact"), ("/x", ["X-Exact: 12"], "rest"),
    ("/x", ["X-Short: yes"], "short"),
    ("/x", ["X-Prefix: abc"], "prefix"), ("/x", ["X-Prefix: xabc"], "rest"),
    ("/x", ["X-Suffix: xyz"], "suffix"),
    ("/x", ["X-Contains: a mid b"], "contains"), ("/x", ["X-Regex: 123"], "regex"),
    ("/x", ["X-Regex: 1234"], "rest"),
    ("/x", ["X-A: 1", "X-B: 2"], "both"), ("/x", ["X-A: 1"], "rest"), ("/absent", [], "absent"),
    ("/absent", ["X-Gone: "], "rest"),
    ("/inverted", ["X-Not: 2"], "inverted"), ("/inverted", ["X-Not: 1"], "rest"),
    ("/inverted", [], "inverted"),
    ("/x?debug", [], "query"), ("/x?a=b&debug=1", [], "query"), ("/x?de%62ug", [], "query"),
    ("/x?debugger", [], "rest"),
    ("/x?v=a%20b", [], "query value"), ("/x?v=a+b", [], "query value or rest"), ("/x?v=ab", [], "rest"),
    ("/x?x=v", [], "rest"),
    ("/agent", ["User-Agent: curl/7.88"], "agent"), ("/agent", [], "rest"),
])
def test_condition(gateway, target, fields, expected):
    gateway.serve(configure(gateway, [], [*CONDITIONS, respond("rest")]))
    assert body_of(gateway, target, *fields) in expected.split(" or ")


@pytest.mark.parametrize("method, expected", [("POST", "post"), ("PUT", "post"), ("GET", "rest"),
                                              ("post", "rest"), ("POSTS", "rest")])
def test_method(gateway, method, expected):
    gateway.serve(configure(gateway, [], [*CONDITIONS, respond("rest")]))
    assert body_of(gateway, "/m", method=method) == expected


# ---- answers of the gateway's own

@pytest.mark.parametrize("redirect, target, status, location", [
    ({"prefix": "/new/"}, "/old/a?q=1", 308, "http://test.example/new/a?q=1"),
    ({"prefix": "/new/", "status": 301}, "/old", 301, "http://test.example/new or http://test.example/new/"),
    ({"path": "/all", "status": 302}, "/old/a?q=1", 302, "http://test.example/all"),
    ({"scheme": "https"}, "/old/a?q=1", 308, "https://test.example/old/a?q=1"),
    ({"host": "other.example:8443", "scheme": "https"}, "/old/a", 308, "https://other.example:8443/old/a"),
    ({"prefix": "/new/", "strip-query": True, "status": 303}, "/old/a?q=1", 303, "http://test.example/new/a"),
    ({"prefix": "/", "status": 307}, "/old//a/../b", 307, "http://test.example/b"),
])
def test_redirect(gateway, redirect, target, status, location):
    gateway.serve(configure(gateway, [], [under("/old/", {"redirect": redirect})]))
    answer = gateway.get(target)
    assert answer.status == status and answer["Location"] in location.split(" or ")


def test_redirect_keeps_the_port_and_splits_no_response(gateway):
    gateway.serve(configure(gateway, [], [under("/old/", {"redirect": {"prefix": "/new/"}})]))
    assert gateway.get("/old/x", host="test.example:8080")["Location"] == "http://test.example:8080/new/x"
    answer = gateway.get("/old/%0d%0aSet-Cookie:%20a=b?%0d%0aX:y")
    assert answer["Set-Cookie"] is None
    assert answer["Location"] == "http://test.example/new/%0D%0ASet-Cookie:%20a=b?%0d%0aX:y"


def test_direct_response(gateway):
    gateway.serve(configure(gateway, [], [
        under("/plain", respond("text")), under("/empty", {"respond": {"status": 204}}),
        under("/full", {"respond": {"status": 418, "body": "{}", "content-type": "application/json",
                                    "headers": {"X-One": "1", "Cache-Control": "no-store"}}}),
        under("/large", respond("x" * 300000)),
    ]))
    answer = gateway.get("/full")
    assert (answer.status, answer.body, answer["Content-Type"]) == (418, b"{}", "application/json")
    assert (answer["X-One"], answer["Cache-Control"]) == ("1", "no-store")
    answer = gateway.get("/empty")
    assert (answer.status, answer["Content-Length"], answer["Content-Type"]) == (204, None, None)
    assert gateway.get("/large").body == b"x" * 300000
    with gateway.connect() as client:
        assert client.exchange(request("POST", "/plain", body="ignored")).body == b"text"
        assert client.exchange(request("HEAD", "/large"), to="HEAD")["Content-Length"] == "300000"
        assert client.exchange(request("GET", "/plain")).body == b"text"


# ---- forwarding

@pytest.mark.parametrize("match, rewrite, target, expected", [
    ({"prefix": "/api/"}, {"prefix": "/v1/"}, "/api/x?q=1", "/v1/x?q=1"),
    ({"prefix": "/api/"}, {"prefix": "/v1/"}, "/api", "/v1 or /v1/"),
    ({"prefix": "/api"}, {"prefix": "/"}, "/api/x", "/x"), ({"prefix": "/api"}, {"prefix": "/"}, "/api", "/"),
    ({"prefix": "/"}, {"prefix": "/deep/er/"}, "/x", "/deep/er/x"),
    ({"prefix": "/"}, {"regex": "/user/([0-9]+)", "substitution": "/u/\\1"}, "/user/42/user/43?user/1",
     "/u/42/u/43?user/1"),
    ({"regex": "/r/.*"}, {"regex": "^/r/(.)(.*)$", "substitution": "/\\2/\\1"}, "/r/abc", "/bc/a"),
    ({"prefix": "/api/"}, {"prefix": "/v1/"}, "/api/%2e%2e/api/a%2Fb", "/v1/a%2Fb"),
])
def test_rewrite(gateway, teller, match, rewrite, target, expected):
    gateway.serve(configure(gateway, [cluster("told", teller)],
                            [{"match": {"path": match}, "cluster": "told", "rewrite": rewrite}]))
    assert json.loads(gateway.get(target).body)["target"] in expected.split(" or ")


def test_weighted_clusters(gateway, teller):
    with Teller("b") as b, Teller("c") as c:
        clusters = [{"name": "a", "weight": 80}, {"name": "b", "weight": 20}, {"name": "c", "weight": 0}]
        gateway.serve(configure(gateway, [cluster("a", teller), cluster("b", b), cluster("c", c)],
                                [under("/split", {"clusters": clusters})]))
        with gateway.connect() as client:
            for _ in range(1000):
                assert client.exchange(request(target="/split")).status == 200
        counts = [origin.take_count() for origin in (teller, b, c)]
        assert sum(counts) == 1000 and counts[2] == 0
        assert 730 < counts[0] < 870  # more than five standard deviations on both sides


def test_many_rules_and_hosts(gateway, teller):
    """Thousands of exact paths, prefixes and hosts; each finds its own."""
    rules = [rule(f"e{n}", path={"exact": f"/e/{n}"}) for n in range(1000)]
    rules += [rule(f"p{n}", path={"prefix": f"/p/{n}/"}) for n in range(1000)]
    hosts = [{"domains": [f"h{n}.example", f"*.w{n}.example"],
              "rules": [respond(f"h{n}")]} for n in range(1000)]
    gateway.serve(configure(gateway, [cluster("told", teller)], rules, hosts=hosts))
    for n in (0, 1, 499, 998, 999):
        assert body_of(gateway, f"/e/{n}") == f"e{n}"
        assert body_of(gateway, f"/p/{n}/x/y") == f"p{n}"
        assert body_of(gateway, host=f"h{n}.example") == f"h{n}"
        assert body_of(gateway, host=f"x.y.w{n}.example") == f"h{n}"
    assert json.loads(body_of(gateway, "/e/1000"))["target"] == "/e/1000"


# ---- scopes: one of several route tables, by header fields

def test_scopes(gateway):
    served = configure(gateway, [], [respond("unused")])
    listener = served["listeners"][0]
    del listener["route-table"]
    listener["scoped-routes"] = {
        "key": ["host", {"header": "x-tenant", "separator": ";", "element": "id"}],
        "scopes": [{"key": ["a.example", "red"], "route-table": "red"}, {"key": ["a.example", "blue"], "route-table": "blue"}]}
    served["route-tables"] = [{"name": name, "hosts": [{"domains": ["*"], "rules": [respond(name)]}]} for name in ("red", "blue")]
    gateway.serve(served)
    assert body_of(gateway, "/", "X-Tenant: id=red", host="a.example") == "red"
    assert body_of(gateway, "/", "X-Tenant: a=b;id=blue;id=red", host="A.example") == "blue"
    for wrong in (["X-Tenant: id=green"], ["X-Tenant: red"], [], ["X-Tenant: other", "X-Tenant: id=red"]):
        assert body_of(gateway, "/", *wrong, host="a.example") == 404
    assert body_of(gateway, "/", "X-Tenant: id=red", host="b.example") == 404
    explained = json.loads(gateway.headgate("explain", "GET", f"http://a.example:{gateway.port}/", "-o", "json",
                                            "-H", "X-Tenant: id=red").stdout)
    assert explained["status"] == 404 and f"a.example:{gateway.port}" in explained["scope"]  # the port is a part of Host
    # what the scopes say changes without a connection being cut
    with gateway.connect() as client:
        assert client.exchange(request("GET", "/", "X-Tenant: id=red", host="a.example")).body == b"red"
        changed = json.loads(json.dumps(served))
        changed["listeners"][0]["scoped-routes"]["scopes"][0]["route-table"] = "blue"
        gateway.serve(changed)
        assert client.exchange(request("GET", "/", "X-Tenant: id=red", host="a.example")).body == b"blue"
