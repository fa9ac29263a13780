"""Both sides of HTTP/1.1."""
import base64
import hashlib
import os
import re

from talk import CUT, Head, Talk
from wire import CRLF, head_of, parse_fields

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HELD = 256 << 10  # bytes of a body that wait for the test; the socket is not read beyond it


class Connection:
    """Its parser is a generator that yields when it needs more bytes."""

    can_multiplex = False

    def __init__(self, loop, pipe, is_client):
        self.loop, self.pipe, self.is_client = loop, pipe, is_client
        self.buffer, self.talk, self.arrived = bytearray(), None, []
        self.is_sent = True  # what was begun of our messages has ended
        self.surplus, self.is_chunked = None, False
        pipe.feed, pipe.on_end = self.feed, self.on_end
        self.parser = self.read_responses() if is_client else self.read_requests()
        next(self.parser)

    @property
    def can_ask(self):
        is_free = not self.talk or (self.is_sent and self.talk.is_complete and self.talk.head["connection"] != "close")
        return is_free and not self.pipe.is_ended

    # ---- receiving

    def feed(self, data):
        self.buffer += data
        next(self.parser)

    def on_end(self):
        """Of the connection: it ends a body without length, and breaks off everything else."""
        talk = self.talk
        if talk and not talk.is_over:
            is_end = bool(talk.head and talk.ends_with_connection)
            talk.is_complete, talk.broken = is_end, None if is_end else CUT

    def until(self, mark):
        while (at := self.buffer.find(mark)) < 0:
            yield
        data = bytes(self.buffer[:at + len(mark)])
        del self.buffer[:len(data)]
        return data

    def some(self, most):
        while not self.buffer:
            yield
        data = bytes(self.buffer[:most])
        del self.buffer[:len(data)]
        return data

    def read_lines(self):
        lines = []
        while (line := (yield from self.until(CRLF))) != CRLF:
            lines.append(line[:-2].decode("latin-1"))
        return lines

    def read_requests(self):
        while True:
            lines = yield from self.read_lines()
            method, target, version = lines[0].split(" ")
            assert version == "HTTP/1.1", lines[0]
            fields = parse_fields(lines[1:])
            talk = Talk(self)
            talk.head = Head(fields, method, target, fields.get("host"))
            self.talk, self.is_sent = talk, False
            self.arrived.append(talk)
            if self.asks_for_tunnel(talk.head):  # whatever the answer will be: what comes too early is seen, too
                yield from self.read_until_end(talk)
            yield from self.read_body(talk, 0)
            while not self.is_sent:  # the answer goes first
                yield

    def read_responses(self):
        while True:
            lines = yield from self.read_lines()
            match = re.fullmatch(r"HTTP/1\.1 ([1-5][0-9][0-9]) .*", lines[0])
            assert match, lines[0]
            head = Head(parse_fields(lines[1:]), status=int(match[1]))
            talk = self.talk if not self.talk.is_complete else self.unasked()
            if head.status < 200 and head.status != 101:
                talk.interims.append(head)
                continue
            talk.head = head
            if head.status == 101:
                self.is_chunked = False
                yield from self.read_until_end(talk)
            elif talk.method == "HEAD" or head.status in (204, 304):
                talk.is_complete = True
            else:
                yield from self.read_body(talk, None)

    def unasked(self):
        """Where a response goes that nobody has asked for."""
        self.surplus = Talk(self)
        self.surplus.method = None
        return self.surplus

    def read_body(self, talk, absent):
        length, coding = talk.head["content-length"], talk.head["transfer-encoding"]
        assert length is None or coding is None, f"both: {talk.head}"
        talk.ends_with_connection = False
        if coding == "chunked":
            yield from self.read_chunks(talk)
        elif length is None and absent is None:
            yield from self.read_until_end(talk)
        else:
            yield from self.read_bytes(talk, int(length or 0))
        talk.is_complete = True

    def read_until_end(self, talk):
        """Of the connection."""
        talk.is_complete, talk.ends_with_connection = False, True
        while True:
            self.got(talk, (yield from self.some(HELD)))

    def read_bytes(self, talk, n):
        while n:
            data = yield from self.some(n)
            n -= len(data)
            self.got(talk, data)

    def read_chunks(self, talk):
        while True:
            line = yield from self.until(CRLF)
            assert re.fullmatch(rb"[0-9a-f]+\r\n", line), line
            if (n := int(line, 16)) == 0:
                break
            yield from self.read_bytes(talk, n)
            assert (yield from self.until(CRLF)) == CRLF
        talk.trailers = parse_fields((yield from self.read_lines()))

    def got(self, talk, data):
        talk.received += data
        self.pipe.is_paused = len(talk.received) > HELD

    def taken(self, _talk, _n):
        self.pipe.go_on()

    # ---- sending

    def send_request(self, head, is_whole, body):
        talk = self.talk = Talk(self)
        talk.method = head.method
        fields = [("Host", head.authority)] if head.authority else []
        self.send_head(f"{head.method} {head.target} HTTP/1.1", [*fields, *head.fields], is_whole, body)
        return talk

    def send_response(self, talk, status, fields, is_whole, body):
        assert talk is self.talk
        has_body = status not in (204, 304) and talk.head.method != "HEAD"
        self.send_head(f"HTTP/1.1 {status} Status", fields, is_whole or not has_body, body)
        self.wake(talk)

    def send_head(self, line, fields, is_whole, body):
        self.is_chunked = not is_whole and not any(name.lower() == "content-length" for name, _ in fields)
        coding = [("Transfer-Encoding", "chunked")] if self.is_chunked else []
        self.is_sent = is_whole
        lines = [f"{name}: {value}" for name, value in [*fields, *coding]]
        self.pipe.write(head_of(line, *lines) + body)

    def send_interim(self, _talk, status, fields):
        self.pipe.write(head_of(f"HTTP/1.1 {status} Interim", *(f"{name}: {value}" for name, value in fields)))

    def send_body(self, talk, data):
        assert talk is self.talk
        if data:
            self.pipe.write(b"%x\r\n%s\r\n" % (len(data), data) if self.is_chunked else data)

    def end_message(self, talk, trailers):
        assert self.is_chunked or not trailers
        if self.is_chunked:
            self.pipe.write(head_of("0", *(f"{name}: {value}" for name, value in trailers)))
        self.is_sent = True
        self.wake(talk)

    def ask_tunnel(self, target, authority):
        key = base64.b64encode(os.urandom(16)).decode()
        fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", key),
                  ("Sec-WebSocket-Version", "13")]
        return self.send_request(Head(fields, "GET", target, authority), True, b"")

    def agree_on_tunnel(self, talk):
        accept = base64.b64encode(hashlib.sha1((talk.head["sec-websocket-key"] + GUID).encode()).digest()).decode()
        self.is_chunked = False
        self.pipe.write(head_of("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket",
                                f"Sec-WebSocket-Accept: {accept}"))

    @staticmethod
    def asks_for_tunnel(head):
        return head.method == "GET" and head["upgrade"] == "websocket" and head["sec-websocket-version"] == "13"

    def wake(self, talk):
        """The next request may be here already."""
        if not self.is_client and self.is_sent and talk.is_complete:
            next(self.parser)

    def send_half_a_head(self):
        self.pipe.write(b"GET /half HTTP/1.1\r\nHost: ")

    def send_nonsense(self, _talk):
        """In the place of a response."""
        self.pipe.write(b"what is this?\r\n\r\n" * 10)

    def unsent(self, _talk):
        return len(self.pipe.out)

    def cancel(self, _talk, _code):
        self.pipe.close(reset=True)

    def close(self):
        self.pipe.close()
