"""Connections and frames: RFC 9113 sections 3.4, 4 and 6."""
import frames
import hpack
from dialogue import Answer, Case, Slowly
from expect import Answered, Closed, Fatal, Reset, Says, Survives
from frames import (END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_MAX, FRAME_SIZE_ERROR, LARGEST_WINDOW, PADDED,
                    PREFACE, PRIORITIZED, PROTOCOL_ERROR, UNKNOWN, WHOLE, WINDOW, continuation, data,
                    frame, goaway, headers, ping, priority, rst_stream, settings, window_update)

PROTOCOL, SIZE = Fatal(PROTOCOL_ERROR), Fatal(FRAME_SIZE_ERROR)
R = 1 << 31      # the reserved bit
HELD = settings((frames.INITIAL_WINDOW_SIZE, 0))   # a response's content does not end the stream


def beginnings(t):
    section = "RFC 9113 3.4"

    def bare(name, expect, *send, marked=False):
        return Case(name, section, send, expect, is_bare=True, is_marked=marked)

    return [
        bare("preface of another protocol", Closed(), b"INVALID CONNECTION PREFACE\r\n\r\n"),
        bare("preface with a wrong last letter", Closed(), PREFACE[:-1] + b"\r" + settings()),
        bare("HEADERS before SETTINGS", PROTOCOL, PREFACE + t.get()),
        bare("PING before SETTINGS", PROTOCOL, PREFACE + ping()),
        bare("WINDOW_UPDATE before SETTINGS", PROTOCOL, PREFACE + window_update(0, 1)),
        bare("unknown frame before SETTINGS", PROTOCOL, PREFACE + frame(UNKNOWN)),
        bare("acknowledgement before SETTINGS", PROTOCOL, PREFACE + frames.SETTINGS_ACK),
        bare("preface twice", Fatal(PROTOCOL_ERROR, FRAME_SIZE_ERROR), PREFACE + PREFACE + settings()),
        bare("request in the first segment", Answered(), PREFACE + settings() + t.get()),
        bare("octet by octet", Answered(), Slowly(PREFACE + settings() + t.get())),
        bare("SETTINGS are acknowledged", Says("SETTINGS ACK", lambda seen: seen.acknowledged == 1, waits=True),
             PREFACE + settings()),
    ]


def formats(t):
    """Unknown types and flags, and the reserved bit."""
    section = "RFC 9113 4.1"
    return [
        Case("unknown frame on stream 0", section, [frame(UNKNOWN, 0xff, 0, b"x" * 30), t.get()], Answered()),
        Case("unknown frame on an idle stream", section, [frame(UNKNOWN, 0, 9, b"x"), t.get()], Answered()),
        Case("unknown frame on an open stream", section, [t.post(), frame(UNKNOWN, 1, 1, b"x"), data(1, b"x", 1)],
             Answered()),
        Case("unknown frame on a closed stream", section, [t.get(), Answer(), frame(UNKNOWN, 1, 1, b"x")], Survives()),
        Case("largest unknown frame", section, [frame(UNKNOWN, 0, 0, b"x" * FRAME_MAX), t.get()], Answered()),
        Case("unknown flags of PING", section, [ping(flags=0xfe)], Says("PING ACK", lambda seen: len(seen.pongs) == 1)),
        Case("unknown flags of SETTINGS", section, [frame(frames.SETTINGS, 0xfe)],
             Says("SETTINGS ACK", lambda seen: seen.acknowledged == 1)),
        Case("unknown flags of DATA", section, [t.post(), data(1, b"x", 0xf7)], Answered()),
        Case("unknown flags of HEADERS", section, [t.get(flags=WHOLE | 0xd2)], Answered()),
        Case("unknown flags of WINDOW_UPDATE", section, [frame(frames.WINDOW_UPDATE, 0xff, 0, frames.number(1))],
             Survives()),
        Case("unknown flags of RST_STREAM", section, [t.post(), frame(frames.RST_STREAM, 0xff, 1, frames.number(8))],
             Survives()),
        Case("unknown flags of GOAWAY", section, [t.post(), frame(frames.GOAWAY, 0xff, 0, bytes(8)),
                                                  data(1, b"x", END_STREAM)], Answered()),
        Case("reserved bit of HEADERS", section, [t.get(R | 1)], Answered()),
        Case("reserved bit of DATA", section, [t.post(), data(R | 1, b"x", END_STREAM)], Answered()),
        Case("reserved bit of PING", section, [frame(frames.PING, 0, R, b"87654321")],
             Says("PING ACK", lambda seen: seen.pongs == [b"87654321"])),
        Case("reserved bit of an increment", section, [window_update(0, R | 1)], Survives()),
    ]


def sizes(t):
    section = "RFC 9113 4.2"
    large = b"\0" * (FRAME_MAX + 1)
    room = hpack.literal("x", "y" * 16000)
    return [
        Case("largest DATA", section, [t.post(), data(1, large[:-1], END_STREAM)], Answered()),
        Case("DATA too large", section, [t.post(), data(1, large, END_STREAM)], Reset(1, FRAME_SIZE_ERROR)),
        Case("HEADERS too large", section, [headers(1, t.block() + hpack.literal("x", "y" * FRAME_MAX))], SIZE),
        Case("CONTINUATION too large", section, [t.get(flags=END_STREAM) + continuation(1, room + hpack.literal(
            "x", "y" * 400))], SIZE, is_marked=False),
        Case("CONTINUATION far too large", section, [t.get(flags=END_STREAM) + continuation(
            1, hpack.literal("x", "y" * 100) * 1000)], SIZE, is_marked=False),
        Case("SETTINGS too large", section, [frame(frames.SETTINGS, 0, 0, bytes(6 * 2731))], SIZE),
        Case("unknown frame too large", section, [frame(UNKNOWN, 0, 0, large)], SIZE),
        Case("PING too large", section, [frame(frames.PING, 0, 0, large)], SIZE),
        Case("GOAWAY too large", section, [frame(frames.GOAWAY, 0, 0, large)], SIZE),
    ]


def blocks(t):
    """Header blocks: nothing comes between their frames."""
    section = "RFC 9113 4.3"
    between = {
        "DATA": data(1, b"x"), "DATA of another stream": data(3, b"x"), "HEADERS": t.get(1),
        "HEADERS of another stream": t.get(3), "PRIORITY": priority(1), "RST_STREAM": rst_stream(1),
        "SETTINGS": settings(), "SETTINGS ACK": frames.SETTINGS_ACK,
        "PUSH_PROMISE": frame(frames.PUSH_PROMISE, END_HEADERS, 1, frames.number(2)), "PING": ping(), "GOAWAY": goaway(),
        "WINDOW_UPDATE": window_update(1, 1), "CONTINUATION of another stream": continuation(3),
        "CONTINUATION of stream 0": continuation(0), "PRIORITY_UPDATE": frames.priority_update(1),
        "unknown frame": frame(UNKNOWN, 0, 1), "unknown frame of stream 0": frame(UNKNOWN),
    }
    whole = t.block()
    cut = [Case(f"{name} within a block", section, [t.get(flags=END_STREAM) + octets], PROTOCOL, is_marked=False)
           for name, octets in between.items()]
    later = [Case(f"{name} after a CONTINUATION", section,
                  [t.get(flags=END_STREAM) + continuation(1, hpack.literal("a", "b"), 0) + between[name]],
                  PROTOCOL, is_marked=False) for name in ("DATA", "HEADERS of another stream", "PING", "unknown frame")]
    return cut + later + [
        Case("CONTINUATION octet by octet", section, [t.get(flags=END_STREAM), Slowly(continuation(
            1, hpack.literal("a", "b")))], Answered()),
        Case("three CONTINUATIONs", section, [
            t.get(flags=END_STREAM) + continuation(1, hpack.literal("a", "b"), 0) * 2 + continuation(1)], Answered()),
        Case("block cut within fields", section, [headers(1, whole[:5], END_STREAM) + continuation(
            1, whole[5:20], 0) + continuation(1, whole[20:])], Answered()),
        Case("empty HEADERS and a CONTINUATION", section, [headers(1, b"", END_STREAM) + continuation(1, whole)],
             Answered()),
        Case("END_STREAM on a CONTINUATION means nothing", section,
             [t.post(flags=0) + continuation(1, b"", WHOLE), data(1, b"x", END_STREAM)], Answered()),
    ]


def data_frames(t):
    section = "RFC 9113 6.1"

    def padded(octets, flags=0):
        return data(1, octets, PADDED | flags)

    return [
        Case("DATA on stream 0", section, [data(0, b"x")], PROTOCOL),
        Case("padding", section, [t.post(), padded(b"\x03abc\0\0\0", END_STREAM)], Answered()),
        Case("nothing but padding", section, [t.post(), padded(b"\xff" + bytes(255)), data(1, b"", END_STREAM)],
             Answered()),
        Case("padding of no octets", section, [t.post(), padded(b"\0abc", END_STREAM)], Answered()),
        Case("padding as long as the payload", section, [t.post(), padded(b"\x04abc")], PROTOCOL),
        Case("padding longer than the payload", section, [t.post(), padded(b"\xffabc")], PROTOCOL),
        Case("no room for the length of padding", section, [t.post(), padded(b"")],
             Fatal(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
        Case("a few empty DATA", section, [t.post(), data(1) * 3, data(1, b"", END_STREAM)], Answered()),
    ]


def headers_frames(t):
    section = "RFC 9113 6.2"
    whole = t.block()
    return [
        Case("HEADERS on stream 0", section, [t.get(0)], PROTOCOL),
        Case("HEADERS with padding", section, [headers(1, b"\x05" + whole + bytes(5), WHOLE | PADDED)], Answered()),
        Case("HEADERS with a priority", section, [headers(1, bytes(4) + b"\x0f" + whole, WHOLE | PRIORITIZED)],
             Answered()),
        Case("HEADERS with padding and a priority", section,
             [headers(1, b"\x02" + bytes(4) + b"\x0f" + whole + bytes(2), WHOLE | PADDED | PRIORITIZED)], Answered()),
        Case("HEADERS with too much padding", section, [headers(1, b"\xff" + whole, WHOLE | PADDED)], PROTOCOL),
        Case("HEADERS with padding over the priority", section,
             [headers(1, bytes([len(whole) + 1]) + bytes(4) + b"\x0f" + whole, WHOLE | PADDED | PRIORITIZED)], PROTOCOL),
        Case("HEADERS without room for the length of padding", section, [headers(1, b"", WHOLE | PADDED)],
             Fatal(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
        Case("HEADERS without room for a priority", section, [headers(1, b"1234", WHOLE | PRIORITIZED)],
             Fatal(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
        Case("HEADERS that depends on itself", "RFC 7540 5.3.1",
             [headers(1, frames.number(1) + b"\x0f" + whole, WHOLE | PRIORITIZED)], Reset(1, PROTOCOL_ERROR)),
    ]


def priority_frames(t):
    section, update = "RFC 9113 6.3", "RFC 9218 7.1"
    return [
        Case("PRIORITY on stream 0", section, [priority(0)], PROTOCOL),
        Case("PRIORITY on an idle stream", section, [priority(7), t.get(7)], Answered(7)),
        Case("PRIORITY on an open stream", section, [t.post(), priority(1, 3), data(1, b"x", END_STREAM)], Answered()),
        Case("PRIORITY with 4 octets", section, [t.post(), frame(frames.PRIORITY, 0, 1, bytes(4))],
             Reset(1, FRAME_SIZE_ERROR)),
        Case("PRIORITY with 6 octets", section, [t.post(), frame(frames.PRIORITY, 0, 1, bytes(6))],
             Reset(1, FRAME_SIZE_ERROR)),
        Case("PRIORITY on itself, open", "RFC 7540 5.3.1", [t.post(), priority(1, 1)], Reset(1, PROTOCOL_ERROR)),
        Case("PRIORITY on itself, idle", "RFC 7540 5.3.1", [priority(1, 1)], Reset(1, PROTOCOL_ERROR)),
        Case("PRIORITY_UPDATE", update, [frames.priority_update(1), t.get()], Answered()),
        Case("PRIORITY_UPDATE with a value of no sense", update, [frames.priority_update(1, b"\xff;;u=99,i=?"), t.get()],
             Answered()),
        Case("PRIORITY_UPDATE for stream 0", update, [frames.priority_update(0)], PROTOCOL),
        Case("PRIORITY_UPDATE on a stream", update, [t.post(), frames.priority_update(1, on=1)], PROTOCOL),
        Case("PRIORITY_UPDATE without an id", update, [frame(frames.PRIORITY_UPDATE, 0, 0, b"abc")], SIZE),
        Case("priority field", "RFC 9218 4", [t.get(1, ("priority", "u=0, i"))], Answered()),
        Case("priority field of no sense", "RFC 9218 4", [t.get(1, ("priority", "u=(,,"))], Answered()),
    ]


def rst_stream_frames(t):
    section = "RFC 9113 6.4"
    return [
        Case("RST_STREAM on stream 0", section, [rst_stream(0)], PROTOCOL),
        Case("RST_STREAM on an idle stream", section, [rst_stream(1)], PROTOCOL),
        Case("RST_STREAM with 3 octets", section, [t.post(), frame(frames.RST_STREAM, 0, 1, bytes(3))], SIZE),
        Case("RST_STREAM with 5 octets", section, [t.post(), frame(frames.RST_STREAM, 0, 1, bytes(5))], SIZE),
        Case("RST_STREAM with an unknown code", section, [t.post(), rst_stream(1, 0xfffffff0), t.get(3)], Answered(3)),
    ]


def settings_frames(t):
    section, values = "RFC 9113 6.5", "RFC 9113 6.5.2"
    acknowledged = Says("SETTINGS ACK", lambda seen: seen.acknowledged == 1)

    def wrong(key, value, code=PROTOCOL_ERROR, where=values):
        return Case(f"setting {key} of {value}", where, [settings((key, value))], Fatal(code))

    def right(key, value, where=values):
        return Case(f"setting {key} of {value}", where, [settings((key, value)), t.get()], Answered())

    return [
        Case("SETTINGS on a stream", section, [frame(frames.SETTINGS, 0, 1)], PROTOCOL),
        Case("SETTINGS ACK on a stream", section, [frame(frames.SETTINGS, frames.ACK, 1)], PROTOCOL),
        Case("SETTINGS ACK with a payload", section, [frame(frames.SETTINGS, frames.ACK, 0, bytes(6))], SIZE),
        Case("SETTINGS with 5 octets", section, [frame(frames.SETTINGS, 0, 0, bytes(5))], SIZE),
        Case("SETTINGS with 7 octets", section, [frame(frames.SETTINGS, 0, 0, bytes(7))], SIZE),
        Case("empty SETTINGS", "RFC 9113 6.5.3", [settings()], acknowledged),
        Case("SETTINGS twice", "RFC 9113 6.5.3", [settings() * 2],
             Says("SETTINGS ACK twice", lambda seen: seen.acknowledged == 2)),
        Case("a setting twice", "RFC 9113 6.5.3", [settings((frames.MAX_FRAME_SIZE, 20000), (frames.MAX_FRAME_SIZE, 16384)),
                                                   t.get()], Answered()),
        right(0x99, 2**32 - 1), right(0, 5), right(frames.ENABLE_PUSH, 0), right(frames.ENABLE_PUSH, 1),
        wrong(frames.ENABLE_PUSH, 2), wrong(frames.ENABLE_PUSH, 2**32 - 1),
        right(frames.INITIAL_WINDOW_SIZE, LARGEST_WINDOW),
        wrong(frames.INITIAL_WINDOW_SIZE, LARGEST_WINDOW + 1, FLOW_CONTROL_ERROR),
        wrong(frames.INITIAL_WINDOW_SIZE, 2**32 - 1, FLOW_CONTROL_ERROR),
        wrong(frames.MAX_FRAME_SIZE, 16383), right(frames.MAX_FRAME_SIZE, 16384),
        right(frames.MAX_FRAME_SIZE, 2**24 - 1), wrong(frames.MAX_FRAME_SIZE, 2**24),
        right(frames.HEADER_TABLE_SIZE, 0), right(frames.HEADER_TABLE_SIZE, 2**32 - 1),
        right(frames.MAX_HEADER_LIST_SIZE, 1000), right(frames.MAX_CONCURRENT_STREAMS, 0),
        wrong(frames.ENABLE_CONNECT_PROTOCOL, 2, where="RFC 8441 3"),
        wrong(frames.NO_RFC7540_PRIORITIES, 2, where="RFC 9218 2.1"),
    ]


def push_ping_goaway(t):
    promise = frame(frames.PUSH_PROMISE, END_HEADERS, 1, frames.number(2) + t.block())
    return [
        Case("PUSH_PROMISE on an open stream", "RFC 9113 8.4", [t.post(), promise], PROTOCOL),
        Case("PUSH_PROMISE on an idle stream", "RFC 9113 8.4", [promise], PROTOCOL),
        Case("PUSH_PROMISE on stream 0", "RFC 9113 6.6", [frame(frames.PUSH_PROMISE, END_HEADERS, 0, frames.number(2))],
             PROTOCOL),
        Case("PING", "RFC 9113 6.7", [ping(b"\0\1\2\3\4\5\6\7")],
             Says("the same octets", lambda seen: seen.pongs == [b"\0\1\2\3\4\5\6\7"])),
        Case("PING ACK", "RFC 9113 6.7", [ping(b"nobodysd", frames.ACK)], Says("no answer", lambda seen: not seen.pongs)),
        Case("PING on a stream", "RFC 9113 6.7", [t.post(), frame(frames.PING, 0, 1, bytes(8))], PROTOCOL),
        Case("PING with 7 octets", "RFC 9113 6.7", [ping(bytes(7))], SIZE),
        Case("PING with 9 octets", "RFC 9113 6.7", [ping(bytes(9))], SIZE),
        Case("PING without octets", "RFC 9113 6.7", [ping(b"")], SIZE),
        Case("PING ACK with 7 octets", "RFC 9113 6.7", [ping(bytes(7), frames.ACK)], SIZE),
        Case("GOAWAY on a stream", "RFC 9113 6.8", [t.post(), frame(frames.GOAWAY, 0, 1, bytes(8))], PROTOCOL),
        Case("GOAWAY with 7 octets", "RFC 9113 6.8", [frame(frames.GOAWAY, 0, 0, bytes(7))], SIZE),
        Case("GOAWAY while a request is on its way", "RFC 9113 6.8",
             [t.post(), goaway(0, frames.NO_ERROR, b"text"), data(1, b"x", END_STREAM)], Answered()),
        Case("GOAWAY twice", "RFC 9113 6.8", [t.post(), goaway(), goaway(), data(1, b"x", END_STREAM)], Answered()),
    ]


def windows(t):
    section = "RFC 9113 6.9"

    def first_data(size):
        return Says(f"a first DATA of {size} octets", lambda seen: seen.frames_of_data.get(1, [None])[0] == size,
                    waits=True)

    nothing = Says("a head without content", lambda seen: 1 in seen.statuses and not seen.amounts.get(1))
    initial = frames.INITIAL_WINDOW_SIZE
    return [
        Case("WINDOW_UPDATE of 0", section, [window_update(0, 0)], PROTOCOL),
        Case("WINDOW_UPDATE of 0 on a stream", section, [t.post(), window_update(1, 0)], Reset(1, PROTOCOL_ERROR)),
        Case("WINDOW_UPDATE of the reserved bit", section, [window_update(0, R)], PROTOCOL),
        Case("WINDOW_UPDATE with 3 octets", section, [frame(frames.WINDOW_UPDATE, 0, 0, bytes(3))], SIZE),
        Case("WINDOW_UPDATE with 5 octets", section, [frame(frames.WINDOW_UPDATE, 0, 0, bytes(4) + b"1")], SIZE),
        Case("WINDOW_UPDATE on an idle stream", section, [window_update(1, 1)], PROTOCOL),
        Case("largest window", "RFC 9113 6.9.1", [window_update(0, LARGEST_WINDOW - WINDOW)], Survives()),
        Case("window too large", "RFC 9113 6.9.1", [window_update(0, LARGEST_WINDOW - WINDOW + 1)],
             Fatal(FLOW_CONTROL_ERROR)),
        Case("window too large by two", "RFC 9113 6.9.1", [window_update(0, LARGEST_WINDOW - WINDOW), window_update(0, 1)],
             Fatal(FLOW_CONTROL_ERROR)),
        Case("largest window of a stream", "RFC 9113 6.9.1",
             [t.post(), window_update(1, LARGEST_WINDOW - WINDOW), data(1, b"x", END_STREAM)], Answered()),
        Case("window of a stream too large", "RFC 9113 6.9.1",
             [t.post(), window_update(1, LARGEST_WINDOW), ping()], Reset(1, FLOW_CONTROL_ERROR)),
        Case("window of no octets", "RFC 9113 6.9.2", [t.get(), Answer(head_only=True)], nothing, settings=HELD),
        Case("window of one octet", "RFC 9113 6.9.2", [t.get()], first_data(1), settings=settings((initial, 1))),
        Case("window opened later", "RFC 9113 6.9.2", [t.get(), Answer(head_only=True), window_update(1, 2)],
             first_data(2), settings=HELD),
        Case("window opened by SETTINGS", "RFC 9113 6.9.2", [t.get(), Answer(head_only=True), settings((initial, 3))],
             first_data(3), settings=HELD),
        Case("negative window", "RFC 9113 6.9.2",
             [t.get(), Answer(head_only=True), window_update(1, 3), settings((initial, 3)),
              window_update(1, LARGEST_WINDOW - 10)], Answered(), settings=HELD),
        Case("SETTINGS that make a window too large", "RFC 9113 6.9.2",
             [t.post(), window_update(1, LARGEST_WINDOW - WINDOW), settings((initial, WINDOW + 1))],
             Fatal(FLOW_CONTROL_ERROR)),
    ]


def continuations(t):
    section = "RFC 9113 6.10"
    return [
        Case("CONTINUATION without HEADERS", section, [continuation(1, t.block())], PROTOCOL),
        Case("CONTINUATION on stream 0", section, [continuation(0, b"")], PROTOCOL),
        Case("CONTINUATION after the end of a block", section, [t.get() + continuation(1)], PROTOCOL),
        Case("CONTINUATION after another's end", section, [t.get(flags=END_STREAM) + continuation(1) + continuation(1)],
             PROTOCOL),
        Case("CONTINUATION after DATA", section, [t.post() + data(1, b"x") + continuation(1)], PROTOCOL),
        Case("CONTINUATION after the response", section, [t.get(), Answer(), continuation(1)], PROTOCOL),
    ]


def cases(t):
    parts = (beginnings, formats, sizes, blocks, data_frames, headers_frames, priority_frames, rst_stream_frames,
             settings_frames, push_ping_goaway, windows, continuations)
    return [case for part in parts for case in part(t)]
