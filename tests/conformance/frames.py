"""Frames of HTTP/2 (RFC 9113), made as told, wrong ones included."""
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10
UNKNOWN = 0xbb

ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20
WHOLE = END_STREAM | END_HEADERS

ERRORS = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
          "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
          "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED")
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)

(HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE,
 MAX_HEADER_LIST_SIZE) = range(1, 7)
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 8, 9
WINDOW, LARGEST_WINDOW, FRAME_MAX = 65535, 2**31 - 1, 16384


def error_name(code):
    return ERRORS[code] if code < len(ERRORS) else hex(code)


def number(value):
    return struct.pack(">I", value)


def frame(kind, flags=0, stream=0, payload=b""):
    """`stream` may have the reserved bit."""
    return number(len(payload))[1:] + bytes([kind, flags]) + number(stream) + payload


def data(stream, octets=b"", flags=0):
    return frame(DATA, flags, stream, octets)


def headers(stream, block, flags=WHOLE):
    return frame(HEADERS, flags, stream, block)


def continuation(stream, block=b"", flags=END_HEADERS):
    return frame(CONTINUATION, flags, stream, block)


def priority(stream, on=0, weight=15):
    return frame(PRIORITY, 0, stream, number(on) + bytes([weight]))


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, number(code))


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in pairs))


def ping(octets=b"12345678", flags=0):
    return frame(PING, flags, 0, octets)


def goaway(last=0, code=NO_ERROR, text=b""):
    return frame(GOAWAY, 0, 0, number(last) + number(code) + text)


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, number(increment))


def priority_update(stream, value=b"u=1", on=0):
    return frame(PRIORITY_UPDATE, 0, on, number(stream) + value)


SETTINGS_ACK = frame(SETTINGS, ACK)
