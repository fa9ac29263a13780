"""What is the same in every version: one request and its response as one of the two sides has it.

    client.ask("PUT", "/x", "name: value", length=5)   begins a request           -> Talk
    origin.request()                                   the next request that came -> Talk
    talk.respond(200, length=5), talk.interim(103)     begins a response
    talk.send(bytes), talk.end("trailer: value")       goes on with what was begun
    talk.answer(), talk.receive(5), talk.rest()        waits for the other's
    talk.cancel(), talk.fate()                         breaks off; waits for how it ended
"""
from wire import Fields, bytes_of

END = "end"           # fates: complete;
CUT = "cut"           # the connection ended within it;
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM = 0, 1, 2, 7      # or a reset's code
CANCEL, CONNECT_ERROR, ENHANCE_YOUR_CALM = 8, 10, 11


def split(lines):
    """(name, value) pairs of "name: value" lines."""
    return [tuple(line.split(": ", 1)) for line in lines]


class Head:
    """Of a request or a response. `authority` is what Host or :authority says."""

    def __init__(self, fields, method=None, target=None, authority=None, status=None):
        self.fields, self.status = Fields(fields), status
        self.method, self.target, self.authority = method, target, authority

    def __getitem__(self, name):
        return self.fields.get(name)

    def __repr__(self):
        return f"{self.method or ''}{self.target or ''}{self.status or ''} {list(self.fields)}"


class Talk:
    def __init__(self, connection):
        self.connection, self.loop = connection, connection.loop
        self.head, self.interims, self.trailers = None, [], Fields()
        self.received, self.is_complete, self.broken = bytearray(), False, None

    # ---- what has come

    @property
    def is_over(self):
        return self.is_complete or self.broken is not None

    def answer(self):
        """The final head of the response."""
        self.loop.until("a response", lambda: self.head or self.is_over)
        assert self.head, f"no response, but {self.broken}"
        return self.head

    def next_interim(self):
        """The next interim head."""
        self.loop.until("an interim response", lambda: self.interims or self.head or self.is_over)
        assert self.interims, f"no interim response, but {self.head} {self.broken}"
        return self.interims.pop(0)

    def take(self, most=None):
        """Of the body what is here; the sender may send as much again."""
        data = bytes(self.received[:most])
        del self.received[:len(data)]
        if data:
            self.connection.taken(self, len(data))
        return data

    def receive(self, n):
        """Exactly n bytes."""
        data = bytearray()
        while len(data) < n:
            self.loop.until("bytes of a body", lambda: self.received or self.is_over)
            assert self.received, f"{len(data)} of {n} bytes, then {self.fate()}"
            data += self.take(n - len(data))
        return bytes(data)

    def rest(self):
        """The rest of a body that has to be complete; trailers are in .trailers then."""
        data = bytearray()
        while not self.is_over or self.received:
            self.loop.until("the rest of a body", lambda: self.received or self.is_over)
            data += self.take()
        assert self.is_complete, f"{len(data)} bytes, then {self.broken}"
        return bytes(data)

    def fate(self):
        """How the message from the other side ended, whatever came of it: END, CUT, or the code of a reset."""
        while not self.is_over:
            self.loop.until("the end of a message", lambda: self.received or self.is_over)
            self.take()
        return END if self.broken is None else self.broken

    # ---- what goes out

    def send(self, *parts):
        """Is sent as fast as the other side takes it; flush() waits until it is gone."""
        self.connection.send_body(self, b"".join(map(bytes_of, parts)))
        return self

    def end(self, *trailers):
        self.connection.end_message(self, split(trailers))
        return self

    @property
    def unsent(self):
        return self.connection.unsent(self)

    def flush(self):
        self.loop.until("everything is sent", lambda: not self.unsent or self.broken is not None)
        return self

    def respond(self, status=200, *fields, body=b"", length=None, is_open=False):
        """A whole response with its length; or only the head, for a body that is sent later."""
        if not is_open and status not in (204, 304) and self.head.method != "HEAD":
            length = len(body) if length is None else length
        fields = [*split(fields), *([("Content-Length", str(length))] if length is not None else [])]
        self.connection.send_response(self, status, fields, not is_open, bytes_of(body))
        return self

    def agree_on_tunnel(self):
        """Answers a request for WebSocket; from here on bytes pass both ways."""
        assert self.connection.asks_for_tunnel(self.head), self.head
        self.connection.agree_on_tunnel(self)
        return self

    def interim(self, status, *fields):
        self.connection.send_interim(self, status, split(fields))
        return self

    def cancel(self, code=CANCEL):
        """Breaks it off as the version can: a reset of the stream, or of the connection."""
        self.connection.cancel(self, code)
        return self


class Client:
    """Talks with one listener of the gateway. `connect` makes a connection."""

    def __init__(self, loop, connect, authority):
        self.loop, self.connect, self.authority, self.connections = loop, connect, authority, []

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def connection(self):
        """One on which a request can begin."""
        free = [c for c in self.connections if c.can_ask]
        if not free:
            free = [self.connect()]
            self.connections.append(free[0])
        return free[0]

    def ask(self, method="GET", target="/", *fields, body=None, length=None, is_open=False, authority=None):
        """A whole request, with a Content-Length when there is a body; or only its head."""
        if body is not None and length is None:
            length = len(body)
        fields = [*split(fields), *([("Content-Length", str(length))] if length is not None else [])]
        head = Head(fields, method, target, authority or self.authority)
        return self.connection().send_request(head, not is_open, bytes_of(body or b""))

    def ask_tunnel(self, target="/chat"):
        """Asks for WebSocket as the version does it."""
        return self.connection().ask_tunnel(target, self.authority)

    def close(self):
        """Leaves for good: after a plain end of what is sent an answer would still be waited for."""
        for connection in self.connections:
            connection.pipe.close(reset=True)
        self.connections = []


class Origin:
    """Listens, and has the requests that come in order. `serve` makes a connection of a socket."""

    def __init__(self, listening, serve):
        self.listening, self.loop, self.serve, self.connections = listening, listening.loop, serve, []
        listening.on_accept = self.accept

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.listening.port}"

    def accept(self, sock):
        """One whose other side has left before the handshake is none."""
        try:
            self.connections.append(self.serve(sock))
        except OSError:
            sock.close()

    def arrived(self, target=None):
        """The next request that is here, or None."""
        for connection in self.connections:
            for talk in connection.arrived:
                if target in (None, talk.head.target):
                    connection.arrived.remove(talk)
                    return talk
        return None

    def request(self, target=None):
        return self.loop.until(f"a request{f' for {target}' if target else ''}", lambda: self.arrived(target))

    @property
    def open_connections(self):
        return [c for c in self.connections if not c.pipe.is_ended]

    def drop_connections(self):
        """Closes what was accepted, and what waits to be."""
        self.listening.wants_read = True
        self.loop.turn(0)
        for connection in self.connections:
            connection.close()
        self.connections = []

    def close(self):
        self.drop_connections()
        self.listening.close()
