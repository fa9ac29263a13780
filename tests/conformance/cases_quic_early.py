"""RFC 9000 12.4 and 12.5, RFC 9001 4.6 and 8.3: what may be in 0-RTT packets."""
from aioquic.buffer import encode_uint_var as varint
from aioquic.tls import Epoch

from quic_case import Case
from quic_client import PING, Ways
from quic_expect import PROTOCOL_VIOLATION, Answered, Transport

ENCRYPTED_EXTENSIONS = b"\x08\x00\x00\x02\x00\x00"
NOT_EARLY = {
    "CRYPTO": b"\x06\x00" + varint(len(ENCRYPTED_EXTENSIONS)) + ENCRYPTED_EXTENSIONS, "ACK": b"\x02\x00\x00\x00\x00",
    "HANDSHAKE_DONE": b"\x1e", "NEW_TOKEN": b"\x07\x01x", "PATH_RESPONSE": b"\x1b01234567",
    "RETIRE_CONNECTION_ID": b"\x19\x00",
}
SECTIONS = {"CRYPTO": "RFC 9001 8.3"}


def early(*frames):
    """Ways with these frames in a 0-RTT packet."""
    return Ways(early=lambda client: client.frames(*frames, epoch=Epoch.ZERO_RTT))


def ask(client):
    client.open_streams()
    client.get()


def cases():
    yield Case("a request in 0-RTT packets", "RFC 9001 4.6", Answered(), ways=Ways(early=ask, with_streams=False))
    yield Case("PING in 0-RTT packets", "RFC 9000 12.4", Answered(), lambda client: client.get(), ways=early(PING * 4))
    for name, octets in NOT_EARLY.items():
        yield Case(f"{name} in 0-RTT packets", SECTIONS.get(name, "RFC 9000 12.4"), Transport(PROTOCOL_VIOLATION),
                   ways=early(octets))
