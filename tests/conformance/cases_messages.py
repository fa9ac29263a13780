"""Requests that are malformed, and unusual ones that are not: RFC 9113 section 8, RFC 8441."""
import hpack
from dialogue import Case
from expect import Answered, Malformed, Refused
from frames import END_HEADERS, END_STREAM, WHOLE, data, headers

MALFORMED = Malformed()


class GoodBeside(Answered):
    """Stream 3 is answered, whatever became of stream 1."""

    def __init__(self):
        super().__init__(3)
        self.text = "200 on stream 3"

    def is_met(self, seen):
        return seen.goaway is None and 3 in seen.ended and seen.statuses.get(3) == 200

    def is_missed(self, seen):
        return seen.goaway is not None or 3 in seen.resets


def fields(t):
    section = "RFC 9113 8.2.1"

    def bad(name, field, value="x"):
        return Case(name, section, [t.get(1, (field, value))], MALFORMED)

    names = {"in upper case": "X-Name", "with one upper-case letter": "x-namE", "with a space": "x name",
             "with a space at its end": "x-name ", "with a colon": "x:name", "with CR": "x\rname", "with LF": "x\nname",
             "with NUL": "x\0name", "with TAB": "x\tname", "with DEL": "x\x7fname", "with an octet above 127": "x\xe4",
             "with a parenthesis": "x(y)", "with a comma": "x,y", "with a quote": 'x"y', "with a slash": "x/y"}
    values = {"with CR": "a\rb", "with LF": "a\nb", "with CR LF": "a\r\nx: y", "with NUL": "a\0b",
              "with a space before": " a", "with a space behind": "a ", "with a TAB before": "\ta",
              "with a TAB behind": "a\t", "of CR": "\r", "of a space": " "}
    return [
        bad("empty name", ""),
        *[bad(f"name {what}", name) for what, name in names.items()],
        *[bad(f"value {what}", "x-value", value) for what, value in values.items()],
        Case("empty value", section, [t.get(1, ("x-value", ""))], Answered()),
        Case("value with a TAB and octets above 127", section, [t.get(1, ("x-value", "a\tb\xe4"))], Answered()),
        Case("name of all letters that names have", section, [t.get(1, ("!#$%&'*+-.^_`|~09az", "x"))], Answered()),
        Case("upper-case letters by Huffman", section,
             [headers(1, t.block() + hpack.literal("X-Name", "x", coded=True))], MALFORMED),
        Case("LF in a value by Huffman", section,
             [headers(1, t.block() + hpack.literal("x", "a\nb", coded=True))], MALFORMED),
        Case("value with a space before, with indexing", section,
             [headers(1, t.block() + hpack.literal("x", " a", "indexing"))], MALFORMED),
    ]


def of_connections(t):
    section = "RFC 9113 8.2.2"
    rows = [("connection", "close"), ("connection", "keep-alive"), ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("te", "gzip"),
            ("te", "trailers, deflate")]
    return [
        *[Case(f"{name}: {value}", section, [t.get(1, (name, value))], MALFORMED) for name, value in rows],
        Case("te: trailers", section, [t.get(1, ("te", "trailers"))], Answered()),
        Case("transfer-encoding with content", section,
             [t.post(1, ("transfer-encoding", "chunked")) + data(1, b"0\r\n\r\n", END_STREAM)], MALFORMED),
    ]


def pseudo(t):
    section, requests = "RFC 9113 8.3", "RFC 9113 8.3.1"
    whole = t.fields()

    def sent(name, fields_sent, where=section, expect=MALFORMED):
        return Case(name, where, [headers(1, hpack.block(fields_sent))], expect)

    twice = [sent(f"{name} twice", [*whole, (name, value)], requests) for name, value in whole]
    missing = [sent(f"no {name}", [row for row in whole if row[0] != name], requests)
               for name in (":method", ":scheme", ":path")]
    empty = [sent(f"empty {name}", [(key, "" if key == name else value) for key, value in whole], requests)
             for name in (":method", ":scheme", ":path")]
    return [
        *twice, *missing, *empty,
        sent("unknown pseudo-field", [*whole, (":other", "x")]),
        sent(":status in a request", [*whole, (":status", "200")]),
        sent(":Path in upper case", [*whole[:2], (":Path", "/"), whole[3]]),
        *[sent(f"{whole[i][0]} after a field", [*whole[:i], *whole[i + 1:], ("a", "b"), whole[i]]) for i in range(4)],
        sent("no fields", []),
        sent("neither :authority nor host", whole[:3], requests),
        sent("host without :authority", [*whole[:3], ("host", t.authority)], requests, Answered()),
        sent("host beside an equal :authority", [*whole, ("host", t.authority)], requests, Answered()),
        sent("host beside another :authority", [*whole, ("host", "other.example")], requests),
        sent("pseudo-fields in another order", whole[::-1], section, Answered()),
        sent(":path without a slash", t.fields(path="index"), requests),
        sent(":path of a whole URI", t.fields(path=f"http://{t.authority}/"), requests),
        sent(":path with a space", t.fields(path="/a b"), requests),
        sent(":path with CR LF", t.fields(path="/a\r\nx: y"), requests),
        sent(":path with NUL", t.fields(path="/a\0"), requests),
        sent(":path with a fragment", t.fields(path="/a#b"), requests),
        sent(":path with an octet above 127", t.fields(path="/\xe4"), requests),
        sent(":path * of GET", t.fields(path="*"), requests),
        sent(":method with a space", t.fields("GET /"), requests),
        sent(":method with LF", t.fields("GET\n"), requests),
        sent(":scheme with a space", t.fields(scheme="ht tp"), requests),
        sent(":authority with userinfo", t.fields(authority=f"user@{t.authority}"), requests),
        sent(":authority with a slash", t.fields(authority=f"{t.authority}/a"), requests),
        sent(":authority with a space", t.fields(authority="a b"), requests),
        sent(":authority with CR LF", t.fields(authority="a\r\nx: y"), requests),
    ]


def contents(t):
    section = "RFC 9113 8.1.1"

    def post(name, length, *octets, expect=MALFORMED):
        pieces = [data(1, piece, END_STREAM if i == len(octets) - 1 else 0) for i, piece in enumerate(octets)]
        return Case(name, section, [t.post(1, ("content-length", length)) + b"".join(pieces)], expect)

    return [
        post("content-length as it is", "4", b"abcd", expect=Answered()),
        post("content-length in two DATA", "4", b"ab", b"cd", expect=Answered()),
        post("content-length of 0", "0", b"", expect=Answered()),
        Case("content-length of 0 without DATA", section, [t.post(1, ("content-length", "0"), flags=WHOLE)], Answered()),
        post("content-length too large", "5", b"abcd"),
        post("content-length too small", "3", b"abcd"),
        post("content-length too small for the second DATA", "3", b"abc", b"d"),
        post("content-length of 0 with content", "0", b"a"),
        Case("content-length without content", section, [t.post(1, ("content-length", "4"), flags=WHOLE)], MALFORMED),
        Case("content-length too large, with trailers", section,
             [t.post(1, ("content-length", "5")) + data(1, b"abcd") + headers(1, hpack.block([("a", "b")]))], MALFORMED),
        post("content-length of letters", "four", b"abcd"),
        post("negative content-length", "-1", b"a"),
        post("content-length with a sign", "+1", b"a"),
        post("empty content-length", "", b"a"),
        post("content-length beyond 64 bits", "18446744073709551620", b"abcd"),
        post("content-length of a list that disagrees", "4, 5", b"abcd"),
        Case("two content-lengths", section,
             [t.post(1, ("content-length", "4"), ("content-length", "5")) + data(1, b"abcd", END_STREAM)], MALFORMED),
        Case("padding is no content", section,
             [t.post(1, ("content-length", "2")) + data(1, b"\x03ab\0\0\0", END_STREAM | 8)], Answered()),
    ]


def trailers(t):
    section = "RFC 9113 8.1"

    def trailed(name, block, flags=WHOLE, expect=MALFORMED):
        return Case(name, section, [t.post() + data(1, b"abc") + headers(1, block, flags)], expect)

    return [
        trailed("trailers", hpack.block([("x-sum", "abc")]), expect=Answered()),
        trailed("empty trailers", b"", expect=Answered()),
        trailed("trailers without END_STREAM", hpack.block([("a", "b")]), END_HEADERS),
        trailed("pseudo-field in trailers", hpack.block([(":path", "/")])),
        trailed(":status in trailers", hpack.block([(":status", "200")])),
        trailed("upper-case letters in trailers", hpack.block([("X-Sum", "b")])),
        trailed("connection in trailers", hpack.block([("connection", "close")])),
        trailed("transfer-encoding in trailers", hpack.block([("transfer-encoding", "chunked")])),
        trailed("LF in trailers", hpack.block([("a", "b\nc")])),
        Case("trailers without content", section, [t.post() + headers(1, hpack.block([("x-sum", "abc")]))], Answered()),
    ]


def connect(t):
    section, extended = "RFC 9113 8.5", "RFC 8441 4"

    def sent(name, fields_sent, where=section, expect=MALFORMED):
        return Case(name, where, [headers(1, hpack.block(fields_sent), END_HEADERS)], expect)

    to = [(":method", "CONNECT"), (":authority", "other.example:443")]
    return [
        sent("CONNECT that nobody allows", to, expect=Refused()),
        sent("CONNECT with :scheme", [*to, (":scheme", "https")]),
        sent("CONNECT with :path", [*to, (":path", "/")]),
        sent("CONNECT without :authority", to[:1]),
        sent(":protocol of GET", [*t.fields(), (":protocol", "websocket")], extended),
        sent("extended CONNECT without :path", [*to, (":scheme", "https"), (":protocol", "websocket")], extended),
        sent("extended CONNECT without :scheme", [*to, (":path", "/"), (":protocol", "websocket")], extended),
        sent(":protocol twice", [*t.fields("CONNECT"), (":protocol", "websocket"), (":protocol", "websocket")], extended),
    ]


def unusual(t):
    section = "RFC 9113 8"
    return [
        Case("HEAD", section, [t.get(), headers(3, t.block("HEAD"))], Answered(3)),
        Case("cookies in crumbs", "RFC 9113 8.2.3", [t.get(1, ("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "e=f"))],
             Answered()),
        Case("request without content, ended by DATA", section, [t.post() + data(1, b"", END_STREAM)], Answered()),
        Case("content of many frames", section, [t.post() + data(1, b"x" * 100) * 100 + data(1, b"", END_STREAM)],
             Answered()),
        Case("malformed request beside a good one", "RFC 9113 8.1.1", [t.get(1, ("te", "gzip")) + t.get(3)], GoodBeside()),
    ]


def cases(t):
    return [case for part in (fields, of_connections, pseudo, contents, trailers, connect, unusual) for case in part(t)]
