"""Streams: RFC 9113 section 5; and what a peer may cost, section 10.5."""
import frames
import hpack
from dialogue import After, Answer, Case, Flood
from expect import Answered, Calmed, Fatal, Reset, Survives, TooManyStreams
from frames import (END_STREAM, PROTOCOL_ERROR, STREAM_CLOSED, continuation, data, frame, headers, ping, priority,
                    rst_stream, settings, window_update)

PROTOCOL, CLOSED = Fatal(PROTOCOL_ERROR), Fatal(STREAM_CLOSED)
HELD = settings((frames.INITIAL_WINDOW_SIZE, 0))   # a response's content does not end the stream


def idle(t):
    section = "RFC 9113 5.1"
    return [
        Case("DATA on an idle stream", section, [data(1, b"x")], PROTOCOL),
        Case("RST_STREAM on an idle stream above others", section, [t.get(), Answer(), rst_stream(3)], PROTOCOL),
        Case("WINDOW_UPDATE on an idle stream above others", section, [t.get(), Answer(), window_update(3, 1)],
             PROTOCOL),
        Case("DATA on an idle stream above others", section, [t.get(), Answer(), data(3, b"x")], PROTOCOL),
        Case("DATA on a stream of the server", section, [t.get(), Answer(), data(2, b"x")], PROTOCOL),
        Case("RST_STREAM on a stream of the server", section, [t.get(), Answer(), rst_stream(2)], PROTOCOL),
        Case("WINDOW_UPDATE on a stream of the server", section, [t.get(), Answer(), window_update(2, 1)], PROTOCOL),
    ]


def half_closed(t):
    """The request has ended, and the response has not."""
    section = "RFC 9113 5.1"

    def held(name, expect, *send):
        return Case(f"{name} on a half-closed stream", section, [t.get(), Answer(head_only=True), *send], expect,
                    settings=HELD)

    largest = window_update(1, 1 << 30)
    return [
        held("DATA", Reset(1, STREAM_CLOSED), data(1, b"x")),
        held("empty DATA", Reset(1, STREAM_CLOSED), data(1, b"", END_STREAM)),
        held("HEADERS", Reset(1, STREAM_CLOSED), t.get()),
        held("trailers", Reset(1, STREAM_CLOSED), headers(1, hpack.block([("a", "b")]))),
        held("CONTINUATION", PROTOCOL, continuation(1)),
        held("WINDOW_UPDATE", Answered(), largest),
        held("PRIORITY", Answered(), priority(1), largest),
        held("RST_STREAM", Answered(3), rst_stream(1), settings((frames.INITIAL_WINDOW_SIZE, 65535)), t.get(3)),
        held("unknown frame", Answered(), frame(frames.UNKNOWN, 0, 1, b"x"), largest),
    ]


def ended(t):
    """Both have ended."""
    section = "RFC 9113 5.1"

    def after(name, expect, *send):
        return Case(f"{name} on an ended stream", section, [t.get(), Answer(), *send], expect)

    return [
        after("DATA", Reset(1, STREAM_CLOSED), data(1, b"x")),
        after("HEADERS", CLOSED, t.get()),
        after("HEADERS without END_STREAM", CLOSED, t.post()),
        after("trailers", CLOSED, headers(1, hpack.block([("a", "b")]))),
        after("WINDOW_UPDATE", Answered(3), window_update(1, 100), t.get(3)),
        after("RST_STREAM", Answered(3), rst_stream(1), t.get(3)),
        after("PRIORITY", Answered(3), priority(1), t.get(3)),
        Case("DATA on a stream that ended with DATA", section,
             [t.post() + data(1, b"x", END_STREAM), Answer(), data(1, b"x")], Reset(1, STREAM_CLOSED)),
        Case("HEADERS on a stream that ended with trailers", section,
             [t.post() + data(1, b"x") + headers(1, hpack.block([("a", "b")])), Answer(), t.get(1)], CLOSED),
        Case("HEADERS on an ended stream, others ended since", section,
             [b"".join(t.get(stream) for stream in range(1, 21, 2)), Answer(19), t.get(5)], CLOSED),
    ]


def reset(t):
    """The client has reset it."""
    section = "RFC 9113 5.1"

    def after(name, expect, *send):
        return Case(f"{name} after the client's RST_STREAM", section, [t.post() + rst_stream(1), *send], expect)

    return [
        after("DATA", Reset(1, STREAM_CLOSED), data(1, b"x")),
        after("empty DATA with END_STREAM", Reset(1, STREAM_CLOSED), data(1, b"", END_STREAM)),
        after("HEADERS", Reset(1, STREAM_CLOSED), t.get()),
        after("block of two frames", Reset(1, STREAM_CLOSED),
              headers(1, t.block(), END_STREAM) + continuation(1)),
        after("CONTINUATION", PROTOCOL, continuation(1)),
        after("WINDOW_UPDATE", Answered(3), window_update(1, 1), t.get(3)),
        after("second RST_STREAM", Answered(3), rst_stream(1), t.get(3)),
        after("PRIORITY", Answered(3), priority(1), t.get(3)),
        after("another stream", Answered(3), t.get(3)),
    ]


def identifiers(t):
    section = "RFC 9113 5.1.1"
    return [
        Case("HEADERS on an even stream", section, [t.get(2)], PROTOCOL),
        Case("HEADERS on an even stream above others", section, [t.get(), Answer(), t.get(4)], PROTOCOL),
        Case("HEADERS on a lower stream", section, [t.get(5), t.get(3)], PROTOCOL),
        Case("HEADERS on a lower stream, later", section, [t.get(5), Answer(5), t.get(3)], PROTOCOL),
        Case("HEADERS on a stream far below", section, [t.get(201), Answer(201), t.get(7)], PROTOCOL),
        Case("DATA on a lower stream", section, [t.get(5), data(3, b"x")], Fatal(STREAM_CLOSED, PROTOCOL_ERROR)),
        Case("ids with gaps", section, [t.get(1), t.get(9), t.get(1001)], Answered(1001)),
        Case("last id", section, [t.get(2**31 - 1)], Answered(2**31 - 1)),
        Case("id below the last one", section, [t.get(2**31 - 1), Answer(2**31 - 1), t.get(2**31 - 3)], PROTOCOL),
        Case("WINDOW_UPDATE on a stream that was left out", section, [t.get(5), window_update(3, 1)], Survives()),
        Case("RST_STREAM on a stream that was left out", section, [t.get(5), Answer(5), rst_stream(3), t.get(7)],
             Answered(7)),
    ]


def concurrency(t):
    section = "RFC 9113 5.1.2"

    def too_many(seen):
        limit = seen.settings[frames.MAX_CONCURRENT_STREAMS]
        return b"".join(t.post(1 + 2 * i) for i in range(limit + 1))

    def just_enough(seen):
        limit = seen.settings[frames.MAX_CONCURRENT_STREAMS]
        return b"".join(t.post(1 + 2 * i) for i in range(limit)) + data(1, b"x", END_STREAM)

    return [
        Case("more streams than allowed", section, [After(too_many)], TooManyStreams()),
        Case("as many streams as allowed", section, [After(just_enough)], Answered()),
        Case("ten requests at once", section, [b"".join(t.get(1 + 2 * i) for i in range(10))], Answered(19)),
    ]


def floods(t):
    """Much more of it than any honest client sends, and little that would excuse it."""
    section, calmed = "RFC 9113 10.5", Calmed()
    streams = iter(range(1, 1 << 30, 2))

    def resets(_seen):
        return b"".join(t.get(stream) + rst_stream(stream) for _, stream in zip(range(4000), streams))

    return [
        Case("flood of PING", section, [Flood(ping() * 100, 300)], calmed),
        Case("flood of PING ACK", section, [Flood(ping(flags=frames.ACK) * 100, 300)], calmed),
        Case("flood of SETTINGS", section, [Flood(settings() * 100, 300)], calmed),
        Case("flood of windows in SETTINGS", section,
             [Flood(settings((frames.INITIAL_WINDOW_SIZE, 0), (frames.INITIAL_WINDOW_SIZE, 9)) * 100, 300)], calmed),
        Case("flood of PRIORITY", section, [Flood(priority(1) * 100, 300)], calmed),
        Case("flood of PRIORITY_UPDATE", section, [Flood(frames.priority_update(1) * 100, 300)], calmed),
        Case("flood of WINDOW_UPDATE", section, [Flood(window_update(0, 1) * 100, 300)], calmed),
        Case("flood of unknown frames", section, [Flood(frame(frames.UNKNOWN) * 100, 300)], calmed),
        Case("flood of GOAWAY", section, [t.post(), Flood(frames.goaway() * 100, 300)], calmed),
        Case("flood of empty DATA", section, [t.post(), Flood(data(1) * 100, 300)], calmed),
        Case("flood of padding", section, [t.post(), Flood(data(1, b"\x02\0\0", frames.PADDED) * 100, 300)], calmed),
        Case("flood of CONTINUATION", section,
             [t.get(flags=END_STREAM), Flood(continuation(1, hpack.literal("a", "b"), 0) * 10, 300)], calmed,
             is_marked=False),
        Case("flood of empty CONTINUATION", section, [t.get(flags=END_STREAM), Flood(continuation(1, b"", 0) * 10, 300)],
             calmed, is_marked=False),
        Case("rapid reset", section, [After(resets)], calmed),
        Case("settings by the hundred in one frame", section, [settings(*[(0x99, 0)] * 1000)], calmed),
    ]


def cases(t):
    return [case for part in (idle, half_closed, ended, reset, identifiers, concurrency, floods) for case in part(t)]
