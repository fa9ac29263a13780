"""RFC 9000 2 to 5, 12, 17 and 19: frames and packets after the handshake."""
from aioquic.buffer import encode_uint_var as varint
from aioquic.tls import Epoch

from quic_case import Case
from quic_client import PING, Ways
from quic_expect import (CONNECTION_ID_LIMIT_ERROR, CRYPTO_BUFFER_EXCEEDED, FINAL_SIZE_ERROR, FLOW_CONTROL_ERROR,
                         FRAME_ENCODING_ERROR, PROTOCOL_VIOLATION, STREAM_LIMIT_ERROR, STREAM_STATE_ERROR, Answered, Says,
                         Survives, Transport)

ACK, RESET_STREAM, STOP_SENDING, CRYPTO, NEW_TOKEN, MAX_DATA, MAX_STREAM_DATA, MAX_STREAMS_BIDI, MAX_STREAMS_UNI, DATA_BLOCKED, \
    STREAM_DATA_BLOCKED, STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI, NEW_CONNECTION_ID, RETIRE_CONNECTION_ID, PATH_CHALLENGE, \
    PATH_RESPONSE, HANDSHAKE_DONE, DATAGRAM = 2, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 30, 0x30
TOO_MANY, HUGE, FAR = (1 << 60) + 1, 1 << 40, 4 * 10**6
OF_CLIENT, OF_SERVER, OF_CLIENT_UNI, OF_SERVER_UNI = range(4)
PART = b"\x01\x43\xe8"      # HEADERS of 1000 octets, which do not come


def of(kind, *numbers, octets=b""):
    """A frame of integers."""
    return b"".join(map(varint, (kind, *numbers))) + octets


def stream(number, octets=b"", offset=0, fin=False):
    return varint(0x0e | fin) + varint(number) + varint(offset) + varint(len(octets)) + octets


def new_id(number, retired=0, connection_id=b"newid-00", token=None):
    octets = bytes([len(connection_id)]) + connection_id + (token or connection_id[:8].ljust(8) * 2)[:16]
    return of(NEW_CONNECTION_ID, number, retired, octets=octets)


def sent(name, chapter, expect, *frames, ways=None, **how):
    """One packet with these frames."""
    return Case(name, f"RFC 9000 {chapter}", expect, lambda c: c.frames(*frames, **how), ways=ways or Ways())


def encoding():
    wrong = Transport(FRAME_ENCODING_ERROR)
    for kind in (0x20, 0x21, 0x3f, 0x40c1):
        yield sent(f"a frame of unknown type {kind:#x}", "12.4", wrong, varint(kind))
    yield sent("STREAM that is longer than its packet", "12.4", wrong, b"\x0a\x00\x40\xffx")
    yield sent("NEW_CONNECTION_ID that is cut off", "12.4", wrong, b"\x18\x05\x00\x08abcdefgh")
    yield Case("no frames", "RFC 9000 12.4", Transport(PROTOCOL_VIOLATION), lambda c: c.send(c.packet(b"", pn_length=4)))
    yield sent("reserved bits in 1-RTT packets", "17.3.1", Transport(PROTOCOL_VIOLATION), PING, reserved=2)
    yield sent("STREAM beyond the last offset", "19.8", Transport(FRAME_ENCODING_ERROR, FLOW_CONTROL_ERROR),
               stream(OF_CLIENT, b"xx", (1 << 62) - 1))
    yield sent("MAX_STREAMS above 2^60", "19.11", wrong, of(MAX_STREAMS_BIDI, TOO_MANY))
    yield sent("MAX_STREAMS for one direction above 2^60", "19.11", wrong, of(MAX_STREAMS_UNI, TOO_MANY))
    either = Transport(FRAME_ENCODING_ERROR, STREAM_LIMIT_ERROR)
    yield sent("STREAMS_BLOCKED above 2^60", "19.14", either, of(STREAMS_BLOCKED_BIDI, TOO_MANY))
    yield sent("STREAMS_BLOCKED for one direction above 2^60", "19.14", either, of(STREAMS_BLOCKED_UNI, TOO_MANY))


def not_of_clients():
    wrong = Transport(PROTOCOL_VIOLATION)
    yield sent("NEW_TOKEN", "19.7", wrong, of(NEW_TOKEN, 5, octets=b"DUMMY"))
    yield sent("HANDSHAKE_DONE", "19.20", wrong, of(HANDSHAKE_DONE))


def acknowledgements():
    wrong = Transport(PROTOCOL_VIOLATION)
    yield sent("ACK of packets that were not sent", "13.1", wrong, of(ACK, 1 << 20, 0, 0, 0))
    yield sent("ACK of a packet that was not sent yet, by little", "13.1", wrong, of(ACK, 2000, 0, 0, 1))
    yield sent("ACK whose first range begins below zero", "19.3.1", Transport(FRAME_ENCODING_ERROR), of(ACK, 1, 0, 0, 5))
    yield sent("ACK whose gap reaches below zero", "19.3.1", Transport(FRAME_ENCODING_ERROR), of(ACK, 1, 0, 1, 0, 5, 5))
    yield Case("ACK of packets of Handshake that were not sent", "RFC 9000 13.1", wrong,
               ways=Ways(in_handshake=lambda c: c.frames(of(ACK, 1000, 0, 0, 0), epoch=Epoch.HANDSHAKE)))


def states():
    wrong = Transport(STREAM_STATE_ERROR)
    yield sent("RESET_STREAM of a stream that only the server sends on", "19.4", wrong, of(RESET_STREAM, OF_SERVER_UNI, 0, 0))
    yield sent("RESET_STREAM of a stream that the server has not opened", "19.4", wrong, of(RESET_STREAM, 101, 0, 0))
    yield sent("STOP_SENDING of a stream that only the client sends on", "19.5", wrong, of(STOP_SENDING, OF_CLIENT_UNI, 0))
    yield sent("STOP_SENDING of a stream that the server has not opened", "19.5", wrong, of(STOP_SENDING, 101, 0))
    yield sent("STREAM on a stream that the server has not opened", "19.8", wrong, stream(OF_SERVER))
    yield sent("STREAM on a stream that only the server sends on", "19.8", wrong, stream(OF_SERVER_UNI))
    yield sent("MAX_STREAM_DATA of a stream that the server has not opened", "19.10", wrong, of(MAX_STREAM_DATA, 101, 10**6))
    yield sent("MAX_STREAM_DATA of a stream that only the client sends on", "19.10", wrong, of(MAX_STREAM_DATA, OF_CLIENT_UNI, 10**6))
    yield sent("STREAM_DATA_BLOCKED of a stream that only the server sends on", "19.13", wrong,
               of(STREAM_DATA_BLOCKED, OF_SERVER_UNI, 0))
    yield sent("STREAM_DATA_BLOCKED of a stream that the server has not opened", "19.13", wrong, of(STREAM_DATA_BLOCKED, 101, 0))


def limits():
    many = Transport(STREAM_LIMIT_ERROR)
    for name, number in (("", FAR), (" for one direction", FAR + 2)):
        yield sent(f"STREAM beyond the limit of streams{name}", "4.6", many, stream(number, b"x"))
        yield sent(f"RESET_STREAM beyond the limit of streams{name}", "4.6", many, of(RESET_STREAM, number, 0, 0))
        yield sent(f"STREAM_DATA_BLOCKED beyond the limit of streams{name}", "4.6", many, of(STREAM_DATA_BLOCKED, number, 0))
    yield sent("STOP_SENDING beyond the limit of streams", "4.6", many, of(STOP_SENDING, FAR, 0))
    yield sent("MAX_STREAM_DATA beyond the limit of streams", "4.6", many, of(MAX_STREAM_DATA, FAR, 10**6))
    flow = Transport(FLOW_CONTROL_ERROR)
    yield sent("STREAM beyond the window", "4.1", flow, stream(OF_CLIENT, b"GET /\r\n", HUGE, True))
    yield sent("STREAM beyond the window, with nothing in it", "4.1", flow, stream(OF_CLIENT, b"", HUGE, True))
    yield sent("STREAM of the control stream beyond its window", "4.1", flow, stream(OF_CLIENT_UNI, b"x", HUGE))
    yield sent("RESET_STREAM with a size beyond the window", "4.5", flow, of(RESET_STREAM, OF_CLIENT, 0, HUGE))
    yield Case("streams that go beyond the window of the connection", "RFC 9000 4.1", flow, beyond_connection)
    yield Case("CRYPTO far ahead", "RFC 9000 7.5", Transport(CRYPTO_BUFFER_EXCEEDED), lambda c: c.frames(of(CRYPTO, 10**6, 1), b"x"))


def beyond_connection(client):
    """Each stream keeps to its own window, with an octet at its end."""
    window, most = client.quic._remote_max_stream_data_bidi_remote, client.quic._remote_max_data
    count = most // window + 1
    if count > client.quic._remote_max_streams_bidi:
        window = most  # no stream can tell; the first is taken as far as it goes
    for index in range(count):
        client.frames(stream(4 * index, b"x", window - 1))


def sizes():
    wrong = Transport(FINAL_SIZE_ERROR)
    first = stream(OF_CLIENT, PART)
    yield sent("octets behind the end", "4.5", wrong, first, stream(OF_CLIENT, b"", 10, True), stream(OF_CLIENT, b"x", 10))
    yield sent("two ends, the later one further", "4.5", wrong, first, stream(OF_CLIENT, b"", 10, True),
               stream(OF_CLIENT, b"", 11, True))
    yield sent("two ends, the later one nearer", "4.5", wrong, first, stream(OF_CLIENT, b"", 10, True),
               stream(OF_CLIENT, b"", 9, True))
    yield sent("an end before what has come", "4.5", wrong, first, stream(OF_CLIENT, b"", 1, True))
    yield sent("RESET_STREAM with a size below what has come", "4.5", wrong, first, of(RESET_STREAM, OF_CLIENT, 0, 1))
    yield sent("RESET_STREAM with another size than the end", "4.5", wrong, first, stream(OF_CLIENT, b"", 10, True),
               of(RESET_STREAM, OF_CLIENT, 0, 11))
    yield sent("two RESET_STREAM with different sizes", "4.5", wrong, first, of(RESET_STREAM, OF_CLIENT, 0, 10),
               of(RESET_STREAM, OF_CLIENT, 0, 11))


def connection_ids():
    encoding_error, violation = Transport(FRAME_ENCODING_ERROR), Transport(PROTOCOL_VIOLATION)
    yield sent("NEW_CONNECTION_ID that retires more than there are", "19.15", encoding_error, new_id(9, 10))
    yield sent("NEW_CONNECTION_ID of no octets", "19.15", encoding_error, of(NEW_CONNECTION_ID, 9, 0, octets=b"\0" + bytes(16)))
    yield sent("NEW_CONNECTION_ID of 21 octets", "19.15", encoding_error,
               of(NEW_CONNECTION_ID, 9, 0, octets=b"\x15" + bytes(21) + bytes(16)))
    yield Case("NEW_CONNECTION_ID with a number again and another ID", "RFC 9000 19.15", violation,
               lambda c: c.frames(new_id(c.quic._host_cids[-1].sequence_number, 0, b"different")))
    yield Case("NEW_CONNECTION_ID with an ID again and another number", "RFC 9000 19.15",
               Transport(PROTOCOL_VIOLATION, CONNECTION_ID_LIMIT_ERROR),
               lambda c: c.frames(new_id(60, 0, c.quic._host_cids[-1].cid)))
    yield sent("NEW_CONNECTION_ID again and again", "5.1.1", Transport(CONNECTION_ID_LIMIT_ERROR),
               *(new_id(number, 0, b"newid-%02d" % number) for number in range(8, 30)))
    yield Case("NEW_CONNECTION_ID of who has chosen to have none", "RFC 9000 19.15", violation, lambda c: c.frames(new_id(1)),
               ways=Ways(id_length=0))
    yield sent("RETIRE_CONNECTION_ID of one that was not given out", "19.16", violation, of(RETIRE_CONNECTION_ID, 1000))


def what_is_right():
    yield sent("PING", "19.2", Survives(), PING)
    yield sent("PADDING", "19.1", Survives(), bytes(500))
    yield sent("PATH_CHALLENGE is answered", "8.2.2", Says("its octets", lambda seen: b"01234567" in seen.frames),
               of(PATH_CHALLENGE, octets=b"01234567"))
    yield sent("MAX_STREAMS that is lower than before is passed over", "4.6", Survives(), of(MAX_STREAMS_BIDI, 0),
               of(MAX_DATA, 0))
    yield sent("DATA_BLOCKED", "19.12", Survives(), of(DATA_BLOCKED, 0), of(STREAMS_BLOCKED_BIDI, 100))
    yield Case("the same packet twice", "RFC 9000 12.3", Answered(), twice)
    yield Case("a key update", "RFC 9001 6", Answered(), lambda c: (c.quic.request_key_update(), c.get()))
    yield Case("a packet that cannot be decrypted", "RFC 9001 9.5", Answered(),
               lambda c: (c.send(b"\x40" + c.quic._peer_cid.cid + bytes(range(100))), c.get()))
    yield Case("an ID of the server is retired", "RFC 9000 5.1.2", Answered(), retire)
    yield Case("DATAGRAM where it was not offered", "RFC 9221 3", Transport(PROTOCOL_VIOLATION, FRAME_ENCODING_ERROR),
               lambda c: c.frames(of(DATAGRAM, octets=b"x")),
               needs=lambda c: "datagrams are offered" if c.quic._remote_max_datagram_frame_size else None)


def twice(client):
    packet = client.packet(PING + b"\0\0\0")
    client.send(packet)
    client.send(packet)
    client.get()


def retire(client):
    client.wait(lambda: client.quic._peer_cid_available)
    client.quic.change_connection_id()
    client.get()


def cases():
    for part in (encoding, not_of_clients, acknowledgements, states, limits, sizes, connection_ids, what_is_right):
        yield from part()
