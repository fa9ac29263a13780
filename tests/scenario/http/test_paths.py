"""One canonical path for matching and forwarding: what the origin gets is what the rules saw, under every
policy."""
import json

import pytest

from configuration import cluster, configure, under
from wire import request

REFUSED = None

# policy: {raw path: what the origin sees}
DEFAULT = {
    "/": "/", "/a": "/a", "/a/": "/a/", "/A": "/A", "/a.b": "/a.b", "/...": "/...", "/.a": "/.a",
    "/a..": "/a..",
    # percent-encoding
    "/%61": "/a", "/%7Ea": "/~a", "/%7ea": "/~a", "/%2da": "/-a", "/%20": "/%20", "/%c3%a9": "/%C3%A9",
    "/%25": "/%25",
    "/%2525": "/%2525", "/%252f": "/%252f", "/a%3fb": "/a%3Fb", "/a%23b": "/a%23b", "/a%3bb": "/a%3Bb",
    "/%": REFUSED, "/%4": REFUSED, "/%4g": REFUSED, "/%g4": REFUSED, "/a%": REFUSED, "/%%41": REFUSED,
    "/%u0041": REFUSED,
    "/%00": REFUSED, "/a%00b": REFUSED,
    # dot segments
    "/.": "/", "/..": "/", "/a/.": "/a/", "/a/..": "/", "/a/./b": "/a/b", "/a/../b": "/b", "/../a": "/a",
    "/../../a": "/a",
    "/a/b/../../c": "/c", "/%2e": "/", "/%2e%2e": "/", "/a/%2e%2e/b": "/b", "/a/.%2e/b": "/b",
    "/a/%2E./b": "/b", "/a/%2e/b": "/a/b",
    "/a/..;/b": REFUSED, "/a/..%2fb": REFUSED, "/a/%2e%2e%2fb": REFUSED, "/a%2f..": REFUSED, "/..a": "/..a",
    # slashes
    "//": "/", "//a": "/a", "/a//b": "/a/b", "/a///b//": "/a/b/", "/a//../b": "/b", "/a%2fb": "/a%2Fb",
    "/a%2Fb": "/a%2Fb",
    # backslashes
    "/a\\b": REFUSED, "/a%5cb": REFUSED, "/a%5Cb": REFUSED, "/..\\a": REFUSED,
    # parameters
    "/a;b": "/a;b", "/a;b=c/d": "/a;b=c/d", "/;": "/;",
    # bytes that are no part of a path, but come
    "/a|b": "/a%7Cb", "/a[1]": "/a%5B1%5D", "/a{b}": "/a%7Bb%7D", "/a<b>": "/a%3Cb%3E", "/a^b`": "/a%5Eb%60",
}
POLICIES = {
    "default": ({}, DEFAULT),
    "escaped-slash reject": ({"escaped-slash": "reject"}, {"/a%2fb": REFUSED, "/a%2Fb": REFUSED,
                                                           "/%252f": "/%252f", "/a": "/a"}),
    "escaped-slash decode": ({"escaped-slash": "decode"}, {
        "/a%2fb": "/a/b", "/a%2F%2fb": "/a/b", "/a/..%2fb": "/b", "/a%2f..%2fb": "/b", "/a/%2e%2e%2fb": "/b",
        "/%2f": "/"}),
    "backslash keep": ({"backslash": "keep"}, {"/a\\b": "/a%5Cb", "/a%5cb": "/a%5Cb", "/..\\a": REFUSED,
                                               "/a\\..": REFUSED}),
    "backslash to-slash": ({"backslash": "to-slash"}, {
        "/a\\b": "/a/b", "/a%5cb": "/a/b", "/a\\..\\b": "/b", "/..\\a": "/a", "/a%5c%2e%2e%5cb": "/b",
        "/a\\\\b": "/a/b"}),
    "dot-segments reject": ({"dot-segments": "reject"}, {
        "/a/../b": REFUSED, "/a/./b": REFUSED, "/%2e%2e/a": REFUSED, "/.": REFUSED, "/a/..": REFUSED,
        "/a..b": "/a..b", "/.a": "/.a"}),
    "double-slash keep": ({"double-slash": "keep"}, {"//": "//", "/a//b": "/a//b", "/a//../b": "/a/b",
                                                     "//a": "//a"}),
    "semicolon reject": ({"semicolon": "reject"}, {"/a;b": REFUSED, "/;": REFUSED, "/a/..;/b": REFUSED,
                                                   "/a": "/a"}),
}


@pytest.mark.parametrize("name", POLICIES)
def test_policy(gateway, teller, name):
    policy, table = POLICIES[name]
    gateway.serve(configure(gateway, [cluster("told", teller)], path=policy))
    for raw, expected in table.items():
        for query in ("", "?q=/../%2f//"):
            check_target(gateway, raw, query, expected)


def check_target(gateway, raw, query, expected):
    answer = gateway.get(raw + query)
    if expected is REFUSED:
        assert answer.status == 400, f"{raw}: {answer.line} {answer.body!r}"
    else:
        assert answer.status == 200, f"{raw}: {answer.line} {answer.body!r}"
        assert json.loads(answer.body)["target"] == expected + query, raw


ADMIN = ["/admin", "/admin/", "/admin/x", "/%61dmin", "/./admin", "/x/../admin", "//admin", "/x//../admin",
         "/%2e/admin",
         "/x/%2e%2e/admin/y", "/admin//x", "/admin/.", "/%41/../admin", "/admin?x", "/x/y/../../admin",
         "http://test.example/admin",
         "http://test.example//admin", "/admin/../admin"]
REWRITTEN = ["/admin;x", "/admin%2fx",
             "/admi%6e;x"]  # other segments than "admin": the rule is not theirs, and they stay so
OTHER = ["/Admin", "/adminx", "/x/admin", "/admin%20", "/%2561dmin", "/admin/../public"]


def test_what_a_rule_protects_has_no_other_name(gateway, teller):
    """Whatever way of writing reaches the origin as /admin meets the rule for /admin."""
    deny = {"respond": {"status": 403, "body": "no\n"}}
    gateway.serve(configure(gateway, [cluster("told", teller)], [under("/admin", deny)]))
    for target in ADMIN:
        assert gateway.get(target).status == 403, target
    for target in OTHER + REWRITTEN:
        answer = gateway.get(target)
        assert answer.status == 200, target
        seen = json.loads(answer.body)["target"].split("?")[0]
        assert seen != "/admin" and not seen.startswith("/admin/"), target


def test_what_is_refused_never_reaches_the_origin(gateway, teller):
    gateway.serve(configure(gateway, [cluster("told", teller)]))
    teller.take_count()
    refused = [raw for raw, expected in DEFAULT.items() if expected is REFUSED]
    with gateway.connect() as client:  # such a request is well-formed, so the connection may go on
        for raw in refused:
            assert client.exchange(request(target=raw)).status == 400
            assert client.exchange(request(target="/fine")).status == 200
    assert teller.take_count() == len(refused)
