"""A client of HTTP/2 that breaks rules. It sends octets as they are and reads all the while, so that neither side waits
for the other, and notes what comes back."""
import select
import socket
import ssl
import struct
import time

import frames
from literal_hpack import Decoder

PATIENCE = 30
MARK = b"fence %02d"


def secure(sock, protocol="h2"):
    """TLS over a connected socket; whose certificate it is does not matter to an attacker."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(sock, server_hostname="www.example")


def connect(port, is_tls=False, protocol="h2", receive_buffer=None):
    sock = socket.socket()
    sock.settimeout(PATIENCE)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect(("127.0.0.1", port))
    return secure(sock, protocol) if is_tls else sock


class Attacker:
    """`settings` are its SETTINGS frame. They are in force when it is made."""

    def __init__(self, sock, settings=frames.settings()):
        self.sock, self.buffer, self.decoder, self.block = sock, b"", Decoder(), b""
        self.code, self.is_closed, self.was_reset = None, False, False
        self.resets, self.statuses, self.amounts, self.ended = {}, {}, {}, set()
        self.greeted, self.acknowledged, self.marks, self.sent = 0, 0, set(), 0
        sock.setblocking(False)
        self.send(frames.PREFACE + settings)
        self.wait(lambda: self.greeted and self.acknowledged)
        self.send(frames.SETTINGS_ACK)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.sock.close()

    @property
    def is_over(self):
        """The server has ended the connection, or said that it does."""
        return self.is_closed or self.code is not None

    # ---- sending

    def send(self, octets):
        """Until all of it is taken, or the connection is over."""
        octets = memoryview(octets)
        deadline = time.monotonic() + PATIENCE
        while octets and not self.is_over:
            taken = self.write(octets)
            octets, self.sent = octets[taken:], self.sent + taken
            assert time.monotonic() < deadline, f"{len(octets)} octets were not taken"
            if self.read(0) is None and not taken:
                select.select([self.sock], [self.sock], [], PATIENCE)
        return self

    def write(self, octets):
        """How much of it is taken. What came before a reset is still there to be read."""
        try:
            return self.sock.send(octets[:16384])
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except ConnectionError:
            self.was_reset = True
        except OSError:
            self.is_closed = True
        return 0

    def fence(self):
        """What was sent before has been looked at when this returns."""
        mark = MARK % (len(self.marks) % 100)
        self.marks.discard(mark)
        self.send(frames.ping(mark))
        self.wait(lambda: mark in self.marks or self.is_over)

    # ---- receiving

    def read(self, seconds):
        """What there is; None when nothing comes within so many seconds."""
        got = None
        while not self.is_closed:
            try:
                octets = self.sock.recv(1 << 16)
                self.is_closed = not octets
                self.buffer, got = self.buffer + octets, True
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if got or not select.select([self.sock], [], [], seconds)[0]:
                    break
            except OSError as error:
                self.is_closed = True
                self.was_reset |= isinstance(error, ConnectionError)
            self.take_frames()
        return got

    def wait(self, condition, seconds=PATIENCE):
        """Until it holds, or the connection is closed."""
        deadline = time.monotonic() + seconds
        while not condition() and not self.is_closed:
            assert time.monotonic() < deadline, f"waited in vain; so far: {self}"
            self.read(1)
        return self

    def wait_end(self):
        return self.wait(lambda: False)

    def wait_streams(self, streams):
        """Until each of them has ended in some way."""
        streams = set(streams)
        return self.wait(lambda: streams <= self.ended | self.resets.keys())

    def __repr__(self):
        return (f"code {self.code}, closed {self.is_closed}, reset {self.was_reset}, resets {dict(list(self.resets.items())[:5])}, "
                f"statuses {dict(list(self.statuses.items())[:5])}, ended {len(self.ended)}, sent {self.sent}")

    def take_frames(self):
        at = 0
        while len(self.buffer) >= at + 9:
            size = int.from_bytes(self.buffer[at:at + 3], "big")
            if len(self.buffer) < at + 9 + size:
                break
            kind, flags, stream = struct.unpack_from(">BBI", self.buffer, at + 3)
            self.note(kind, flags, stream, self.buffer[at + 9:at + 9 + size])
            at += 9 + size
        self.buffer = self.buffer[at:]

    def note(self, kind, flags, stream, payload):
        if kind in (frames.HEADERS, frames.CONTINUATION):
            self.block += payload
            if flags & frames.END_HEADERS:
                fields, self.block = dict(self.decoder.decode(self.block)), b""
                self.statuses.setdefault(stream, int(fields.get(":status", 0)))
        elif kind == frames.DATA:
            self.amounts[stream] = self.amounts.get(stream, 0) + len(payload)
        elif kind == frames.RST_STREAM:
            self.resets[stream] = int.from_bytes(payload, "big")
        elif kind == frames.GOAWAY:
            self.code = int.from_bytes(payload[4:8], "big")
        elif kind == frames.SETTINGS:
            self.acknowledged += bool(flags & frames.ACK)
            self.greeted += not flags & frames.ACK
        elif kind == frames.PING and flags & frames.ACK:
            self.marks.add(payload)
        if kind in (frames.HEADERS, frames.DATA) and flags & frames.END_STREAM:
            self.ended.add(stream)
