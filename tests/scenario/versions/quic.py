"""QUIC on the loop of the scenarios, with aioquic as the engine: sockets, timers, and a window for each stream that follows
what the test takes. Only for tests that are skipped where aioquic is missing."""
import contextlib
import os
import socket
import ssl
import time

from aioquic.buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicFrameType, QuicPacketType, pull_quic_header
from cryptography.hazmat.primitives.serialization import Encoding

READ_TURNS, DATAGRAM_MAX = 64, 65536
SOCKET_BUFFER, SO_SNDBUFFORCE, SO_RCVBUFFORCE = 8 << 20, 32, 33
PAYLOAD, ID_LENGTH = 1350, 8
WINDOW, WIDE = 65536, 1 << 30
IDLE_SECONDS, FIRST_RTT = 300, 0.02


def configuration(is_client, window=WINDOW, **more):
    return QuicConfiguration(is_client=is_client, alpn_protocols=["h3"], idle_timeout=IDLE_SECONDS, initial_rtt=FIRST_RTT,
                             max_data=WIDE, max_stream_data=window, max_datagram_size=PAYLOAD,
                             connection_id_length=ID_LENGTH, verify_mode=ssl.CERT_NONE, **more)


class Engine(QuicConnection):
    """The window of a stream is opened by `open_window` alone; aioquic would open it whenever bytes come."""

    def _write_stream_limits(self, builder, space, stream):
        if stream.max_stream_data_local_sent == stream.max_stream_data_local:
            return
        out = builder.start_frame(QuicFrameType.MAX_STREAM_DATA, capacity=1 + 8 + 8,
                                  handler=self._on_max_stream_data_delivery, handler_args=(stream,))
        out.push_uint_var(stream.stream_id)
        out.push_uint_var(stream.max_stream_data_local)
        stream.max_stream_data_local_sent = stream.max_stream_data_local

    def _handle_path_response_frame(self, context, frame_type, buf):
        """A second copy of an answer is no error, as a network may double it."""
        if bytes(buf.data_slice(buf.tell(), buf.tell() + 8)) in self._local_challenges:
            super()._handle_path_response_frame(context, frame_type, buf)
        else:
            buf.pull_bytes(8)

    def _handle_stop_sending_frame(self, context, frame_type, buf):
        """Nor is one of STOP_SENDING, whose acknowledgement may have been late, nor one for what has been reset anyway."""
        at = buf.tell()
        stream = self._streams.get(buf.pull_uint_var())
        if stream and stream.sender._reset_error_code is not None:  # pylint: disable=protected-access
            buf.pull_uint_var()
            return
        buf.seek(at)
        super()._handle_stop_sending_frame(context, frame_type, buf)

    def stream(self, number):
        """As aioquic has it; None: not yet, or not any more."""
        return self._streams.get(number)

    def open_window(self, number, end):
        """The peer may send up to that offset."""
        stream = self.stream(number)
        if stream and not stream.receiver.is_finished and end > stream.max_stream_data_local:
            stream.max_stream_data_local = end

    @property
    def is_ready(self):
        return self._handshake_complete

    def certificate(self):
        """Of the peer, as DER."""
        return self.tls._peer_certificate.public_bytes(Encoding.DER)  # pylint: disable=protected-access


def udp_socket(address=("127.0.0.1", 0)):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for force, usual in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, force, SOCKET_BUFFER)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, usual, SOCKET_BUFFER)
    sock.bind(address)
    sock.setblocking(False)
    return sock


class Endpoint:
    """A UDP socket on the loop, and the connections on it."""

    wants_write, wake_at = False, None

    def __init__(self, loop):
        self.loop, self.sock, self.links = loop, udp_socket(), {}
        self.wants_read, self.has_more = True, False
        self.port = self.sock.getsockname()[1]
        loop.pipes.append(self)

    def move(self):
        touched, self.has_more = {}, False
        for _ in range(READ_TURNS):
            try:
                data, address = self.sock.recvfrom(DATAGRAM_MAX)
            except BlockingIOError:
                break
            except ConnectionError:
                continue  # what ICMP says of an earlier datagram
            link = self.link_of(data, address)
            if link:
                link.receive(data, address)
                touched[link] = None
        else:
            self.has_more = True
        for link in touched:
            link.go_on()

    def link_of(self, data, address):
        """The connection that a datagram belongs to."""
        raise NotImplementedError

    def send(self, data, address):
        """What does not go out is lost, as anywhere on its way."""
        with contextlib.suppress(OSError):
            self.sock.sendto(data, address)

    def close(self):
        if self in self.loop.pipes:
            self.loop.pipes.remove(self)
            self.sock.close()


class ClientEndpoint(Endpoint):
    """One connection, and a port of its own for it."""

    def __init__(self, loop, address, config):
        super().__init__(loop)
        self.link = Link(self, Engine(configuration=config))
        self.link.quic.connect(address, time.monotonic())
        self.link.push()

    def link_of(self, data, address):
        return self.link

    def rebind(self):
        """Another port, as after a NAT has forgotten the old one."""
        self.sock.close()
        self.sock = udp_socket()
        self.port = self.sock.getsockname()[1]


class Listening(Endpoint):
    """A server's socket. `on_accept` gets each new connection."""

    def __init__(self, loop, on_accept, config):
        super().__init__(loop)
        self.on_accept, self.config = on_accept, config

    def link_of(self, data, address):
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=ID_LENGTH)
        except ValueError:
            return None
        link = self.links.get(header.destination_cid)
        if not link and header.packet_type == QuicPacketType.INITIAL and header.version in self.config.supported_versions:
            engine = Engine(configuration=self.config, original_destination_connection_id=header.destination_cid)
            link = Link(self, engine)
            self.links[header.destination_cid] = self.links[engine.host_cid] = link
            self.on_accept(link)
        return link


class Link:
    """A connection: what a Pipe is over TCP. `feed` gets its events; `on_end` hears of the end; before packets are made,
    `on_push` is asked for what there is to send."""

    wants_read = wants_write = has_more = False

    def __init__(self, endpoint, quic):
        self.endpoint, self.quic, self.loop = endpoint, quic, endpoint.loop
        self.feed = self.on_end = self.on_push = None
        self.is_ended = self.is_broken = self.is_held = False
        self.wake_at, self.goodbye, self.why = None, [], None
        self.loop.pipes.append(self)

    # ---- moving

    def receive(self, data, address):
        if self.is_ended:
            self.repeat_goodbye()
            return
        self.quic.receive_datagram(data, address, time.monotonic())

    def on_wake(self):
        self.quic.handle_timer(time.monotonic())
        self.go_on()

    def go_on(self):
        """What has happened, and then what there is to say."""
        if self.is_ended:
            return
        while not self.is_ended and (event := self.quic.next_event()):
            self.on_event(event)
        self.push()

    def on_event(self, event):
        links = self.endpoint.links
        if isinstance(event, events.ConnectionIdIssued):
            links[event.connection_id] = self
        elif isinstance(event, events.ConnectionIdRetired):
            links.pop(event.connection_id, None)
        elif isinstance(event, events.ConnectionTerminated):
            self.why = event
            self.end()
        else:
            self.feed(event)

    def push(self):
        if self.is_held or self.is_ended:
            return
        if self.on_push:
            self.on_push()
        self.send_datagrams()

    def send_datagrams(self):
        sent = self.quic.datagrams_to_send(time.monotonic())
        for data, address in sent:
            self.endpoint.send(data, address)
        self.wake_at = self.quic.get_timer()
        return sent

    @contextlib.contextmanager
    def in_one_piece(self):
        """What is written meanwhile leaves together."""
        self.is_held = True
        yield
        self.is_held = False
        self.push()

    # ---- ending

    def end(self):
        if self.is_ended:
            return
        self.is_ended, self.wake_at = True, None
        if self in self.loop.pipes:
            self.loop.pipes.remove(self)
        if isinstance(self.endpoint, ClientEndpoint):
            self.endpoint.close()
        if self.on_end:
            self.on_end()

    def close(self, reset=False, code=0x100):
        """Closes at once; the peer loses what has not reached it. Whoever goes on sending is told again."""
        assert reset in (True, False)
        if self.is_ended:
            return
        self.quic.close(error_code=code)
        self.goodbye = self.send_datagrams()
        self.repeat_goodbye()
        self.end()

    def repeat_goodbye(self):
        for data, address in self.goodbye:
            self.endpoint.send(data, address)
