"""Both sides of HTTP/2. Frames are made and read here; python3-hpack knows the fields. Nothing is checked or refused on
the way out, so that tests can say what is wrong."""
import struct

import hpack

from talk import CUT, Head, Talk
from wire import Fields

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, ENABLE_CONNECT_PROTOCOL = 2, 3, 4, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_MAX, FIRST_WINDOW, WIDE = 16384, 65535, 1 << 30


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Stream(Talk):
    def __init__(self, connection, number):
        super().__init__(connection)
        self.number, self.window, self.waiting = number, connection.first_window, bytearray()
        self.ending = None  # None: goes on; else the trailers that follow what waits
        self.is_sent = False
        self.untaken = 0    # bytes of which the connection's window does not wait for the test
        connection.streams[number] = self


class Connection:
    can_multiplex = True

    def __init__(self, loop, pipe, is_client, window=FIRST_WINDOW, streams=1000):
        self.loop, self.pipe, self.is_client = loop, pipe, is_client
        self.buffer, self.streams, self.arrived, self.expects_preface = bytearray(), {}, [], not is_client
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder(max_header_list_size=1 << 22)
        self.first_window = self.window = FIRST_WINDOW  # what the peer takes: of a stream to begin with, of all
        self.peer_settings, self.goaways, self.section = {}, [], None
        self.next_number = 1
        pipe.feed, pipe.on_end = self.feed, self.on_end
        of_server = {MAX_CONCURRENT_STREAMS: streams, ENABLE_CONNECT_PROTOCOL: 1}
        values = {INITIAL_WINDOW_SIZE: window, **({ENABLE_PUSH: 0} if is_client else of_server)}
        pipe.write((PREFACE if is_client else b"")
                   + frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in values.items()))
                   + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WIDE)))

    @property
    def can_ask(self):
        return not self.pipe.is_ended and not self.goaways

    # ---- receiving

    def feed(self, data):
        self.buffer += data
        if self.expects_preface and len(self.buffer) >= len(PREFACE):
            assert self.buffer[:len(PREFACE)] == PREFACE, bytes(self.buffer[:100])
            del self.buffer[:len(PREFACE)]
            self.expects_preface = False
        at = 0
        while not self.expects_preface and len(self.buffer) >= at + 9:
            length = int.from_bytes(self.buffer[at:at + 3], "big")
            if len(self.buffer) < at + 9 + length:
                break
            kind, flags, stream = struct.unpack_from(">BBI", self.buffer, at + 3)
            self.on_frame(kind, flags, stream, bytes(self.buffer[at + 9:at + 9 + length]))
            at += 9 + length
        del self.buffer[:at]

    def on_end(self):
        for stream in self.streams.values():
            if not stream.is_over:
                stream.broken = CUT

    def on_frame(self, kind, flags, number, payload):
        assert len(payload) <= FRAME_MAX, "a frame that is too large"
        assert kind == CONTINUATION or not self.section, "a section is not complete"
        if kind == DATA:
            self.on_data(flags, number, payload)
        elif kind in (HEADERS, CONTINUATION):
            self.on_fields(kind, flags, number, payload)
        elif kind == RST_STREAM:
            self.on_reset(number, struct.unpack(">I", payload)[0])
        elif kind == SETTINGS and not flags & ACK:
            self.on_settings(payload)
        elif kind == PING and not flags & ACK:
            self.pipe.write(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.goaways.append(int.from_bytes(payload[:4], "big"))
        elif kind == WINDOW_UPDATE:
            self.on_window(number, struct.unpack(">I", payload)[0])

    def on_data(self, flags, number, payload):
        data = payload[1:len(payload) - payload[0]] if flags & PADDED else payload
        stream = self.streams[number]
        assert not stream.is_complete, "DATA after the end"
        assert stream.head, "DATA before a head"
        if stream.broken is not None:
            return
        stream.received += data
        stream.untaken += len(payload)
        stream.is_complete = bool(flags & END_STREAM)

    def on_fields(self, kind, flags, number, payload):
        if kind == HEADERS:
            if flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
            self.section = (number, flags & END_STREAM, bytearray(payload[5:] if flags & WITH_PRIORITY else payload))
        else:
            assert self.section and self.section[0] == number
            self.section[2].extend(payload)
        if flags & END_HEADERS:
            number, end, block = self.section
            self.section = None
            pairs = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in self.decoder.decode(bytes(block), raw=True)]
            self.on_section(number, bool(end), pairs)

    def on_section(self, number, end, pairs):
        pseudo = {name: value for name, value in pairs if name.startswith(":")}
        fields = Fields(pair for pair in pairs if not pair[0].startswith(":"))
        assert all(name == name.lower() for name, _ in fields), fields
        stream = self.streams.get(number)
        if stream is None:
            assert not self.is_client and number % 2, f"a head of stream {number}, which is not open"
            stream = Stream(self, number)
            self.arrived.append(stream)
        if stream.head:
            assert end and not pseudo, "trailers that do not end, or with pseudo-header fields"
            stream.trailers = fields
        elif self.is_client:
            head = Head(fields, status=int(pseudo.pop(":status")))
            assert not pseudo, pseudo
            if head.status < 200:
                assert not end, "an interim response that ends"
                stream.interims.append(head)
                return
            stream.head = head
        else:
            stream.head = Head(fields, pseudo.get(":method"), pseudo.get(":path"), pseudo.get(":authority"))
            stream.head.pseudo = pseudo
        stream.is_complete = end

    def on_reset(self, number, code):
        stream = self.streams[number]
        stream.waiting.clear()
        stream.is_sent = True
        stream.reset_code = code
        if not stream.is_over:
            stream.broken = code

    def on_settings(self, payload):
        for at in range(0, len(payload), 6):
            name, value = struct.unpack_from(">HI", payload, at)
            self.peer_settings[name] = value
            if name == INITIAL_WINDOW_SIZE:
                for stream in self.streams.values():
                    stream.window += value - self.first_window
                self.first_window = value
        self.pipe.write(frame(SETTINGS, ACK, 0))
        self.push()

    def on_window(self, number, n):
        if number == 0:
            self.window += n
        elif number in self.streams:
            self.streams[number].window += n
        self.push()

    def taken(self, stream, _n):
        """The windows follow what the test takes; that of the connection is wide, and follows, too."""
        n, stream.untaken = stream.untaken - len(stream.received), len(stream.received)
        if n > 0 and not self.pipe.is_ended:
            whole = struct.pack(">I", n)
            of_stream = b"" if stream.is_over else frame(WINDOW_UPDATE, 0, stream.number, whole)
            self.pipe.write(frame(WINDOW_UPDATE, 0, 0, whole) + of_stream)

    # ---- sending

    def write_fields(self, number, pairs, end):
        """HEADERS, and CONTINUATION where one frame is not enough."""
        block = self.encoder.encode(pairs)
        pieces = [block[at:at + FRAME_MAX] for at in range(0, len(block), FRAME_MAX)] or [b""]
        for index, piece in enumerate(pieces):
            kind, flags = (HEADERS, END_STREAM if end else 0) if index == 0 else (CONTINUATION, 0)
            self.pipe.write(frame(kind, flags | (END_HEADERS if index == len(pieces) - 1 else 0), number, piece))

    def send_request(self, head, is_whole, body, more=()):
        stream = Stream(self, self.next_number)
        self.next_number += 2
        scheme = "https" if hasattr(self.pipe.sock, "cipher") else "http"
        pseudo = [(":method", head.method), (":scheme", scheme), (":path", head.target), *more]
        authority = [(":authority", head.authority)] if head.authority else []
        self.write_message(stream, [*pseudo, *authority, *lowered(head.fields)], is_whole, body)
        return stream

    def ask_tunnel(self, target, authority):
        """Extended CONNECT (RFC 8441), which has to be offered."""
        self.loop.until("the server's offer", lambda: self.peer_settings.get(ENABLE_CONNECT_PROTOCOL))
        return self.send_request(Head([("sec-websocket-version", "13")], "CONNECT", target, authority), False, b"",
                                 [(":protocol", "websocket")])

    def agree_on_tunnel(self, stream):
        self.send_response(stream, 200, [], False, b"")

    @staticmethod
    def asks_for_tunnel(head):
        is_websocket = head.pseudo.get(":protocol") == "websocket" and head["sec-websocket-version"] == "13"
        return head.method == "CONNECT" and is_websocket

    def send_response(self, stream, status, fields, is_whole, body):
        has_body = status not in (204, 304) and stream.head.method != "HEAD"
        self.write_message(stream, [(":status", str(status)), *lowered(fields)], is_whole or not has_body, body)

    def write_message(self, stream, pairs, is_whole, body):
        self.write_fields(stream.number, pairs, is_whole and not body)
        stream.is_sent = is_whole and not body
        if body:
            self.send_body(stream, body)
        if is_whole and body:
            self.end_message(stream, [])

    def send_interim(self, stream, status, fields):
        self.write_fields(stream.number, [(":status", str(status)), *lowered(fields)], False)

    def send_body(self, stream, data):
        if not stream.is_sent:
            stream.waiting += data
            self.push()

    def end_message(self, stream, trailers):
        if not stream.is_sent:
            stream.ending = lowered(trailers)
            self.push()

    def push(self):
        for stream in list(self.streams.values()):
            if stream.waiting or stream.ending is not None:
                self.push_stream(stream)

    def push_stream(self, stream):
        while stream.waiting and (n := min(len(stream.waiting), stream.window, self.window, FRAME_MAX)) > 0:
            ends = n == len(stream.waiting) and stream.ending == []
            self.pipe.write(frame(DATA, END_STREAM if ends else 0, stream.number, bytes(stream.waiting[:n])))
            del stream.waiting[:n]
            stream.window -= n
            self.window -= n
            if ends:
                self.sent(stream)
        if not stream.waiting and stream.ending is not None:
            if stream.ending:
                self.write_fields(stream.number, stream.ending, True)
            else:
                self.pipe.write(frame(DATA, END_STREAM, stream.number))
            self.sent(stream)

    @staticmethod
    def sent(stream):
        stream.ending, stream.is_sent = None, True

    def unsent(self, stream):
        return len(stream.waiting) + len(self.pipe.out)

    def send_half_a_head(self):
        """HEADERS without END_HEADERS."""
        self.pipe.write(frame(HEADERS, END_STREAM, 1, self.encoder.encode([(":method", "GET"), (":path", "/half")])))

    def send_nonsense(self, _stream):
        self.pipe.write(b"what is this?\r\n\r\n" * 10)

    def reset(self, stream, code):
        self.pipe.write(frame(RST_STREAM, 0, stream.number, struct.pack(">I", code)))
        stream.waiting.clear()
        stream.ending, stream.is_sent = None, True

    def cancel(self, stream, code):
        self.reset(stream, code)
        stream.broken = code if stream.broken is None else stream.broken

    def go_away(self, last, code=0):
        self.pipe.write(frame(GOAWAY, 0, 0, struct.pack(">II", last, code)))

    def close(self):
        self.pipe.close()


def lowered(fields):
    return [(name.lower(), value) for name, value in fields]
