"""Both sides of HTTP/3 over quic.py. Frames are made and read here; pylsqpack knows the fields. Nothing is checked or refused
on the way out, so that tests can say what is wrong. Codes of errors are those of talk.py on this side: the words for them are
the same, only the numbers differ."""
import pylsqpack
from aioquic.buffer import encode_uint_var
from aioquic.quic import events

import talk
from quic import WINDOW
from talk import CUT, Head, Talk
from wire import Fields

DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 13
CONTROL, PUSH, ENCODER, DECODER = range(4)
TABLE_CAPACITY, BLOCKED_STREAMS, ENABLE_CONNECT_PROTOCOL = 1, 7, 8
TABLE, BLOCKED, PIECE, AHEAD = 4096, 16, 16384, 262144
ENCODED_MAX = 2000  # octets of a field that pylsqpack takes, and some more
NO_ERROR, GENERAL_PROTOCOL_ERROR, INTERNAL_ERROR, MESSAGE_ERROR = 0x100, 0x101, 0x102, 0x10e
REQUEST_REJECTED, REQUEST_CANCELLED, CONNECT_ERROR, EXCESSIVE_LOAD = 0x10b, 0x10c, 0x10f, 0x107
CODES = {talk.NO_ERROR: NO_ERROR, talk.PROTOCOL_ERROR: MESSAGE_ERROR, talk.INTERNAL_ERROR: INTERNAL_ERROR,
         talk.REFUSED_STREAM: REQUEST_REJECTED, talk.CANCEL: REQUEST_CANCELLED,
         talk.CONNECT_ERROR: CONNECT_ERROR, talk.ENHANCE_YOUR_CALM: EXCESSIVE_LOAD}
WORDS = {number: word for word, number in CODES.items()}


def varint(data, at):
    """(value, the place behind it), or None when it is not whole."""
    if at >= len(data) or len(data) < at + (size := 1 << (data[at] >> 6)):
        return None
    return int.from_bytes(data[at:at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def frame(kind, payload=b""):
    return encode_uint_var(kind) + encode_uint_var(len(payload)) + payload


class Stream(Talk):
    def __init__(self, connection, number):
        super().__init__(connection)
        self.number, self.waiting, self.buffer = number, bytearray(), bytearray()
        self.is_ending = self.is_sent = False   # an end is waiting; everything is with the engine
        self.came, self.left = 0, 0             # bytes of the stream; of the DATA frame that is being read
        self.is_blocked = self.has_ended = False
        connection.streams[number] = self


class Connection:
    can_multiplex = True

    def __init__(self, loop, pipe, is_client, window=WINDOW, streams=None):
        assert streams in (None, 1000), "aioquic has its own number"
        self.loop, self.pipe, self.is_client, self.window = loop, pipe, is_client, window
        self.encoder, self.decoder = pylsqpack.Encoder(), pylsqpack.Decoder(TABLE, BLOCKED)
        self.streams, self.arrived, self.one_way, self.peer_settings = {}, [], {}, {}
        self.goaways, self.control, self.of_encoder, self.of_decoder = [], None, None, None
        pipe.feed, pipe.on_end, pipe.on_push = self.feed, self.on_end, self.push

    @property
    def quic(self):
        return self.pipe.quic

    @property
    def can_ask(self):
        return not self.pipe.is_ended and not self.goaways

    # ---- receiving

    def feed(self, event):
        if isinstance(event, events.HandshakeCompleted):
            assert event.alpn_protocol == "h3"
            self.open_one_way()  # not before: aioquic would not know yet that it may
        elif isinstance(event, events.StreamDataReceived):
            if event.stream_id & 2:
                self.on_one_way(event)
            else:
                self.on_stream(event)
        elif isinstance(event, events.StreamReset):
            self.on_reset(event.stream_id, event.error_code)
        elif isinstance(event, events.StopSendingReceived):
            self.on_stop(event.stream_id, event.error_code)

    def on_end(self):
        for stream in self.streams.values():
            if not stream.is_over:
                stream.broken = CUT

    def on_one_way(self, event):
        """Control, encoder and decoder streams; others are passed over."""
        buffer = self.one_way.setdefault(event.stream_id, bytearray())
        buffer += event.data
        self.quic.open_window(event.stream_id, self.quic.stream(event.stream_id).receiver.starting_offset() + self.window)
        kind = varint(buffer, 0)
        if not kind:
            return
        assert not event.end_stream or kind[0] > DECODER, f"a critical stream has ended: {kind[0]}"
        if kind[0] == CONTROL:
            self.read_frames(buffer, kind[1])
        elif kind[0] == ENCODER:
            self.resume(self.decoder.feed_encoder(bytes(buffer[kind[1]:])))
        elif kind[0] == DECODER:
            self.encoder.feed_decoder(bytes(buffer[kind[1]:]))
        if kind[0] in (ENCODER, DECODER):
            del buffer[kind[1]:]

    def read_frames(self, buffer, at):
        """Of the control stream; the octet before them stays."""
        while (kind := varint(buffer, at)) and (size := varint(buffer, kind[1])) and len(buffer) >= size[0] + size[1]:
            payload = bytes(buffer[size[1]:size[1] + size[0]])
            del buffer[at:size[1] + size[0]]
            if kind[0] == SETTINGS:
                self.on_settings(payload)
            elif kind[0] == GOAWAY:
                self.goaways.append(varint(payload, 0)[0])

    def on_settings(self, payload):
        at = 0
        while at < len(payload):
            name, at = varint(payload, at)
            self.peer_settings[name], at = varint(payload, at)
        out = self.encoder.apply_settings(max_table_capacity=min(self.peer_settings.get(TABLE_CAPACITY, 0), TABLE),
                                          blocked_streams=self.peer_settings.get(BLOCKED_STREAMS, 0))
        self.quic.send_stream_data(self.of_encoder, out)

    def on_stream(self, event):
        stream = self.streams.get(event.stream_id)
        if stream is None:
            assert not self.is_client and event.stream_id % 4 == 0, f"stream {event.stream_id} is not open"
            stream = Stream(self, event.stream_id)
        stream.came += len(event.data)
        stream.buffer += event.data
        stream.has_ended |= event.end_stream
        self.read_stream(stream)

    def read_stream(self, stream):
        while not stream.is_blocked and stream.broken is None and self.read_frame(stream):
            pass
        if stream.has_ended and not stream.buffer and not stream.left and stream.broken is None:
            assert stream.head, "a stream that ends before a head"
            stream.is_complete = True
        self.taken(stream, 0)

    def read_frame(self, stream):
        """False: there is none, or not all of it."""
        buffer = stream.buffer
        if stream.left:
            n = min(stream.left, len(buffer))
            stream.received += buffer[:n]
            del buffer[:n]
            stream.left -= n
            return n > 0
        if not (kind := varint(buffer, 0)) or not (size := varint(buffer, kind[1])):
            return False
        if kind[0] == DATA:
            assert stream.head, "DATA before a head"
            assert not stream.trailers, "DATA after trailers"
            stream.left = size[0]
            del buffer[:size[1]]
            return True
        if len(buffer) < size[1] + size[0]:
            return False
        payload = bytes(buffer[size[1]:size[1] + size[0]])
        del buffer[:size[1] + size[0]]
        if kind[0] == HEADERS:
            self.on_section(stream, lambda: self.decoder.feed_header(stream.number, payload))
        return True

    def on_section(self, stream, decode):
        try:
            control, pairs = decode()
        except pylsqpack.StreamBlocked:
            stream.is_blocked = True
            return
        self.quic.send_stream_data(self.of_decoder, control)
        self.on_fields(stream, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs])

    def resume(self, numbers):
        """What had to wait for the table."""
        for number in numbers:
            stream = self.streams[number]
            stream.is_blocked = False
            self.on_section(stream, lambda stream=stream: self.decoder.resume_header(stream.number))
            self.read_stream(stream)

    def on_fields(self, stream, pairs):
        pseudo = {name: value for name, value in pairs if name.startswith(":")}
        fields = Fields(pair for pair in pairs if not pair[0].startswith(":"))
        assert all(name == name.lower() for name, _ in fields), fields
        if stream.head:
            assert not pseudo, "trailers with pseudo-header fields"
            stream.trailers = fields
        elif self.is_client:
            head = Head(fields, status=int(pseudo.pop(":status")))
            assert not pseudo, pseudo
            if head.status < 200:
                stream.interims.append(head)
                return
            stream.head = head
        else:
            stream.head = Head(fields, pseudo.get(":method"), pseudo.get(":path"), pseudo.get(":authority"))
            stream.head.pseudo = pseudo
            self.arrived.append(stream)

    def on_reset(self, number, code):
        """Of what the peer sends."""
        stream = self.streams.get(number) or Stream(self, number)
        stream.reset_code = WORDS.get(code, code)
        if not stream.is_over:
            stream.broken = stream.reset_code

    def on_stop(self, number, code):
        """The peer wants no more."""
        assert not number & 2, "a critical stream is not wanted"
        stream = self.streams.get(number) or Stream(self, number)
        stream.waiting.clear()
        stream.is_sent, stream.is_ending = True, False
        stream.reset_code = WORDS.get(code, code)

    def taken(self, stream, _n):
        """The window follows what the test takes, in steps of half of it."""
        end = stream.came - len(stream.received) - len(stream.buffer) + self.window
        of_engine = self.quic.stream(stream.number)
        if of_engine and end - of_engine.max_stream_data_local >= self.window // 2:
            self.quic.open_window(stream.number, end)
            self.pipe.push()

    # ---- sending

    def open_one_way(self):
        self.control, self.of_encoder, self.of_decoder = map(self.open_stream_of, (CONTROL, ENCODER, DECODER))
        values = {TABLE_CAPACITY: TABLE, BLOCKED_STREAMS: BLOCKED, **({} if self.is_client else {ENABLE_CONNECT_PROTOCOL: 1})}
        pairs = b"".join(encode_uint_var(n) + encode_uint_var(v) for n, v in values.items())
        self.quic.send_stream_data(self.control, frame(SETTINGS, pairs))

    def open_stream_of(self, kind):
        number = self.quic.get_next_available_stream_id(is_unidirectional=True)
        self.quic.send_stream_data(number, encode_uint_var(kind))
        return number

    def write_fields(self, number, pairs, end):
        """HEADERS, and the end of the stream with it."""
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        if any(len(name) + len(value) > ENCODED_MAX for name, value in encoded):
            block = bytes(2) + b"".join(map(literal, encoded))
        else:
            of_encoder, block = self.encoder.encode(number, encoded)
            self.quic.send_stream_data(self.of_encoder, of_encoder)
        self.send_raw(self.streams[number], frame(HEADERS, block), end)

    def send_raw(self, stream, data, end=False):
        """Octets of the stream, whatever they are."""
        if not stream.is_sent:
            stream.waiting += data
            stream.is_ending |= end
            self.pipe.push()

    def send_request(self, head, is_whole, body, more=()):
        self.loop.until("the handshake", lambda: self.control is not None or self.pipe.is_ended)
        assert not self.pipe.is_ended, self.pipe.why
        stream = Stream(self, self.quic.get_next_available_stream_id())
        self.quic.send_stream_data(stream.number, b"")  # from now on the next one has another number
        pseudo = [(":method", head.method), (":scheme", "https"), (":path", head.target), *more]
        authority = [(":authority", head.authority)] if head.authority else []
        self.write_message(stream, [*pseudo, *authority, *lowered(head.fields)], is_whole, body)
        return stream

    def ask_tunnel(self, target, authority):
        """Extended CONNECT (RFC 9220), which has to be offered."""
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
        if body:
            self.send_body(stream, body)
        if is_whole and body:
            self.end_message(stream, [])

    def send_interim(self, stream, status, fields):
        self.write_fields(stream.number, [(":status", str(status)), *lowered(fields)], False)

    def send_body(self, stream, data):
        pieces = (data[at:at + PIECE] for at in range(0, len(data), PIECE))
        self.send_raw(stream, b"".join(frame(DATA, piece) for piece in pieces))

    def end_message(self, stream, trailers):
        if trailers:
            self.write_fields(stream.number, lowered(trailers), True)
        else:
            self.send_raw(stream, b"", True)

    def push(self):
        """To the engine goes what it may send soon; it keeps what is not acknowledged."""
        for stream in self.streams.values():
            if not stream.is_sent and (stream.waiting or stream.is_ending):
                self.push_stream(stream)

    def push_stream(self, stream):
        of_engine = self.quic.stream(stream.number)
        room = AHEAD - len(of_engine.sender._buffer) if of_engine else AHEAD  # pylint: disable=protected-access
        n = max(0, min(room, len(stream.waiting)))
        is_last = stream.is_ending and n == len(stream.waiting)
        if n or is_last:
            self.quic.send_stream_data(stream.number, bytes(stream.waiting[:n]), is_last)
            del stream.waiting[:n]
            stream.is_sent = is_last

    def unsent(self, stream):
        of_engine = self.quic.stream(stream.number)
        sender = of_engine.sender if of_engine else None
        # pylint: disable-next=protected-access
        return len(stream.waiting) + (sender._buffer_stop - sender.highest_offset if sender else 0)

    def send_half_a_head(self):
        """The beginning of HEADERS."""
        self.loop.until("the handshake", lambda: self.control is not None)
        self.quic.send_stream_data(self.quic.get_next_available_stream_id(), frame(HEADERS, bytes(50))[:20])
        self.pipe.push()

    def send_nonsense(self, stream):
        """A body before a head."""
        self.send_raw(stream, frame(DATA, b"what is this?"))

    def reset(self, stream, code):
        """Both halves, as far as they are open."""
        number = CODES.get(code, code)
        of_engine = self.quic.stream(stream.number)
        if of_engine and not of_engine.sender.is_finished:
            self.quic.reset_stream(stream.number, number)
        if of_engine and not of_engine.receiver.is_finished:
            self.quic.stop_stream(stream.number, number)
        stream.waiting.clear()
        stream.is_sent, stream.is_ending = True, False
        self.pipe.push()

    def cancel(self, stream, code):
        self.reset(stream, code)
        stream.broken = code if stream.broken is None else stream.broken

    def go_away(self, last):
        """`last` is the number of the last request that is looked at."""
        self.quic.send_stream_data(self.control, frame(GOAWAY, encode_uint_var(last + 4)))
        self.pipe.push()

    def close(self):
        self.pipe.close()


def prefixed(value, bits, first=0):
    """An integer of RFC 7541 5.1 whose first octet has other bits, too."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    octets, value = [first | most], value - most
    while value >= 128:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes([*octets, value])


def literal(pair):
    """A field in no table, as long as it may be."""
    name, value = pair
    return prefixed(len(name), 3, 0x20) + name + prefixed(len(value), 7) + value


def lowered(fields):
    return [(name.lower(), value) for name, value in fields]
