"""RFC 9114, RFC 9218, RFC 9220 and RFC 9297: streams, frames and messages."""
from aioquic.buffer import encode_uint_var as varint

from cases_quic_frames import RESET_STREAM, of
from quic_case import Case
from quic_client import CONTROL, CONTROL_ID, DECODER, DECODER_ID, ENCODER, ENCODER_ID, PUSH, REQUEST, Ways
from quic_expect import (H3_CLOSED_CRITICAL_STREAM, H3_FRAME_ERROR, H3_FRAME_UNEXPECTED, H3_ID_ERROR, H3_MESSAGE_ERROR,
                         H3_MISSING_SETTINGS, H3_REQUEST_INCOMPLETE, H3_SETTINGS_ERROR, H3_STREAM_CREATION_ERROR, Answered,
                         Application, StreamError, Survives, Unanswered)
from quic_h3 import (CANCEL_PUSH, DATA, GOAWAY, HEADERS, MAX_PUSH_ID, OF_HTTP2, PUSH_PROMISE, SETTINGS, frame, literal, prefix,
                     section)

BARE = Ways(with_streams=False)
NEXT_UNI = 14       # the client's next stream of one direction
GREASE = 0x1f * 5 + 0x21
ENABLE_CONNECT, H3_DATAGRAM, FIELD_SECTION, TABLE, BLOCKED = 8, 0x33, 6, 1, 7


def told(name, chapter, expect, number, octets, end=False, ways=None):
    """Octets of one stream."""
    return Case(name, f"RFC 9114 {chapter}", expect, lambda c: c.write(number, octets, end), ways=ways or Ways())


def settings(*pairs):
    return frame(SETTINGS, b"".join(varint(number) + varint(value) for number, value in pairs))


def head(client, method="GET", *more, without=()):
    return frame(HEADERS, section(client.fields(method, *more, without=without)))


def control_streams():
    unexpected = Application(H3_FRAME_UNEXPECTED)
    for name, octets in (("MAX_PUSH_ID", frame(MAX_PUSH_ID, b"\x01")), ("GOAWAY", frame(GOAWAY, b"\0")),
                         ("DATA", frame(DATA, b"")), ("a reserved frame", frame(GREASE, b"x"))):
        yield told(f"a control stream begins with {name}", "6.2.1", Application(H3_MISSING_SETTINGS), CONTROL_ID, b"\0" + octets,
                   ways=BARE)
    for name, kind in (("DATA", DATA), ("HEADERS", HEADERS), ("PUSH_PROMISE", PUSH_PROMISE), ("SETTINGS again", SETTINGS),
                       *((f"{name} of HTTP/2", kind) for name, kind in OF_HTTP2.items())):
        yield told(f"{name} on the control stream", "7.2", unexpected, CONTROL_ID, frame(kind, b""))
    yield told("a reserved frame on the control stream is passed over", "9", Survives(), CONTROL_ID, frame(GREASE, b"x" * 100))
    yield told("GOAWAY", "5.2", Survives(), CONTROL_ID, frame(GOAWAY, varint(0)))
    yield told("GOAWAY with a greater ID than before", "5.2", Application(H3_ID_ERROR), CONTROL_ID,
               frame(GOAWAY, varint(4)) + frame(GOAWAY, varint(8)))
    yield told("GOAWAY with octets behind", "7.1", Application(H3_FRAME_ERROR), CONTROL_ID, frame(GOAWAY, varint(4) + b"x"))
    yield told("GOAWAY without an ID", "7.1", Application(H3_FRAME_ERROR), CONTROL_ID, frame(GOAWAY))
    yield told("MAX_PUSH_ID that is lower than before", "7.2.7", Application(H3_ID_ERROR), CONTROL_ID,
               frame(MAX_PUSH_ID, varint(8)) + frame(MAX_PUSH_ID, varint(4)))
    yield told("MAX_PUSH_ID with octets behind", "7.1", Application(H3_FRAME_ERROR), CONTROL_ID, frame(MAX_PUSH_ID, varint(4) + b"x"))
    yield told("CANCEL_PUSH of a push that was not allowed", "7.2.3", Application(H3_ID_ERROR), CONTROL_ID,
               frame(CANCEL_PUSH, varint(3)))
    yield told("CANCEL_PUSH that is cut off", "7.1", Application(H3_FRAME_ERROR), CONTROL_ID, frame(CANCEL_PUSH, b"\x40"))


def settings_values():
    wrong = Application(H3_SETTINGS_ERROR)

    def first(name, octets, expect=wrong, chapter="RFC 9114 7.2.4.1"):
        return Case(name, chapter, expect, lambda c: c.write(CONTROL_ID, b"\0" + octets), ways=BARE)

    for number in (2, 3, 4, 5):
        yield first(f"SETTINGS with {number:#x} of HTTP/2", settings((number, 200)))
    yield first("SETTINGS with a number twice", settings((FIELD_SECTION, 1000), (FIELD_SECTION, 1000)), chapter="RFC 9114 7.2.4")
    yield first("SETTINGS that offer extended CONNECT with 2", settings((ENABLE_CONNECT, 2)), chapter="RFC 9220 3")
    yield first("SETTINGS that offer datagrams with 2", settings((H3_DATAGRAM, 2)), chapter="RFC 9297 2.1.1")
    yield first("SETTINGS that are cut off within a pair", frame(SETTINGS, varint(FIELD_SECTION)), Application(H3_FRAME_ERROR))
    yield first("SETTINGS that are cut off within a number", frame(SETTINGS, b"\x40"), Application(H3_FRAME_ERROR))
    yield first("SETTINGS with reserved numbers", settings((GREASE, 1), (GREASE + 31, 0)), Survives())
    yield Case("SETTINGS octet by octet", "RFC 9114 7.2.4", Answered(), octet_by_octet, ways=BARE)


def octet_by_octet(client):
    for octet in b"\0" + settings((TABLE, 0), (BLOCKED, 0), (FIELD_SECTION, 1 << 20)):
        client.write(CONTROL_ID, bytes([octet]))
    client.get()


def critical_streams():
    closed, created = Application(H3_CLOSED_CRITICAL_STREAM), Application(H3_STREAM_CREATION_ERROR)
    for name, number in (("control", CONTROL_ID), ("encoder", ENCODER_ID), ("decoder", DECODER_ID)):
        yield told(f"the {name} stream ends", "6.2.1", closed, number, b"", True)
        yield Case(f"the {name} stream is reset", "RFC 9114 6.2.1", closed,
                   lambda c, number=number: c.frames(of(RESET_STREAM, number, 0x100, len_of(c, number))))
    for name, kind in (("another control stream", CONTROL), ("another encoder stream", ENCODER),
                       ("another decoder stream", DECODER), ("a push stream of a client", PUSH)):
        yield Case(name, "RFC 9114 6.2", created, lambda c, kind=kind: c.write(NEXT_UNI, varint(kind)), needs=a_fourth)
    yield Case("the control stream is reopened", "RFC 9114 6.2.1", Application(H3_CLOSED_CRITICAL_STREAM, H3_STREAM_CREATION_ERROR),
               lambda c: (c.write(CONTROL_ID, b"", True), c.write(NEXT_UNI, b"\0\x04\0")))
    yield Case("streams of reserved kinds", "RFC 9114 6.2.3", Answered(), reserved_streams)
    yield Case("a stream that ends before its kind", "RFC 9114 6.2", Answered(),
               lambda c: (c.write(NEXT_UNI, b"", True), c.get()), needs=a_fourth)
    yield Case("a stream that is reset before its kind", "RFC 9114 6.2", Answered(),
               lambda c: (c.frames(of(RESET_STREAM, NEXT_UNI, 0x100, 0)), c.get()), needs=a_fourth)


def a_fourth(client):
    """Streams of one direction beside the three that a client needs."""
    return None if client.quic._remote_max_streams_uni > 3 else "no more streams are allowed"


def len_of(client, number):
    """The size that the stream has come to."""
    return client.quic._streams[number].sender._buffer_stop


def reserved_streams(client):
    for index in range(3):
        client.write(NEXT_UNI + 4 * index, varint(GREASE + 31 * index) + b"anything", index % 2 == 1)
    client.get()


def request_frames():
    unexpected = Application(H3_FRAME_UNEXPECTED)
    yield told("DATA before HEADERS", "4.1", unexpected, REQUEST, frame(DATA, b""))
    for name, kind in (("CANCEL_PUSH", CANCEL_PUSH), ("SETTINGS", SETTINGS), ("GOAWAY", GOAWAY), ("MAX_PUSH_ID", MAX_PUSH_ID),
                       ("PUSH_PROMISE", PUSH_PROMISE), *((f"{name} of HTTP/2", kind) for name, kind in OF_HTTP2.items())):
        yield told(f"{name} on a request stream", "7.2", unexpected, REQUEST, frame(kind, b"\0"))
        yield Case(f"{name} behind HEADERS", "RFC 9114 7.2", unexpected,
                   lambda c, kind=kind: c.write(REQUEST, head(c, "POST") + frame(kind, b"\0")))
    trailers = frame(HEADERS, prefix() + literal("x-trailer", "1"))
    yield Case("DATA behind trailers", "RFC 9114 4.1", unexpected,
               lambda c: c.write(REQUEST, head(c, "POST") + trailers + frame(DATA, b"x")))
    yield Case("HEADERS behind trailers", "RFC 9114 4.1", unexpected,
               lambda c: c.write(REQUEST, head(c, "POST") + trailers + trailers))
    cut_off = StreamError(H3_FRAME_ERROR, H3_REQUEST_INCOMPLETE)
    yield Case("HEADERS that the end cuts off", "RFC 9114 7.1", cut_off, lambda c: c.write(REQUEST, head(c)[:-3], True))
    yield Case("DATA that the end cuts off", "RFC 9114 7.1", cut_off,
               lambda c: c.write(REQUEST, head(c, "POST") + frame(DATA, b"some")[:-1], True))
    yield Case("a stream that ends within a frame's length", "RFC 9114 7.1", cut_off,
               lambda c: c.write(REQUEST, head(c, "POST") + b"\0\x40", True))
    yield told("a request without HEADERS", "4.1", StreamError(H3_REQUEST_INCOMPLETE), REQUEST, b"", True)
    yield told("a request of a reserved frame alone", "4.1", StreamError(H3_REQUEST_INCOMPLETE), REQUEST, frame(GREASE, b"x"), True)
    yield Case("reserved frames everywhere", "RFC 9114 9", Answered(), lambda c: c.write(
        REQUEST, frame(GREASE, b"x" * 100) + head(c, "POST") + frame(GREASE) + frame(DATA, b"some") + frame(GREASE, b"y"), True))
    yield Case("a request octet by octet", "RFC 9114 4.1", Answered(), slowly)
    yield Case("a request with trailers", "RFC 9114 4.1", Answered(),
               lambda c: c.write(REQUEST, head(c, "POST") + frame(DATA, b"some") + trailers, True))
    yield Case("empty DATA", "RFC 9114 7.2.1", Answered(),
               lambda c: c.write(REQUEST, head(c, "POST") + frame(DATA) * 3 + frame(DATA, b"x"), True))


def slowly(client):
    octets = head(client, "POST") + frame(DATA, b"some")
    for index in range(len(octets)):
        client.write(REQUEST, octets[index:index + 1], index == len(octets) - 1)


def changed(*more, without=(), method="GET", first=()):
    """A whole request with these fields first, others last, and without some."""
    return lambda c: c.write(REQUEST, frame(HEADERS, section([*first, *c.fields(method, *more, without=without)])), True)


MALFORMED = {
    "no :method": changed(without=(":method",)),
    "no :scheme": changed(without=(":scheme",)),
    "no :path": changed(without=(":path",)),
    "no :authority, and no host": changed(without=(":authority",)),
    ":authority that is misspelled": changed((":autority", "127.0.0.1"), without=(":authority",)),
    ":method twice": changed((":method", "GET")),
    ":path twice": changed((":path", "/other")),
    ":status of a request": changed((":status", "200")),
    "an unknown pseudo-header": changed((":foo", "bar")),
    "a pseudo-header behind fields": changed(first=[("foo", "bar")]),
    "an empty :path": changed((":path", ""), without=(":path",)),
    "an empty name": changed(("", "x")),
    "a name in upper case": changed(("Upper", "x")),
    "a name with a space": changed(("a b", "x")),
    "a value with a line feed": changed(("x", "a\nb")),
    "a value with a carriage return": changed(("x", "a\rb")),
    "a value with NUL": changed(("x", "a\0b")),
    "connection": changed(("connection", "close")),
    "keep-alive": changed(("keep-alive", "1")),
    "proxy-connection": changed(("proxy-connection", "x")),
    "transfer-encoding": changed(("transfer-encoding", "chunked")),
    "upgrade": changed(("upgrade", "x")),
    "te that is not trailers": changed(("te", "gzip")),
    "content-length that is no number": changed(("content-length", "x"), method="POST"),
    "two lengths": changed(("content-length", "4"), ("content-length", "5"), method="POST"),
    "more is said than comes": changed(("content-length", "4"), method="POST"),
    ":protocol without CONNECT": changed((":protocol", "websocket")),
    "host that is another than :authority": changed(("host", "other.example")),
}


def messages():
    wrong = StreamError(H3_MESSAGE_ERROR)
    for name, do in MALFORMED.items():
        yield Case(f"malformed: {name}", "RFC 9114 4.1.2", wrong, do)
    yield Case("malformed: more comes than is said", "RFC 9114 4.1.2", wrong,
               lambda c: c.write(REQUEST, head(c, "POST", ("content-length", "2")) + frame(DATA, b"some"), True))
    yield Case("malformed: a pseudo-header in trailers", "RFC 9114 4.3", wrong, lambda c: c.write(
        REQUEST, head(c, "POST") + frame(DATA, b"x") + frame(HEADERS, prefix() + literal(":path", "/")), True))
    yield Case("others go on beside a malformed request", "RFC 9114 8", Answered(4), beside)
    yield Case("a field section that is too large", "RFC 9114 4.2.2", Unanswered(), too_large)
    yield Case("te: trailers", "RFC 9114 4.2", Answered(), changed(("te", "trailers")))
    yield Case("priority", "RFC 9218 5", Answered(), changed(("priority", "u=1, i")))
    yield Case("PRIORITY_UPDATE of a request", "RFC 9218 7.2", Answered(),
               lambda c: (c.write(CONTROL_ID, frame(0xf0700, varint(0) + b"u=1")), c.get()))
    yield told("PRIORITY_UPDATE of a stream that is none of requests", "7.2", Application(H3_ID_ERROR), CONTROL_ID,
               frame(0xf0700, varint(2) + b"u=1"))
    yield told("PRIORITY_UPDATE on a request stream", "7.2", Application(H3_FRAME_UNEXPECTED), REQUEST,
               frame(0xf0700, varint(0) + b"u=1"))


def beside(client):
    changed(without=(":path",))(client)
    client.get(4)


def too_large(client):
    client.write(REQUEST, frame(HEADERS, section(client.fields("GET", *((f"x-{n}", "y" * 1000) for n in range(300))))), True)


def cases():
    for part in (control_streams, settings_values, critical_streams, request_frames, messages):
        yield from part()
