"""Octets of HTTP/3 and QPACK, right or wrong: nothing is checked here."""
from aioquic.buffer import encode_uint_var as varint

DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 13
OF_HTTP2 = {"PRIORITY": 2, "PING": 6, "WINDOW_UPDATE": 8, "CONTINUATION": 9}


def frame(kind, payload=b""):
    return varint(kind) + varint(len(payload)) + payload


def integer(value, bits, first=0):
    """A prefixed integer (RFC 7541 5.1) whose first octet has other bits, too."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    octets, value = [first | most], value - most
    while value >= 128:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes([*octets, value])


def literal(name, value):
    """A field with a literal name, in no table."""
    name, value = name.encode("latin-1"), value.encode("latin-1")
    return integer(len(name), 3, 0x20) + name + integer(len(value), 7) + value


def prefix(required=0, base=0):
    """Of a field section, as it is encoded."""
    return integer(required, 8) + integer(base, 7)


def section(fields):
    """A field section that needs no table."""
    return prefix() + b"".join(literal(*pair) for pair in fields)


def static(index):
    return integer(index, 6, 0xc0)


def dynamic(index):
    """An entry before the base."""
    return integer(index, 6, 0x80)


def fields_of(target, method="GET", *more, without=()):
    pseudo = [(":method", method), (":scheme", "https"), (":authority", target.authority), (":path", target.path)]
    return [pair for pair in pseudo if pair[0] not in without] + list(more)


# ---- instructions

def set_capacity(size):
    return integer(size, 5, 0x20)


def insert_static(index, value):
    return integer(index, 6, 0xc0) + integer(len(value), 7) + value


def insert_dynamic(index, value):
    return integer(index, 6, 0x80) + integer(len(value), 7) + value


def insert_literal(name, value):
    return integer(len(name), 5, 0x40) + name + integer(len(value), 7) + value


def duplicate(index):
    return integer(index, 5, 0x00)


def acknowledge(stream):
    return integer(stream, 7, 0x80)


def cancel(stream):
    return integer(stream, 6, 0x40)


def increment(count):
    return integer(count, 6, 0x00)
