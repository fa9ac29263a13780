"""A client of QUIC that does what a case says, right or wrong. aioquic does the handshake, acknowledges and resends; a case
changes what it says in the handshake, and sends packets, frames and octets of streams of its own.

Waits are for events. Behind what a case has sent goes a PING, and behind its acknowledgement a second one: what the server
had to say at once has been said when that is acknowledged, too."""
import os
import select
import socket
import ssl
import time
from dataclasses import dataclass, field

from aioquic import tls
from aioquic.buffer import encode_uint_var as varint
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import Epoch

PATIENCE, DATAGRAM_MAX, FIRST_RTT = 20, 65536, 0.05
CONTROL, PUSH, ENCODER, DECODER = range(4)
REQUEST, CONTROL_ID, ENCODER_ID, DECODER_ID = 0, 2, 6, 10   # numbers of a client's first streams
TYPES = {Epoch.INITIAL: 0, Epoch.ZERO_RTT: 1, Epoch.HANDSHAKE: 2}
TAG_SIZE = 16
PING = b"\x01"


@dataclass
class Target:
    """A server of HTTP/3 whose resource `path` answers GET and POST with 200 and some content."""
    host: str = "127.0.0.1"
    port: int = 0
    path: str = "/"
    authority: str = "test.example"


@dataclass
class Ways:
    """How a client is different from others, in the handshake."""
    alpn: tuple = ("h3",)
    id_length: int = 8
    parameters: object = None       # changes {number: value} of the transport parameters; may return octets in their place
    extensions: object = None       # changes [(type, octets)] beyond those of TLS in the ClientHello
    crypto: object = None           # (epoch, octets) -> octets: what TLS says
    in_handshake: object = None     # (client): is called once the keys of Handshake packets are there, before its own go out
    versions: tuple = (QuicProtocolVersion.VERSION_1,)
    ticket: object = None           # of an earlier connection
    early: object = None            # (client): is called when 0-RTT packets can be sent; the ticket is got before
    token: bytes = b""
    with_streams: bool = True       # control, encoder and decoder streams are opened, with SETTINGS


@dataclass
class Seen:
    """What has come from the server."""
    closed: object = None                           # ConnectionTerminated
    resets: dict = field(default_factory=dict)      # of streams: codes
    stops: dict = field(default_factory=dict)
    octets: dict = field(default_factory=dict)      # of streams
    ended: set = field(default_factory=set)
    pings: set = field(default_factory=set)
    frames: list = field(default_factory=list)      # kinds that Client.watched has, with their octets
    datagrams: int = 0

    def __str__(self):
        parts = [f"closed: {describe(self.closed)}"] if self.closed else []
        parts += [f"RESET_STREAM {stream} {code:#x}" for stream, code in self.resets.items()]
        parts += [f"STOP_SENDING {stream} {code:#x}" for stream, code in self.stops.items()]
        parts += [f"{len(octets)} octets on {stream}" for stream, octets in self.octets.items() if stream % 4 == 0]
        parts += [f"{len(self.pings)} PINGs acknowledged"] if self.pings else []
        return ", ".join(parts) or f"{self.datagrams} datagrams"


def describe(closed):
    if closed.reason_phrase == "Idle timeout":
        return "silence"
    kind = "application" if closed.frame_type is None else "transport"
    return f"{kind} {closed.error_code:#x} {closed.reason_phrase!r}"


class Silence(Exception):
    """What was waited for did not come."""


class Fault(Exception):
    """The server has done what none may do."""


class Engine(QuicConnection):
    def __init__(self, ways, **options):
        self.ways, self.fault = ways, ""
        super().__init__(**options)
        if not ways.id_length:  # aioquic would have no ID for the server either
            self._peer_cid.cid = self._original_destination_connection_id = os.urandom(8)

    def close(self, error_code=0, frame_type=None, reason_phrase=""):
        """By the client; aioquic calls it when the server has done what none may do, too."""
        self.fault = reason_phrase
        super().close(error_code, frame_type, reason_phrase)

    def _serialize_transport_parameters(self):
        octets = super()._serialize_transport_parameters()
        return octets if not self.ways.parameters else changed_parameters(octets, self.ways.parameters)

    def _initialize(self, peer_cid):
        super()._initialize(peer_cid)
        if self.ways.extensions:
            self.tls.handshake_extensions = self.ways.extensions(self.tls.handshake_extensions)

    def _replenish_connection_ids(self):
        """aioquic would give out some of no octets."""
        if self.ways.id_length:
            super()._replenish_connection_ids()

    def _push_crypto_data(self):
        for epoch, buffer in self._crypto_buffers.items():
            data = buffer.data
            if data and self.ways.crypto:
                data = self.ways.crypto(epoch, data)
            self._crypto_streams[epoch].sender.write(data)
            buffer.seek(0)

    def _handle_path_response_frame(self, context, frame_type, buf):
        """Answers to challenges of a case are noted; aioquic has made none."""
        self._events.append(PathResponse(buf.pull_bytes(8)))


@dataclass
class PathResponse:
    octets: bytes


def changed_parameters(octets, change):
    parameters, at = {}, 0
    while at < len(octets):
        number, at = take_varint(octets, at)
        length, at = take_varint(octets, at)
        parameters[number], at = octets[at:at + length], at + length
    found = change(parameters)
    if isinstance(found, bytes):
        return found
    return b"".join(parameter(number, value) for number, value in parameters.items())


def parameter(number, value):
    return varint(number) + varint(len(value)) + value


def take_varint(octets, at):
    size = 1 << (octets[at] >> 6)
    return int.from_bytes(octets[at:at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


class Client:
    """One connection. Attributes of aioquic's that begin with _ are used throughout: it has no others for this."""

    def __init__(self, target, ways=None):
        self.target, self.ways, self.seen = target, ways or Ways(), Seen()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect((target.host, target.port))
        self.sock.setblocking(False)
        self.tickets, self.is_done, self.was_in_handshake = [], False, False
        config = QuicConfiguration(is_client=True, alpn_protocols=list(self.ways.alpn), server_name=target.authority,
                                   verify_mode=ssl.CERT_NONE, initial_rtt=FIRST_RTT, idle_timeout=3600,
                                   connection_id_length=self.ways.id_length, supported_versions=list(self.ways.versions),
                                   session_ticket=self.ways.ticket, token=self.ways.token)
        self.quic = Engine(self.ways, configuration=config, session_ticket_handler=self.tickets.append)

    def close(self):
        if not self.seen.closed and self.is_done:
            self.quic.close(error_code=0x100)
            self.flush()
        self.sock.close()

    # ---- moving

    def send(self, datagram):
        try:
            self.sock.send(datagram)
        except OSError:
            pass  # seen as silence

    def flush(self):
        for data, _ in self.quic.datagrams_to_send(time.monotonic()):
            self.send(data)

    def poll(self, deadline):
        """Moves datagrams and timers once; False: the deadline has passed."""
        self.flush()
        now = time.monotonic()
        if now >= deadline:
            return False
        timer = self.quic.get_timer()
        wait = min(deadline, timer if timer is not None else deadline) - now
        if select.select([self.sock], [], [], max(0, wait))[0]:
            self.receive()
        elif timer is not None and time.monotonic() >= timer:
            self.quic.handle_timer(time.monotonic())
        self.take_events()
        return True

    def receive(self):
        try:
            data = self.sock.recv(DATAGRAM_MAX)
        except OSError:
            return
        self.seen.datagrams += 1
        self.quic.receive_datagram(data, (self.target.host, self.target.port), time.monotonic())
        if self.quic.fault:
            raise Fault(self.quic.fault)
        if self.ways.in_handshake and not self.was_in_handshake and self.crypto(Epoch.HANDSHAKE).is_valid():
            self.was_in_handshake = True
            self.ways.in_handshake(self)

    def take_events(self):
        seen = self.seen
        while event := self.quic.next_event():
            if isinstance(event, events.HandshakeCompleted):
                self.is_done = True
            elif isinstance(event, events.StreamReset):
                seen.resets[event.stream_id] = event.error_code
            elif isinstance(event, events.StopSendingReceived):
                seen.stops[event.stream_id] = event.error_code
            elif isinstance(event, events.PingAcknowledged):
                seen.pings.add(event.uid)
            elif isinstance(event, PathResponse):
                seen.frames.append(event.octets)
            elif isinstance(event, events.StreamDataReceived):
                seen.octets[event.stream_id] = seen.octets.get(event.stream_id, b"") + event.data
                if event.end_stream:
                    seen.ended.add(event.stream_id)
        seen.closed = self.quic._close_event  # there before aioquic tells of it, which is after a while

    def wait(self, condition, seconds=PATIENCE):
        """Until it holds, or the connection is over."""
        deadline = time.monotonic() + seconds
        while not condition() and not self.seen.closed:
            if not self.poll(deadline):
                raise Silence

    # ---- the whole of it

    def begin(self):
        self.quic.connect((self.target.host, self.target.port), time.monotonic())
        if self.ways.early:
            self.flush()
            self.ways.early(self)
        self.wait(lambda: self.is_done)
        if not self.seen.closed and self.ways.with_streams:
            self.open_streams()
            self.wait(lambda: self.quic._handshake_confirmed)

    def was_refused(self):
        """Its early data; once the handshake is done."""
        return self.is_done and not self.seen.closed and not self.quic.tls.early_data_accepted

    def open_streams(self):
        """The request's, too, without an octet: what a case sends on it is not known to aioquic otherwise."""
        for number, octets in ((REQUEST, b""), (CONTROL_ID, b"\x00\x04\x00"), (ENCODER_ID, b"\x02"), (DECODER_ID, b"\x03")):
            self.write(number, octets)

    def settle(self):
        """Until the server has had its say."""
        for number in (1, 2):
            self.quic.send_ping(number)
            self.wait(lambda number=number: number in self.seen.pings)

    # ---- saying

    def write(self, number, octets, end=False):
        """Octets of a stream, resent until they are acknowledged."""
        if not self.seen.closed:
            self.quic.send_stream_data(number, octets, end)
            self.flush()

    def settings_of_peer(self):
        """The SETTINGS that came: {number: value}."""
        self.wait(lambda: any(octets[:2] == b"\x00\x04" for octets in self.seen.octets.values()))
        octets = next(octets for octets in self.seen.octets.values() if octets[:2] == b"\x00\x04")
        length, at = take_varint(octets, 2)
        self.wait(lambda: len(octets) >= at + length)
        values, end = {}, at + length
        while at < end:
            name, at = take_varint(octets, at)
            values[name], at = take_varint(octets, at)
        return values

    def crypto(self, epoch):
        return self.quic._cryptos[epoch].send

    def packet(self, payload, epoch=Epoch.ONE_RTT, reserved=0, pn_length=2, fixed=1):
        """The next packet, protected, with these frames in it and nothing else."""
        number = self.quic._packet_number
        self.quic._packet_number += 1
        pn = (number & ((1 << 8 * pn_length) - 1)).to_bytes(pn_length, "big")
        to, crypto = self.quic._peer_cid.cid, self.crypto(epoch)
        if epoch is Epoch.ONE_RTT:
            first = fixed << 6 | reserved << 3 | crypto.key_phase << 2 | pn_length - 1
            header = bytes([first]) + to + pn
        else:
            first = 0x80 | fixed << 6 | TYPES[epoch] << 4 | reserved << 2 | pn_length - 1
            mine = self.quic.host_cid
            token = varint(len(self.quic._peer_token)) + self.quic._peer_token if epoch is Epoch.INITIAL else b""
            length = pn_length + len(payload) + TAG_SIZE
            header = (bytes([first]) + self.quic._version.to_bytes(4, "big") + bytes([len(to)]) + to + bytes([len(mine)]) + mine
                      + token + (length | 0x4000).to_bytes(2, "big") + pn)
        return crypto.encrypt_packet(header, payload, number)

    def frames(self, *frames, **how):
        """A packet with these frames, sent once."""
        payload = b"".join(frames)
        if not self.seen.closed:
            self.send(self.packet(payload + bytes(max(0, 4 - len(payload))), **how))

    def initial(self, *frames):
        """An Initial packet, as large as it has to be."""
        self.frames(b"".join(frames).ljust(1150, b"\0"), epoch=Epoch.INITIAL)
