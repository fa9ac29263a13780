"""What an origin can do wrong: every error of a connection and of a stream that a server can commit (RFC 9113, 7541, 9218),
and what costs the gateway more than the origin."""
import itertools

import frames
import hpack
from frames import (CANCEL, COMPRESSION_ERROR, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, FRAME_MAX,
                    FRAME_SIZE_ERROR, LARGEST_WINDOW, PADDED, PRIORITIZED, PROTOCOL_ERROR, STREAM_CLOSED, UNKNOWN, WHOLE,
                    continuation, data, frame, goaway, headers, ping, priority, priority_update, rst_stream, settings,
                    window_update)
from hostile import CUT, OriginCase

BAD, FINE = (502,), (200,)
OTHER = 100                   # so far above the stream that was opened: idle
R = 1 << 31


def head(stream, *more, status="200", flags=END_HEADERS):
    return headers(stream, hpack.block([(":status", status), *more]), flags)


def whole(stream, *more, status="200"):
    return head(stream, *more, status=status, flags=WHOLE)


def fatal(name, section, answer, *codes, outcome=BAD, **more):
    """The connection ends with GOAWAY."""
    return OriginCase(name, section, answer, outcome, codes or (PROTOCOL_ERROR,), is_fatal=True, **more)


def stream_error(name, section, answer, *codes, outcome=BAD, **more):
    """The stream ends; a connection error would do (RFC 9113 5.4.2), but punishes its neighbours."""
    return OriginCase(name, section, answer, outcome, codes or (PROTOCOL_ERROR,), is_fatal=False, **more)


def beginnings():
    section = "RFC 9113 3.4"
    return [
        fatal("HTTP/1.1 answer", section, lambda s: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", PROTOCOL_ERROR,
              FRAME_SIZE_ERROR, is_bare=True),
        fatal("response before SETTINGS", section, whole, is_bare=True),
        fatal("PING before SETTINGS", section, lambda s: ping() + settings() + whole(s), is_bare=True),
        fatal("acknowledgement before SETTINGS", section, lambda s: frames.SETTINGS_ACK + whole(s), is_bare=True),
        fatal("unknown frame before SETTINGS", section, lambda s: frame(UNKNOWN) + whole(s), is_bare=True),
        fatal("preface of a client", section, lambda s: frames.PREFACE + settings(), PROTOCOL_ERROR, FRAME_SIZE_ERROR,
              is_bare=True),
        OriginCase("nothing, and the end", section, lambda s: b"", BAD, is_bare=True, ends=True),
    ]


def streams():
    """Frames where they may not be."""
    section = "RFC 9113 5.1"
    cases = [
        fatal("DATA on stream 0", section, lambda s: data(0, b"x")),
        fatal("DATA on an even stream", section, lambda s: data(2, b"x")),
        fatal("DATA on an idle stream", section, lambda s: data(s + OTHER, b"x")),
        fatal("HEADERS on stream 0", section, lambda s: whole(0)),
        fatal("HEADERS on an even stream", section, lambda s: whole(2)),
        fatal("HEADERS on an idle stream", section, lambda s: whole(s + OTHER)),
        fatal("RST_STREAM on stream 0", section, lambda s: rst_stream(0)),
        fatal("RST_STREAM on an idle stream", section, lambda s: rst_stream(s + OTHER)),
        fatal("RST_STREAM on an even stream", section, lambda s: rst_stream(2)),
        fatal("WINDOW_UPDATE on an idle stream", section, lambda s: window_update(s + OTHER, 1)),
        fatal("WINDOW_UPDATE on an even stream", section, lambda s: window_update(2, 1)),
        fatal("PRIORITY on stream 0", section, lambda s: priority(0)),
        fatal("SETTINGS on a stream", section, lambda s: frame(frames.SETTINGS, 0, s)),
        fatal("PING on a stream", section, lambda s: frame(frames.PING, 0, s, bytes(8))),
        fatal("GOAWAY on a stream", section, lambda s: frame(frames.GOAWAY, 0, s, bytes(8))),
        fatal("PUSH_PROMISE", "RFC 9113 8.4", lambda s: frame(frames.PUSH_PROMISE, END_HEADERS, s, frames.number(2) + b"\x82")),
        fatal("PUSH_PROMISE on stream 0", "RFC 9113 8.4", lambda s: frame(frames.PUSH_PROMISE, END_HEADERS, 0,
                                                                         frames.number(2) + b"\x82")),
        fatal("PRIORITY_UPDATE", "RFC 9218 7.1", lambda s: priority_update(s)),
        fatal("DATA after the end", section, lambda s: whole(s) + data(s, b"x"), STREAM_CLOSED, outcome=FINE),
        fatal("HEADERS after the end", section, lambda s: whole(s) + whole(s), STREAM_CLOSED, outcome=FINE),
        OriginCase("DATA after a reset", section, lambda s: rst_stream(s) + data(s, b"x"), BAD, (STREAM_CLOSED,)),
        OriginCase("HEADERS after a reset", section, lambda s: rst_stream(s) + whole(s), BAD, (STREAM_CLOSED,)),
        OriginCase("frames that may follow the end", section,
                   lambda s: whole(s) + window_update(s, 1) + rst_stream(s, 0) + priority(s), FINE),
        OriginCase("reserved bit", "RFC 9113 4.1", lambda s: whole(R | s), FINE),
        OriginCase("unknown frames", "RFC 9113 4.1", lambda s: frame(UNKNOWN, 0xff, 0, b"x") + frame(UNKNOWN, 1, s) + whole(s),
                   FINE),
    ]
    return cases


def sizes():
    section = "RFC 9113 4.2"
    large = bytes(FRAME_MAX + 1)

    def sized(name, kind, payload, on_stream=False):
        return fatal(name, section, lambda s: frame(kind, 0, s if on_stream else 0, payload), FRAME_SIZE_ERROR)

    return [
        OriginCase("DATA too large", section, lambda s: head(s) + data(s, large), (502, CUT), (FRAME_SIZE_ERROR,)),
        fatal("HEADERS too large", section, lambda s: headers(s, large), FRAME_SIZE_ERROR),
        fatal("CONTINUATION too large", section, lambda s: headers(s, b"\x88", 0) + continuation(s, large), FRAME_SIZE_ERROR),
        fatal("endless frame", section, lambda s: b"\xff\xff\xff" + frame(frames.DATA, 0, s)[3:] + large, FRAME_SIZE_ERROR),
        sized("SETTINGS of five octets", frames.SETTINGS, bytes(5)),
        fatal("acknowledgement with content", section, lambda s: frame(frames.SETTINGS, 1, 0, bytes(6)), FRAME_SIZE_ERROR),
        sized("PING of seven octets", frames.PING, bytes(7)),
        sized("PING of nine octets", frames.PING, bytes(9)),
        sized("GOAWAY of seven octets", frames.GOAWAY, bytes(7)),
        sized("RST_STREAM of three octets", frames.RST_STREAM, bytes(3), True),
        sized("RST_STREAM of five octets", frames.RST_STREAM, bytes(5), True),
        sized("WINDOW_UPDATE of three octets", frames.WINDOW_UPDATE, bytes(3)),
        sized("WINDOW_UPDATE of five octets", frames.WINDOW_UPDATE, bytes(5), True),
        OriginCase("PRIORITY of four octets", section, lambda s: frame(frames.PRIORITY, 0, s, bytes(4)), BAD,
                   (FRAME_SIZE_ERROR,)),
        fatal("PADDED without an octet", section, lambda s: head(s) + frame(frames.DATA, PADDED, s), FRAME_SIZE_ERROR,
              PROTOCOL_ERROR, outcome=(502, CUT)),
        fatal("PRIORITY flag without room", section, lambda s: headers(s, b"\x88", WHOLE | PRIORITIZED), FRAME_SIZE_ERROR),
    ]


def paddings():
    section = "RFC 9113 6.1"
    return [
        fatal("padding of DATA", section, lambda s: head(s) + data(s, b"\x05abcd", PADDED), outcome=(502, CUT)),
        fatal("padding of HEADERS", section, lambda s: headers(s, b"\x05\x88", WHOLE | PADDED)),
        OriginCase("padding only", section, lambda s: head(s) + data(s, b"\x03abc", PADDED | END_STREAM), FINE),
    ]


def values():
    section = "RFC 9113 6.5.2"
    return [
        fatal("ENABLE_PUSH of 1", section, lambda s: settings((frames.ENABLE_PUSH, 1))),
        fatal("ENABLE_PUSH of 2", section, lambda s: settings((frames.ENABLE_PUSH, 2))),
        fatal("too large INITIAL_WINDOW_SIZE", section, lambda s: settings((frames.INITIAL_WINDOW_SIZE, 1 << 31)),
              FLOW_CONTROL_ERROR),
        fatal("too small MAX_FRAME_SIZE", section, lambda s: settings((frames.MAX_FRAME_SIZE, FRAME_MAX - 1))),
        fatal("too large MAX_FRAME_SIZE", section, lambda s: settings((frames.MAX_FRAME_SIZE, 1 << 24))),
        fatal("ENABLE_CONNECT_PROTOCOL of 2", section, lambda s: settings((frames.ENABLE_CONNECT_PROTOCOL, 2))),
        fatal("ENABLE_CONNECT_PROTOCOL taken back", section, lambda s: settings((frames.ENABLE_CONNECT_PROTOCOL, 1)) +
              settings((frames.ENABLE_CONNECT_PROTOCOL, 0))),
        fatal("NO_RFC7540_PRIORITIES of 2", section, lambda s: settings((frames.NO_RFC7540_PRIORITIES, 2))),
        fatal("acknowledgement of nothing", section, lambda s: frames.SETTINGS_ACK * 2),
        OriginCase("unknown setting", section, lambda s: settings((0xff, 7)) + whole(s), FINE),
    ]


def windows():
    section = "RFC 9113 6.9"
    return [
        fatal("increment of 0 for the connection", section, lambda s: window_update(0, 0)),
        OriginCase("increment of 0 for a stream", section, lambda s: window_update(s, 0), BAD, (PROTOCOL_ERROR,)),
        fatal("window of the connection overflows", section, lambda s: window_update(0, LARGEST_WINDOW), FLOW_CONTROL_ERROR),
        OriginCase("window of a stream overflows", section, lambda s: window_update(s, LARGEST_WINDOW), BAD,
                   (FLOW_CONTROL_ERROR,)),
        # Where the fault is read together with the head, nothing of the response has been sent yet: then it is 502.
        OriginCase("more than the window", section, lambda s: itertools.chain(
            [head(s)], itertools.repeat(data(s, bytes(FRAME_MAX)), 1000)), (CUT, *BAD), (FLOW_CONTROL_ERROR,), reads=False),
    ]


def blocks():
    """Header blocks that are interrupted, wrong, or without end."""
    section = "RFC 9113 6.10"
    begun = hpack.block([(":status", "200")])

    def interrupted(name, octets):
        return fatal(f"block interrupted by {name}", section, lambda s: headers(s, begun, END_STREAM) + octets(s))

    def undecodable(name, block):
        return fatal(name, "RFC 7541", lambda s: headers(s, begun + block), COMPRESSION_ERROR)

    return [
        fatal("CONTINUATION without HEADERS", section, lambda s: continuation(s, begun)),
        fatal("CONTINUATION on stream 0", section, lambda s: headers(s, begun, 0) + continuation(0)),
        fatal("CONTINUATION of another stream", section, lambda s: headers(s, begun, 0) + continuation(s + OTHER)),
        fatal("CONTINUATION behind a complete block", section, lambda s: head(s) + continuation(s), outcome=(502, CUT)),
        interrupted("DATA", lambda s: data(s, b"x")),
        interrupted("HEADERS", whole),
        interrupted("HEADERS of another stream", lambda s: whole(s + OTHER)),
        interrupted("PING", lambda s: ping()),
        interrupted("SETTINGS", lambda s: settings()),
        interrupted("RST_STREAM", rst_stream),
        interrupted("WINDOW_UPDATE", lambda s: window_update(0, 1)),
        interrupted("an unknown frame", lambda s: frame(UNKNOWN)),
        undecodable("index 0", hpack.indexed(0)),
        undecodable("index beyond the tables", hpack.indexed(200)),
        undecodable("string that ends too early", b"\x00\x01a\x7f"),
        undecodable("integer without end", b"\xff" * 12),
        undecodable("padding of Huffman", b"\x00\x01a\x81\x00"),
        undecodable("EOS", b"\x00\x01a\x84\xff\xff\xff\xff"),
        undecodable("size update behind a field", hpack.size_update(0)),
        fatal("size update beyond the limit", "RFC 7541 6.3", lambda s: headers(s, hpack.size_update(4097) + begun),
              COMPRESSION_ERROR),
        OriginCase("block in parts", section, lambda s: headers(s, begun[:1], END_STREAM) + continuation(s, begun[1:], 0) +
                   continuation(s), FINE),
    ]


def heads():
    """RFC 9113 8: each makes one response malformed."""
    section = "RFC 9113 8"

    def malformed(name, *fields, **more):
        return stream_error(name, section, lambda s: headers(s, hpack.block(fields)), **more)

    def with_field(name, *field):
        return malformed(name, (":status", "200"), field)

    def with_status(status):
        return malformed(f"status {status!r}", (":status", status))

    return [
        malformed("no :status", ("x", "y")),
        stream_error("empty block", section, lambda s: headers(s, b"")),
        malformed(":status twice", (":status", "200"), (":status", "200")),
        *map(with_status, ["", "20", "2000", "099", "101", "-20", " 200", "abc", "2x0"]),
        malformed(":path", (":status", "200"), (":path", "/")),
        malformed(":unknown", (":status", "200"), (":unknown", "x")),
        malformed(":status behind a field", ("x", "y"), (":status", "200")),
        with_field("upper case", "X-Upper", "x"),
        with_field("name without letters", "", "x"),
        with_field("name with a space", "x y", "x"),
        with_field("name with a colon", "x:y", "x"),
        with_field("name with NUL", "x\0", "x"),
        with_field("name beyond ASCII", "x\xe9", "x"),
        with_field("value with CR", "x", "a\rb"),
        with_field("value with LF", "x", "a\nset-cookie: b"),
        with_field("value with NUL", "x", "a\0b"),
        with_field("value with a space before", "x", " a"),
        with_field("value with a space behind", "x", "a "),
        with_field("Connection", "connection", "close"),
        with_field("Keep-Alive", "keep-alive", "1"),
        with_field("Proxy-Connection", "proxy-connection", "close"),
        with_field("Transfer-Encoding", "transfer-encoding", "chunked"),
        with_field("Upgrade", "upgrade", "h2c"),
        with_field("Content-Length that is no number", "content-length", "x"),
        with_field("negative Content-Length", "content-length", "-1"),
        with_field("huge Content-Length", "content-length", "9" * 30),
        malformed("two values of Content-Length", (":status", "200"), ("content-length", "0"), ("content-length", "1")),
        stream_error("1xx that ends", section, lambda s: whole(s, status="103")),
        stream_error("101 without an end", section, lambda s: head(s, status="101")),
        OriginCase("DATA before HEADERS", section, lambda s: data(s, b"x") + whole(s), BAD, (PROTOCOL_ERROR,)),
        stream_error("DATA behind 1xx", section, lambda s: head(s, status="103") + data(s, b"x")),
        OriginCase("end without a head", section, lambda s: data(s, b"", END_STREAM), BAD, (PROTOCOL_ERROR,)),
        OriginCase("1xx without end", section, lambda s: itertools.repeat(head(s, ("link", "</x>"), status="103"), 200), BAD,
                   (CANCEL, PROTOCOL_ERROR, ENHANCE_YOUR_CALM)),
    ]


def contents():
    section = "RFC 9113 8.1.1"
    ten, two = ("content-length", "10"), ("content-length", "2")
    return [
        stream_error("content too short", section, lambda s: head(s, ten) + data(s, b"12345", END_STREAM), outcome=(502, CUT)),
        stream_error("content too long", section, lambda s: head(s, two) + data(s, b"12345", END_STREAM), outcome=(502, CUT)),
        stream_error("content announced and none", section, lambda s: whole(s, ten)),
        stream_error("content for HEAD", section, lambda s: head(s) + data(s, b"x", END_STREAM), outcome=(502, CUT),
                     method="HEAD"),
        stream_error("content with 204", section, lambda s: head(s, status="204") + data(s, b"x", END_STREAM),
                     outcome=(502, 204, CUT)),
        stream_error("content with 304", section, lambda s: head(s, status="304") + data(s, b"x", END_STREAM),
                     outcome=(502, 304, CUT)),
        stream_error("trailers without an end", section, lambda s: head(s) + data(s, b"x") + headers(
            s, hpack.block([("x", "y")]), END_HEADERS), outcome=(502, CUT)),
        stream_error("trailers with :status", section, lambda s: head(s) + data(s, b"x") + whole(s), outcome=(502, CUT)),
        stream_error("trailers in upper case", section, lambda s: head(s) + data(s, b"x") + headers(
            s, hpack.block([("X", "y")])), outcome=(502, CUT)),
        OriginCase("reset in the content", section, lambda s: head(s) + data(s, b"x") + rst_stream(s), (502, CUT)),
        OriginCase("end of the connection in the content", section, lambda s: head(s) + data(s, b"x"), (502, CUT), ends=True),
    ]


def departures():
    section = "RFC 9113 6.8"
    return [
        OriginCase("GOAWAY without any stream", section, lambda s: goaway(0), (502, 503)),
        fatal("GOAWAY whose id rises", section, lambda s: goaway(s) + goaway(s + OTHER)),
        fatal("GOAWAY with an even id", section, lambda s: goaway(2)),
        OriginCase("GOAWAY with an id that is far away", section, lambda s: goaway(LARGEST_WINDOW) + whole(s), FINE),
        OriginCase("GOAWAY with an error and a long text", section, lambda s: goaway(s, PROTOCOL_ERROR, b"x" * 16000) + whole(s),
                   FINE),
        OriginCase("REFUSED_STREAM each time", section, lambda s: rst_stream(s, frames.REFUSED_STREAM), (502, 503)),
        OriginCase("reset before the head", section, rst_stream, BAD),
        OriginCase("the same reset a thousand times", section, lambda s: rst_stream(s) * 1000, BAD),
        OriginCase("resets of streams that were never opened", section, lambda s: b"".join(
            rst_stream(i) for i in range(s, s + 2000, 2)), BAD, (PROTOCOL_ERROR,), is_fatal=True),
    ]


def floods():
    """Without end: until the gateway has closed."""
    section = "RFC 9113 10.5"

    def flood(name, octets, *codes, outcome=BAD, first=lambda s: b"", batch=100):
        return fatal(name, section, lambda s: itertools.chain([first(s)], itertools.repeat(octets(s) * batch, 5000)),
                     *(codes or (ENHANCE_YOUR_CALM,)), outcome=outcome)

    entry, use = hpack.literal("x-bomb", "y" * 4000, "indexing"), hpack.indexed(len(hpack.STATIC) + 1)

    def bomb(uses):
        return lambda s: headers(s, hpack.block([(":status", "200")]) + entry + use * uses)

    return [
        flood("flood of PING", lambda s: ping()),
        flood("flood of SETTINGS", lambda s: settings()),
        flood("flood of windows in SETTINGS", lambda s: settings((frames.INITIAL_WINDOW_SIZE, 1000))),
        flood("flood of WINDOW_UPDATE", lambda s: window_update(s, 1)),
        flood("flood of PRIORITY", lambda s: priority(s)),
        flood("flood of unknown frames", lambda s: frame(UNKNOWN)),
        flood("flood of GOAWAY", goaway),
        flood("flood of empty DATA", data, outcome=(502, CUT), first=head),
        flood("flood of padding", lambda s: data(s, b"\0", PADDED), outcome=(502, CUT), first=head),
        flood("flood of CONTINUATION", lambda s: continuation(s, hpack.literal("x", "y"), 0),
              first=lambda s: headers(s, b"\x88", 0)),
        flood("flood of empty CONTINUATION", lambda s: continuation(s, b"", 0), first=lambda s: headers(s, b"\x88", 0)),
        fatal("SETTINGS with a thousand entries", section, lambda s: settings(*[(0xff, 1)] * 1000), ENHANCE_YOUR_CALM),
        OriginCase("bomb of sixty fields", section, bomb(60), BAD, (CANCEL, ENHANCE_YOUR_CALM)),
        OriginCase("bomb of twelve thousand fields", section, bomb(12000), BAD, (CANCEL, ENHANCE_YOUR_CALM)),
        OriginCase("a thousand small fields", section, lambda s: headers(s, b"\x88" + hpack.literal("x", "") * 1000), BAD,
                   (CANCEL, ENHANCE_YOUR_CALM)),
    ]


def all_origin_cases():
    parts = (beginnings, streams, sizes, paddings, values, windows, blocks, heads, contents, departures, floods)
    named = [(f"{case.section}: {case.name}", case) for part in parts for case in part()]
    by_name = dict(named)
    assert len(by_name) == len(named), f"twice: {[name for name, case in named if by_name[name] is not case]}"
    return by_name
