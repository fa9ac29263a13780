"""Both ends of a dialogue over HTTP/1.1, byte by byte: a connection that sends and expects exact bytes, and
an origin that does what the test says. Nothing is retried, decoded or tidied up here, and what is not HTTP
fails the test.

Waits are for events. PATIENCE only ends a test in which the event never comes."""
import fcntl
import pathlib
import re
import select
import socket
import struct
import termios

PATIENCE = 20
CRLF = b"\r\n"


def kernels_hold():
    """The most that kernels keep of a flow from one end to the other through the gateway: on each of its two connections what
    is not acknowledged yet, and what is not read yet. How much of that they use depends on who was scheduled when."""
    limits = (pathlib.Path(f"/proc/sys/net/ipv4/{name}").read_text().split()[2] for name in ("tcp_wmem", "tcp_rmem"))
    return 2 * sum(map(int, limits))


def bytes_of(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def head_of(*lines):
    """The lines, each ended, and the empty line."""
    return b"".join(bytes_of(line) + CRLF for line in lines) + CRLF


def request(method="GET", target="/", *fields, host="test.example", version="HTTP/1.1", body=b""):
    """A request. With a body a Content-Length is added."""
    lines = [f"{method} {target} {version}"] + ([f"Host: {host}"] if host is not None else []) + list(fields)
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return head_of(*lines) + bytes_of(body)


def response(status=200, *fields, body=b"", reason="OK"):
    """A response with a Content-Length."""
    return head_of(f"HTTP/1.1 {status} {reason}", *fields, f"Content-Length: {len(body)}") + bytes_of(body)


def chunked(*chunks, trailers=()):
    """A chunked body of these chunks."""
    coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in map(bytes_of, chunks))
    return coded + b"0\r\n" + b"".join(bytes_of(line) + CRLF for line in trailers) + CRLF


class Fields(list):
    """(name, value) pairs as they came."""

    def all(self, name):
        return [value for key, value in self if key.lower() == name.lower()]

    def get(self, name):
        """The value of a field that stands there once, None when it is absent."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands there {len(values)} times: {values}"
        return values[0] if values else None


def parse_fields(lines):
    fields = Fields()
    for line in lines:
        match = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", line)
        assert match, f"not a field line: {line!r}"
        fields.append((match[1], match[2]))
    return fields


class Message:
    """A head, and after reading it the body and trailers."""

    def __init__(self, raw):
        assert raw.endswith(b"\r\n\r\n") and b"\n" not in raw.replace(CRLF, b""), f"not a head: {raw!r}"
        self.raw_head = raw
        lines = raw[:-4].decode("latin-1").split("\r\n")
        self.line, self.fields = lines[0], parse_fields(lines[1:])
        self.body, self.trailers, self.interim, self.chunks = b"", Fields(), [], []
        if self.line.startswith("HTTP/"):
            match = re.fullmatch(r"(HTTP/1\.[01]) ([1-5][0-9][0-9]) (.*)", self.line)
            assert match, f"not a status line: {self.line!r}"
            self.version, self.status, self.reason = match[1], int(match[2]), match[3]
        else:
            self.method, self.target, self.version = self.line.split(" ")

    def __getitem__(self, name):
        return self.fields.get(name)

    @property
    def is_chunked(self):
        return self["Transfer-Encoding"] == "chunked"

    @property
    def closes(self):
        return (self["Connection"] or "").lower() == "close"


class Connection:
    """A stream socket with exact reads."""

    def __init__(self, sock, name="peer"):
        self.sock, self.name, self.buffer = sock, name, b""
        sock.settimeout(PATIENCE)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    # ---- sending

    def send(self, *parts):
        """All of it, at once."""
        self.sock.sendall(b"".join(map(bytes_of, parts)))
        return self

    def send_what_fits(self, data):
        """As much as the peer takes until it closes or resets; returns how much the kernel took."""
        sent = 0
        try:
            while sent < len(data):
                sent += self.sock.send(data[sent:sent + 65536])
        except (BrokenPipeError, ConnectionResetError):
            pass
        return sent

    def send_until_full(self, data):
        """Sends until the kernel takes no more for the time being; returns what is left."""
        self.sock.setblocking(False)
        data = memoryview(data)
        try:
            while data:
                data = data[self.sock.send(data):]
                select.select([], [self.sock], [], 1)
        except BlockingIOError:
            pass
        self.sock.settimeout(PATIENCE)
        return bytes(data)

    def unacknowledged(self):
        """How much of what was sent the peer's kernel does not have yet. A reset takes only that back."""
        return struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)))[0]

    def end_sending(self):
        """Half-closes: the peer sees the end, and can still answer."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # ---- receiving

    def more(self):
        """Some more bytes into the buffer; False at the end."""
        data = self.sock.recv(262144)
        self.buffer += data
        return bool(data)

    def more_or_reset(self):
        try:
            return self.more()
        except ConnectionResetError:
            return False

    def take(self, n):
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def receive(self, n):
        """Exactly n bytes."""
        pieces, missing = [], n
        while missing > len(self.buffer):
            pieces.append(self.take(len(self.buffer)))
            missing -= len(pieces[-1])
            assert self.more(), f"{self.name} closed after {n - missing} of {n} bytes: {b''.join(pieces)[:300]!r}"
        return b"".join([*pieces, self.take(missing)])

    def receive_until(self, mark):
        while mark not in self.buffer:
            assert self.more(), f"{self.name} closed before {mark!r}: {self.buffer[:300]!r}"
        return self.take(self.buffer.index(mark) + len(mark))

    def receive_all(self):
        """Everything until the end. A reset fails."""
        while self.more():
            pass
        return self.take(len(self.buffer))

    def receive_all_or_reset(self):
        """Everything until the end, or until a reset."""
        try:
            return self.receive_all()
        except ConnectionResetError:
            return self.take(len(self.buffer))

    def expect(self, data):
        """The next bytes are these."""
        data = bytes_of(data)
        got = self.receive(len(data))
        assert got == data, f"{self.name} sent {got!r}, expected {data!r}"

    def expect_closed(self):
        """Nothing more comes but the end, or a reset."""
        rest = self.receive_all_or_reset()
        assert rest == b"", f"{self.name} sent {rest[:300]!r}, expected the end"

    def expect_closed_or_reset(self):
        """Nothing more comes, and the connection ends, in whatever way."""
        rest = self.receive_all_or_reset()
        assert rest == b"", f"{self.name} sent {rest[:300]!r} before the end"

    def is_silent(self, seconds=0.2):
        """Whether nothing comes for a while. For what must not happen: a longer wait only makes a fault surer to be seen."""
        return not self.buffer and not select.select([self.sock], [], [], seconds)[0]

    def expect_closed_without(self, mark):
        """It ends, and what came before does not end in this."""
        rest = self.receive_all_or_reset()
        assert not rest.endswith(mark), f"{self.name} sent {rest[-300:]!r}"

    # ---- messages

    def receive_head(self):
        return Message(self.receive_until(b"\r\n\r\n"))

    def receive_chunked(self, message):
        while True:
            line = self.receive_until(CRLF)
            size = re.fullmatch(rb"([0-9a-f]+)\r\n", line)
            assert size, f"not the size of a chunk: {line!r}"
            n = int(size[1], 16)
            if n == 0:
                break
            message.chunks.append(self.receive(n))
            self.expect(CRLF)
        message.body = b"".join(message.chunks)
        lines = []
        while (line := self.receive_until(CRLF)) != CRLF:
            lines.append(line[:-2].decode("latin-1"))
        message.trailers = parse_fields(lines)

    def receive_body(self, message, length):
        if message.is_chunked:
            assert message["Content-Length"] is None, "Content-Length beside Transfer-Encoding"
            self.receive_chunked(message)
        elif length is not None:
            message.body = self.receive(int(length))
        return message

    def receive_request(self):
        message = self.receive_head()
        return self.receive_body(message, message["Content-Length"])

    def receive_response(self, to="GET"):
        """The next final response, with those before it in .interim. `to` is the method that it answers."""
        interim = []
        while (message := self.receive_head()).status < 200:
            interim.append(message)
        message.interim = interim
        if to == "HEAD" or message.status in (204, 304):
            return message
        if not message.is_chunked and message["Content-Length"] is None:
            message.body = self.receive_all()
            return message
        return self.receive_body(message, message["Content-Length"])

    def exchange(self, *parts, to="GET"):
        """Sends a request and receives its response."""
        self.send(*parts)
        return self.receive_response(to)


def connect(address, receive_buffer=None):
    """`address` is (host, port) or the path of a Unix-domain socket."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    sock.connect(address)
    return Connection(sock, "the gateway")


class Origin:
    """A listening socket. The test accepts connections and plays the server on them."""

    def __init__(self, backlog=128, listens=True):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", 0))
        if listens:
            self.sock.listen(backlog)
        self.sock.settimeout(PATIENCE)
        self.port = self.sock.getsockname()[1]
        self.connections = []

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def accept(self):
        connection = Connection(self.sock.accept()[0], "the gateway (to its origin)")
        self.connections.append(connection)
        return connection

    def accept_request(self, target):
        """The connection on which the request for this target comes, with it still to be read; and what was
        read on the others."""
        mark = f" {target} HTTP/1.1\r\n".encode()
        waiting = [c for c in self.connections if c.sock.fileno() >= 0]
        while True:
            ready, _, _ = select.select([self.sock, *(c.sock for c in waiting)], [], [], PATIENCE)
            assert ready, f"no request for {target} came"
            if self.sock in ready:
                waiting.append(self.accept())
            for connection in [c for c in waiting if c.sock in ready]:
                if not connection.more_or_reset():
                    waiting.remove(connection)
                if mark in connection.buffer:
                    return connection, [c.buffer for c in self.connections if c is not connection]

    def drop_connections(self):
        """Closes what was accepted, and what waits to be."""
        for connection in self.connections:
            connection.close()
        self.connections = []
        self.sock.setblocking(False)
        try:
            while True:
                self.sock.accept()[0].close()
        except OSError:
            self.sock.settimeout(PATIENCE)

    def close(self):
        self.drop_connections()
        self.sock.close()
