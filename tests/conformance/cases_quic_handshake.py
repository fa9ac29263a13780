"""RFC 9000 7 and 17 to 18, RFC 9001: what is said in the handshake."""
from aioquic.buffer import encode_uint_var as varint
from aioquic.tls import Epoch

from quic_case import Case
from quic_client import PING, Ways, parameter
from quic_expect import (ILLEGAL_PARAMETER, MISSING_EXTENSION, NO_APPLICATION_PROTOCOL, PROTOCOL_VIOLATION,
                         TRANSPORT_PARAMETER_ERROR, UNEXPECTED_MESSAGE, Alert, Answered, ClosedOrPassedOver,
                         Transport)

ORIGINAL_ID, IDLE, RESET_TOKEN, MAX_PAYLOAD, MAX_DATA, STREAM_DATA, STREAMS_BIDI, STREAMS_UNI, ACK_EXPONENT, MAX_ACK_DELAY, \
    NO_MIGRATION, PREFERRED, ACTIVE_IDS, SOURCE_ID, RETRY_ID = 0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16
OLD_EXTENSION = 0xffa5
KEY_UPDATE, END_OF_EARLY_DATA = b"\x18\x00\x00\x01\x01", b"\x05\x00\x00\x00"
ADDRESS = b"\x7f\x00\x00\x01\x01\xbb" + bytes(18) + b"\x08" + bytes(range(8)) + bytes(range(16))


def setting(number, value):
    """Ways with another value of a transport parameter; None: without it."""
    def change(parameters):
        parameters.pop(number, None)
        if value is not None:
            parameters[number] = value
    return Ways(parameters=change)


def behind(octets):
    """Ways with octets behind the parameters."""
    return Ways(parameters=lambda parameters: b"".join(parameter(*pair) for pair in parameters.items()) + octets)


WRONG_PARAMETERS = {
    "initial_source_connection_id is missing": setting(SOURCE_ID, None),
    "initial_source_connection_id is another": setting(SOURCE_ID, b"another!"),
    "original_destination_connection_id of a client": setting(ORIGINAL_ID, b"DUMMY"),
    "preferred_address of a client": setting(PREFERRED, ADDRESS),
    "retry_source_connection_id of a client": setting(RETRY_ID, b"DUMMY"),
    "stateless_reset_token of a client": setting(RESET_TOKEN, bytes(16)),
    "max_udp_payload_size below 1200": setting(MAX_PAYLOAD, varint(1199)),
    "ack_delay_exponent above 20": setting(ACK_EXPONENT, varint(21)),
    "max_ack_delay of 2^14": setting(MAX_ACK_DELAY, varint(1 << 14)),
    "active_connection_id_limit below 2": setting(ACTIVE_IDS, varint(1)),
    "initial_max_streams_bidi above 2^60": setting(STREAMS_BIDI, varint((1 << 60) + 1)),
    "initial_max_streams_uni above 2^60": setting(STREAMS_UNI, varint((1 << 60) + 1)),
    "disable_active_migration with a value": setting(NO_MIGRATION, b"x"),
    "a value that is longer than its integer": setting(IDLE, varint(1000) + b"x"),
    "a parameter that is cut off": behind(varint(IDLE) + varint(8) + b"x"),
    "an ID that is too long": setting(SOURCE_ID, bytes(21)),
}


def parameters():
    for name, ways in WRONG_PARAMETERS.items():
        codes = (TRANSPORT_PARAMETER_ERROR, PROTOCOL_VIOLATION) if name.endswith("another") else (TRANSPORT_PARAMETER_ERROR,)
        yield Case(f"transport parameters: {name}", "RFC 9000 18.2", Transport(*codes), ways=ways)
    yield Case("transport parameters: a reserved number is passed over", "RFC 9000 7.4.2", Answered(), lambda c: c.get(),
               ways=behind(parameter(31 * 7 + 27, b"grease")))


def in_handshake(*frames, **how):
    return Ways(in_handshake=lambda client: client.frames(*frames, epoch=Epoch.HANDSHAKE, **how))


def in_initial(*frames):
    return Ways(in_handshake=lambda client: client.initial(*frames))


NOT_BEFORE_1RTT = {
    "PATH_CHALLENGE": b"\x1a01234567", "PATH_RESPONSE": b"\x1b01234567", "STREAM": b"\x0a\x00\x01x",
    "RESET_STREAM": b"\x04\x00\x00\x00", "STOP_SENDING": b"\x05\x00\x00", "MAX_DATA": b"\x10\x20", "MAX_STREAMS": b"\x12\x20",
    "MAX_STREAM_DATA": b"\x11\x00\x20", "DATA_BLOCKED": b"\x14\x20", "STREAMS_BLOCKED": b"\x16\x20",
    "NEW_CONNECTION_ID": b"\x18\x01\x00\x08" + bytes(24), "RETIRE_CONNECTION_ID": b"\x19\x00", "NEW_TOKEN": b"\x07\x01x",
    "HANDSHAKE_DONE": b"\x1e", "CONNECTION_CLOSE of an application": b"\x1d\x00\x00",
}


def packet_types():
    for name, octets in NOT_BEFORE_1RTT.items():
        yield Case(f"{name} in Handshake packets", "RFC 9000 12.4", Transport(PROTOCOL_VIOLATION), ways=in_handshake(octets))
        yield Case(f"{name} in Initial packets", "RFC 9000 12.4, 5.2", ClosedOrPassedOver(PROTOCOL_VIOLATION),
                   lambda c: c.get(), ways=in_initial(octets))
    yield Case("reserved bits in Handshake packets", "RFC 9000 17.2", Transport(PROTOCOL_VIOLATION),
               ways=in_handshake(PING, reserved=2))
    yield Case("no frames in Handshake packets", "RFC 9000 12.4", Transport(PROTOCOL_VIOLATION),
               ways=Ways(in_handshake=lambda client: client.send(client.packet(b"", Epoch.HANDSHAKE, pn_length=4))))
    yield Case("a Handshake packet that is no packet", "RFC 9000 12.2", Answered(), lambda c: c.get(),
               ways=Ways(in_handshake=lambda client: client.send(b"\xef" + client.packet(PING * 8, Epoch.HANDSHAKE)[1:])))


def with_finished(make):
    """Ways in which what TLS says at the end is another."""
    return Ways(crypto=lambda epoch, data: make(data) if epoch is Epoch.HANDSHAKE else data)


def of_tls():
    unexpected = Alert(UNEXPECTED_MESSAGE)
    yield Case("KeyUpdate in Handshake packets", "RFC 9001 6", unexpected, ways=with_finished(lambda data: data + KEY_UPDATE))
    yield Case("KeyUpdate in 1-RTT packets", "RFC 9001 6", unexpected,
               lambda c: c.frames(b"\x06\x00" + varint(len(KEY_UPDATE)) + KEY_UPDATE))
    yield Case("EndOfEarlyData", "RFC 9001 8.3", unexpected, ways=with_finished(lambda data: END_OF_EARLY_DATA + data))
    yield Case("no protocol of ours", "RFC 9001 8.1", Alert(NO_APPLICATION_PROTOCOL), ways=Ways(alpn=("dummy",)))
    yield Case("no transport parameters", "RFC 9001 8.2", Alert(MISSING_EXTENSION), ways=Ways(extensions=lambda _: []))
    yield Case("transport parameters of a draft", "RFC 9001 8.2", Alert(MISSING_EXTENSION),
               ways=Ways(extensions=lambda pairs: [(OLD_EXTENSION, pairs[0][1])]))
    yield Case("Finished that is wrong", "RFC 8446 4.4.4", Alert(51, ILLEGAL_PARAMETER),
               ways=with_finished(lambda data: data[:-1] + bytes([data[-1] ^ 1])))


def cases():
    yield from parameters()
    yield from packet_types()
    yield from of_tls()
