"""An origin that speaks HTTP/2 frame by frame, as the test says (RFC 9113)."""
import contextlib
import struct
import threading

import hpack

from wire import Connection, Fields, Origin

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4
NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 7, 8
INITIAL_WINDOW_SIZE = 4
FRAME_MOST = 16384
LAST_STREAM_OF_ALL = (1 << 31) - 1


class Request:
    """One stream, as far as it has come."""

    def __init__(self, connection, stream):
        self.connection, self.stream = connection, stream
        self.fields, self.trailers, self.body = None, Fields(), b""
        self.has_ended, self.reset = False, None
        self.window = connection.initial_window

    def __getitem__(self, name):
        return self.fields.get(name)

    @property
    def target(self):
        return self[":path"]

    # ---- answers

    def head(self, status, *fields, end=False):
        self.connection.send_head(self.stream, [(":status", str(status)), *fields], end)
        return self

    def data(self, body, end=False):
        """As much as the windows allow; waits for them to open."""
        connection, body = self.connection, memoryview(body)
        while body or end:
            connection.receive_while(lambda: body and min(self.window, connection.window) <= 0 and self.reset is None)
            if self.reset is not None:
                return self
            n = min(len(body), self.window, connection.window, FRAME_MOST) if body else 0
            is_last = end and n == len(body)
            connection.send_frame(DATA, END_STREAM if is_last else 0, self.stream, bytes(body[:n]))
            self.window, connection.window, body = self.window - n, connection.window - n, body[n:]
            if is_last:
                break
        return self

    def trail(self, *fields):
        self.connection.send_head(self.stream, fields, True)
        return self

    def answer(self, status=200, *fields, body=b""):
        self.head(status, *fields, end=not body)
        return self.data(body, end=True) if body else self

    def refuse(self, code=REFUSED_STREAM):
        self.connection.send_frame(RST_STREAM, 0, self.stream, struct.pack("!I", code))
        return self

    # ---- waiting

    def wait(self, condition):
        self.connection.receive_while(lambda: not condition(self))
        return self

    def wait_end(self):
        return self.wait(lambda request: request.has_ended or request.reset is not None)


class FrameConnection(Connection):
    """The origin's end of a connection. Frames are read only while something is waited for."""

    def __init__(self, sock, settings=(), opens_streams=True):
        super().__init__(sock, "the gateway (to its HTTP/2 origin)")
        self.decoder, self.encoder = hpack.Decoder(), hpack.Encoder()
        self.requests, self.order, self.taken = {}, [], 0
        self.initial_window, self.window, self.opens_streams = 65535, 65535, opens_streams
        self.goaway, self.pings, self.settings_acknowledged = None, 0, 0
        self.expect(PREFACE)
        self.send_settings(*settings)

    # ---- sending

    @contextlib.contextmanager
    def in_one_piece(self):
        """What is sent meanwhile leaves with one call."""
        parts, self.send = [], lambda *more: parts.extend(more)
        yield
        del self.send
        self.send(*parts)

    def send_frame(self, kind, flags, stream, payload=b""):
        self.send(struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload)

    def send_settings(self, *pairs):
        self.send_frame(SETTINGS, 0, 0, b"".join(struct.pack("!HI", *pair) for pair in pairs))

    def send_head(self, stream, fields, end):
        self.send_frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, self.encoder.encode(fields))

    def go_away(self, last, code=NO_ERROR):
        self.send_frame(GOAWAY, 0, 0, struct.pack("!II", last, code))

    def open_window(self, stream, n):
        self.send_frame(WINDOW_UPDATE, 0, stream, struct.pack("!I", n))

    # ---- receiving

    def receive_frame(self):
        head = self.receive(9)
        kind, flags, stream = struct.unpack("!BBI", head[3:])
        payload = self.receive(int.from_bytes(head[:3], "big"))
        handle = {DATA: self.on_data, HEADERS: self.on_headers, RST_STREAM: self.on_reset, SETTINGS: self.on_settings,
                  PING: self.on_ping, GOAWAY: self.on_goaway, WINDOW_UPDATE: self.on_window}.get(kind)
        assert handle, f"a frame of type {kind}"
        handle(flags, stream, payload)

    def receive_while(self, condition):
        while condition():
            self.receive_frame()

    def request(self):
        """The next request whose head has come."""
        self.receive_while(lambda: len(self.order) == self.taken)
        self.taken += 1
        return self.order[self.taken - 1]

    def on_headers(self, flags, stream, payload):
        assert flags & END_HEADERS, "CONTINUATION is not understood here"
        fields = Fields(self.decoder.decode(payload))
        if stream in self.requests:
            self.requests[stream].trailers = fields
        else:
            self.requests[stream] = request = Request(self, stream)
            request.fields = fields
            self.order.append(request)
        self.requests[stream].has_ended = bool(flags & END_STREAM)

    def on_data(self, flags, stream, payload):
        request = self.requests[stream]
        request.body += payload
        request.has_ended = bool(flags & END_STREAM)
        if payload:
            self.open_window(0, len(payload))
        if payload and self.opens_streams and not request.has_ended:
            self.open_window(stream, len(payload))

    def on_reset(self, _flags, stream, payload):
        self.requests[stream].reset = struct.unpack("!I", payload)[0]

    def on_settings(self, flags, _stream, payload):
        if flags & ACK:
            self.settings_acknowledged += 1
            return
        for at in range(0, len(payload), 6):
            key, value = struct.unpack("!HI", payload[at:at + 6])
            if key == INITIAL_WINDOW_SIZE:
                self.initial_window = value
        self.send_frame(SETTINGS, ACK, 0)

    def on_ping(self, flags, _stream, payload):
        if not flags & ACK:
            self.pings += 1
            self.send_frame(PING, ACK, 0, payload)

    def on_goaway(self, _flags, _stream, payload):
        self.goaway = struct.unpack("!II", payload[:8])

    def on_window(self, _flags, stream, payload):
        n = struct.unpack("!I", payload)[0]
        if stream == 0:
            self.window += n
        elif stream in self.requests:
            self.requests[stream].window += n


class FrameOrigin(Origin):
    """A listening socket; the test plays the server on what it accepts."""

    def connection(self, sock, *settings, **how):
        connection = FrameConnection(sock, settings, **how)
        self.connections.append(connection)
        return connection

    def accept_http2(self, *settings, **how):
        return self.connection(self.sock.accept()[0], *settings, **how)


class Asking:
    """A request of a client, in a thread, as the test has to play the origin meanwhile."""

    def __init__(self, gateway, *parts, to="GET"):
        self.gateway, self.parts, self.to, self.result = gateway, parts, to, None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            with self.gateway.connect() as client:
                self.result = client.exchange(*self.parts, to=self.to)
        except (AssertionError, OSError) as error:
            self.result = error

    def answer(self):
        self.thread.join()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result
