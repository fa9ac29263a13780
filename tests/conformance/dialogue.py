"""A dialogue with a server of HTTP/2: the bytes of a case are sent, what comes back is noted, and the case's
expectation judges it.

Waits are for events. Behind the bytes of a case goes a PING, and behind its answer a second one: a server answers in
order, so when that answer comes too, whatever the server had to say at once has been said. PATIENCE only ends a
case in which an event never comes."""
import socket
import ssl
import struct
from dataclasses import dataclass, field
from typing import Any, Sequence

import frames
import hpack

PATIENCE = 10
MARKS = (b"mark one", b"mark two")


@dataclass
class Target:
    """A server whose resource `path` answers GET and POST with 200 and some content."""
    host: str = "127.0.0.1"
    port: int = 0
    is_tls: bool = False
    path: str = "/"
    authority: str = "test.example"

    def connect(self):
        sock = socket.create_connection((self.host, self.port), PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.is_tls:
            return sock
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        sock = context.wrap_socket(sock, server_hostname=self.authority)
        assert sock.selected_alpn_protocol() == "h2", f"agreed on {sock.selected_alpn_protocol()}"
        return sock

    def fields(self, method="GET", *more, without=(), **instead):
        """A request's fields; `instead` has other values for scheme, path and authority."""
        pseudo = {":method": method, ":scheme": "https" if self.is_tls else "http", ":path": self.path,
                  ":authority": self.authority, **{f":{name}": value for name, value in instead.items()}}
        return [(name, value) for name, value in pseudo.items() if name not in without] + list(more)

    def block(self, *arguments, **named):
        return hpack.block(self.fields(*arguments, **named))

    def get(self, stream=1, *more, flags=frames.WHOLE, **named):
        return frames.headers(stream, self.block("GET", *more, **named), flags)

    def post(self, stream=1, *more, flags=frames.END_HEADERS, **named):
        """The head of a request whose content follows."""
        return frames.headers(stream, self.block("POST", *more, **named), flags)


@dataclass
class Case:
    name: str
    section: str               # "RFC 9113 5.1"
    send: Sequence[Any]        # bytes, or steps (Answer, Slowly, Flood, After)
    expect: Any
    settings: bytes = frames.settings()
    is_bare: bool = False      # no preface, SETTINGS or acknowledgement is sent but what the case has
    is_marked: bool = True     # PINGs go behind; not within a header block


class Answer:
    """Waits for the end of a response, or for its head."""

    def __init__(self, stream=1, head_only=False):
        self.stream, self.head_only = stream, head_only

    def take(self, dialogue):
        seen = dialogue.seen
        dialogue.wait(lambda: self.stream in seen.resets or (
            seen.statuses.get(self.stream) if self.head_only else self.stream in seen.ended))


class Slowly:
    """Octet by octet, in segments of their own."""

    def __init__(self, octets):
        self.octets = octets

    def take(self, dialogue):
        for i in range(len(self.octets)):
            dialogue.send(self.octets[i:i + 1])
            dialogue.poll(0.002)


class Flood:
    """The same octets again and again, until the server has had enough."""

    def __init__(self, octets, times):
        self.octets, self.times = octets, times

    def take(self, dialogue):
        seen = dialogue.seen
        for _ in range(self.times):
            dialogue.send(self.octets)
            dialogue.poll(0.0005)
            if seen.goaway is not None or seen.is_closed:
                return


class After:
    """Bytes that depend on what has been seen."""

    def __init__(self, make):
        self.make = make

    def take(self, dialogue):
        dialogue.send(self.make(dialogue.seen))


@dataclass
class Seen:
    """What has come from the server."""
    goaway: Any = None
    is_closed: bool = False
    was_reset: bool = False    # by TCP
    resets: dict = field(default_factory=dict)
    statuses: dict = field(default_factory=dict)
    ended: set = field(default_factory=set)
    amounts: dict = field(default_factory=dict)   # octets of content for each stream
    frames_of_data: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    acknowledged: int = 0
    pongs: list = field(default_factory=list)
    marks: int = 0
    fault: str = ""            # what a server must never do

    def __str__(self):
        parts = []
        if self.goaway is not None:
            parts.append(f"GOAWAY {frames.error_name(self.goaway)}")
        parts += [f"RST_STREAM {stream} {frames.error_name(code)}" for stream, code in self.resets.items()]
        parts += [f"status {status} on {stream}" for stream, status in self.statuses.items()]
        parts += [f"{n} octets on {stream}" for stream, n in self.amounts.items()]
        parts += [f"ended {sorted(self.ended)[:8]}"] if self.ended else []
        parts += ["closed"] if self.is_closed else []
        parts += ["TCP reset"] if self.was_reset else []
        parts += [f"{self.marks} PINGs answered"] if self.marks else []
        parts += [self.fault] if self.fault else []
        return ", ".join(parts) or "nothing"


class Silence(Exception):
    """What was waited for did not come."""


class Dialogue:
    def __init__(self, target):
        self.sock = target.connect()
        self.buffer, self.seen, self.decoder = b"", Seen(), hpack.Decoder()
        self.block = b""
        self.is_first = True

    def close(self):
        self.sock.close()

    def send(self, octets):
        """A server that has closed is no error here: it is seen when its bytes are read."""
        try:
            self.sock.sendall(octets)
        except OSError:
            pass

    # ---- receiving

    def poll(self, seconds):
        """Notes what comes within so many seconds; False: nothing did."""
        self.sock.settimeout(seconds)
        try:
            octets = self.sock.recv(1 << 16)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError:
            self.seen.is_closed = self.seen.was_reset = True
            return True
        finally:
            self.sock.settimeout(PATIENCE)
        self.seen.is_closed = not octets
        self.buffer += octets
        self.take_frames()
        return True

    def wait(self, condition):
        """Until it holds, or there is nothing more to come."""
        while not condition() and not self.seen.is_closed and not self.seen.fault:
            if not self.poll(PATIENCE):
                raise Silence

    def take_frames(self):
        while len(self.buffer) >= 9:
            size, kind, flags = int.from_bytes(self.buffer[:3], "big"), self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7fffffff
            if len(self.buffer) < 9 + size:
                return
            payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
            if self.is_first and (kind != frames.SETTINGS or flags & frames.ACK):
                self.seen.fault = "the first frame is no SETTINGS"
            self.is_first = False
            self.note(kind, flags, stream, payload)

    def note(self, kind, flags, stream, payload):
        seen = self.seen
        if kind in (frames.HEADERS, frames.CONTINUATION):
            self.note_block(kind, flags, stream, payload)
        elif kind == frames.DATA:
            pad = 1 + payload[0] if flags & frames.PADDED else 0
            seen.amounts[stream] = seen.amounts.get(stream, 0) + len(payload) - pad
            seen.frames_of_data.setdefault(stream, []).append(len(payload))
        elif kind == frames.RST_STREAM:
            seen.resets.setdefault(stream, int.from_bytes(payload, "big"))
        elif kind == frames.GOAWAY:
            seen.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == frames.SETTINGS and flags & frames.ACK:
            seen.acknowledged += 1
        elif kind == frames.SETTINGS:
            seen.settings.update(struct.iter_unpack(">HI", payload))
        elif kind == frames.PING:
            self.note_pong(flags, payload)
        if kind in (frames.HEADERS, frames.DATA) and flags & frames.END_STREAM:
            seen.ended.add(stream)

    def note_pong(self, flags, payload):
        if flags & frames.ACK and payload in MARKS:
            self.seen.marks += 1
        elif flags & frames.ACK:
            self.seen.pongs.append(payload)

    def note_block(self, kind, flags, stream, payload):
        if kind == frames.HEADERS:
            before = 1 if flags & frames.PADDED else 0
            after = payload[0] if before else 0
            before += 5 if flags & frames.PRIORITIZED else 0
            payload, self.block = payload[before:len(payload) - after], b""
        self.block += payload
        if not flags & frames.END_HEADERS:
            return
        try:
            fields = dict(self.decoder.decode(self.block))
        except hpack.Wrong as wrong:
            self.seen.fault = f"a block that is no HPACK: {wrong}"
            return
        if ":status" in fields:
            self.seen.statuses[stream] = int(fields[":status"])

    # ---- the whole of it

    def begin(self, settings):
        """Both sides' SETTINGS are in force afterwards."""
        self.send(frames.PREFACE + settings)
        self.wait(lambda: not self.is_first)
        self.send(frames.SETTINGS_ACK)
        self.wait(lambda: self.seen.acknowledged)
        self.seen.acknowledged = 0

    def say(self, steps):
        for step in steps:
            if isinstance(step, bytes):
                self.send(step)
            else:
                step.take(self)

    def listen(self, case):
        """Until the expectation is met, or cannot be any more."""
        sent = 0
        while not case.expect.is_met(self.seen):
            if case.is_marked and sent < len(MARKS) and self.seen.marks == sent:
                self.send(frames.ping(MARKS[sent]))
                sent += 1
            if self.seen.is_closed or self.seen.fault or case.expect.is_missed(self.seen):
                return
            if not self.poll(PATIENCE):
                raise Silence
        if case.expect.ends_connection:
            self.wait(lambda: False)


def hold(case, target):
    """Has the dialogue of a case; returns what is wrong, or an empty text."""
    dialogue = Dialogue(target)
    silence = ""
    try:
        if not case.is_bare:
            dialogue.begin(case.settings)
        dialogue.say(case.send)
        dialogue.listen(case)
    except Silence:
        silence = ", and nothing more"
    finally:
        dialogue.close()
    seen = dialogue.seen
    if not seen.fault and case.expect.is_met(seen) and (seen.is_closed or not case.expect.ends_connection):
        return ""
    return f"expected {case.expect}; came {seen}{silence}"
