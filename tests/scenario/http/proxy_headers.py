"""Headers of the PROXY protocol, both versions: made, and read."""
import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
SOURCE, TARGET = "192.0.2.7", "198.51.100.2"
LINE = f"PROXY TCP4 {SOURCE} {TARGET} 4096 443\r\n"


def binary(command=0x21, family=0x11, source=SOURCE, tail=b""):
    """A header of version 2."""
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    target = "2001:db8::2" if ":" in source else TARGET
    body = socket.inet_pton(kind, source) + socket.inet_pton(kind, target) + struct.pack(">HH", 4096, 443) + tail
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


def parse_binary(connection):
    """Source and destination of a header of version 2, or None when it names nobody."""
    connection.expect(SIGNATURE)
    command, family, length = struct.unpack(">BBH", connection.receive(4))
    body = connection.receive(length)
    if command == 0x20:
        return None
    assert (command, family, length) == (0x21, 0x11, 12)
    ports = struct.unpack(">HH", body[8:])
    return (socket.inet_ntoa(body[:4]), ports[0]), (socket.inet_ntoa(body[4:8]), ports[1])


def parse_line(connection):
    words = connection.receive_until(b"\r\n").decode().split()
    assert words[0] == "PROXY"
    return None if words[1] == "UNKNOWN" else ((words[2], int(words[4])), (words[3], int(words[5])))
