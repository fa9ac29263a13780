"""RFC 9204: field sections, and the instructions of both streams."""
from quic_case import Case
from quic_client import DECODER_ID, ENCODER_ID, REQUEST
from quic_expect import (QPACK_DECODER_STREAM_ERROR, QPACK_DECOMPRESSION_FAILED, QPACK_ENCODER_STREAM_ERROR, Answered, Application,
                         Survives)
from quic_h3 import (HEADERS, acknowledge, cancel, duplicate, dynamic, frame, increment, insert_dynamic, insert_literal,
                     insert_static, integer, prefix, section, set_capacity, static)

TABLE, BLOCKED = 1, 7
USUAL_CAPACITY = 220


def capacity(client):
    """What the server lets the table hold."""
    return client.settings_of_peer().get(TABLE, 0)


def with_table(client):
    return None if capacity(client) >= USUAL_CAPACITY else f"the table may hold {capacity(client)} octets"


def encoded_count(client, required):
    """A Required Insert Count as it is encoded (RFC 9204 4.5.1.1)."""
    return required % (2 * (capacity(client) // 32)) + 1


def block(name, octets_of):
    """A request with a block that cannot be read."""
    return Case(name, "RFC 9204 2.2.3", Application(QPACK_DECOMPRESSION_FAILED),
                lambda c: c.write(REQUEST, frame(HEADERS, octets_of(c)), True))


def good(client):
    return section(client.fields())


def blocks():
    yield block("an index beyond the static table", lambda c: good(c) + static(99))
    yield block("a name beyond the static table", lambda c: good(c) + integer(99, 4, 0x50) + b"\x01x")
    yield block("an entry of an empty table", lambda c: prefix() + dynamic(0))
    yield block("an entry behind the base of an empty table", lambda c: prefix() + integer(0, 4, 0x10))
    yield block("a name of an empty table", lambda c: prefix() + integer(0, 4, 0x40) + b"\x01x")
    yield block("a block that ends in a string", lambda c: good(c)[:-3])
    yield block("a block of nothing", lambda c: b"")
    yield block("a block that ends in its prefix", lambda c: b"\0")
    yield block("a count of entries that cannot be", lambda c: integer(10**6, 8) + b"\0" + good(c)[2:])
    yield block("a base below zero", lambda c: b"\0\x85" + good(c)[2:])
    yield block("an integer without end", lambda c: good(c) + b"\xff" + b"\xff" * 20)
    yield block("a code of Huffman that ends in ones for an octet",
                lambda c: good(c) + b"\x21x" + integer(1, 7, 0x80) + b"\xff")
    yield block("a code of Huffman with the end of strings in it",
                lambda c: good(c) + b"\x21x" + integer(4, 7, 0x80) + b"\xff\xff\xff\xff")
    yield Case("entries that were not inserted, on too many streams", "RFC 9204 2.1.2", Application(QPACK_DECOMPRESSION_FAILED),
               block_too_many, needs=with_table)
    yield Case("an entry that comes later", "RFC 9204 2.1.2", Answered(), blocked_then_not, needs=with_room_to_block)
    yield Case("entries of the table", "RFC 9204 3.2", Answered(), from_table, needs=with_table)
    yield Case("an entry that was evicted", "RFC 9204 3.2.2", Application(QPACK_DECOMPRESSION_FAILED), evicted, needs=with_table)


def with_room_to_block(client):
    return with_table(client) or (None if client.settings_of_peer().get(BLOCKED, 0) else "no stream may be blocked")


def block_too_many(client):
    for index in range(client.settings_of_peer().get(BLOCKED, 0) + 1):
        client.write(4 * index, frame(HEADERS, prefix(encoded_count(client, 1)) + section(client.fields())[2:]), True)


def blocked_then_not(client):
    """The base is below it: it is named from there upwards."""
    octets = integer(encoded_count(client, 1), 8) + b"\x80" + section(client.fields())[2:] + integer(0, 4, 0x10)
    client.write(REQUEST, frame(HEADERS, octets), True)
    client.settle()
    client.seen.pings.clear()
    client.write(ENCODER_ID, set_capacity(USUAL_CAPACITY) + insert_literal(b"x-late", b"here"))


def from_table(client):
    client.write(ENCODER_ID, set_capacity(USUAL_CAPACITY) + insert_literal(b"x-a", b"1") + insert_static(95, b"other")
                 + insert_dynamic(1, b"2") + duplicate(0))
    fields = section(client.fields())[2:]
    client.write(REQUEST, frame(HEADERS, prefix(encoded_count(client, 4)) + fields + dynamic(0) + dynamic(1) + dynamic(3)), True)


def evicted(client):
    """The table holds two of these; the first is asked for when there were six."""
    entries = b"".join(insert_literal(b"x-name-%d" % n, b"y" * 50) for n in range(6))
    client.write(ENCODER_ID, set_capacity(USUAL_CAPACITY) + entries)
    client.write(REQUEST, frame(HEADERS, prefix(encoded_count(client, 6)) + section(client.fields())[2:] + dynamic(5)), True)


def instruction(name, chapter, octets_of, needs=None):
    return Case(name, f"RFC 9204 {chapter}", Application(QPACK_ENCODER_STREAM_ERROR),
                lambda c: c.write(ENCODER_ID, octets_of(c)), needs=needs)


def of_encoder():
    yield instruction("a capacity beyond the limit", "4.3.1", lambda c: b"\x3f\xe1\xc7\xaf\xa0\x25")
    yield instruction("a capacity of one octet beyond the limit", "4.3.1", lambda c: set_capacity(capacity(c) + 1))
    yield instruction("an insertion before there is a capacity", "4.3.2", lambda c: insert_literal(b"x", b"y"))
    yield instruction("an insertion that is larger than the table", "3.2.2",
                      lambda c: set_capacity(40) + insert_literal(b"x-name", b"value"), with_table)
    yield instruction("an insertion with a name beyond the static table", "4.3.2",
                      lambda c: set_capacity(USUAL_CAPACITY) + insert_static(99, b"x"), with_table)
    yield instruction("an insertion with a name that is not there", "4.3.2",
                      lambda c: set_capacity(USUAL_CAPACITY) + insert_dynamic(0, b"x"), with_table)
    yield instruction("a duplicate of what is not there", "4.3.4", lambda c: set_capacity(USUAL_CAPACITY) + duplicate(0), with_table)
    yield instruction("an integer without end", "4.1.1", lambda c: b"\x3f" + b"\xff" * 20)
    yield instruction("a name with a code of Huffman that is none", "4.1.2",
                      lambda c: set_capacity(USUAL_CAPACITY) + integer(4, 5, 0x60) + b"\xff\xff\xff\xff" + b"\x01x", with_table)
    yield Case("instructions octet by octet", "RFC 9204 4.3", Answered(), octet_by_octet, needs=with_table)


def octet_by_octet(client):
    for octet in set_capacity(USUAL_CAPACITY) + insert_literal(b"x-a", b"1") + duplicate(0) + set_capacity(0):
        client.write(ENCODER_ID, bytes([octet]))
    client.get()


def of_decoder():
    wrong = Application(QPACK_DECODER_STREAM_ERROR)

    def said(name, chapter, octets):
        return Case(name, f"RFC 9204 {chapter}", wrong, lambda c: c.write(DECODER_ID, octets))

    yield said("an increment of zero", "4.4.3", increment(0))
    yield said("an increment beyond what was inserted", "4.4.3", increment(1000))
    yield said("an acknowledgement of a stream without a section", "4.4.1", acknowledge(4))
    yield said("an integer of the decoder without end", "4.1.1", b"\x3f" + b"\xff" * 20)
    yield Case("a cancellation of a stream that there is not", "RFC 9204 4.4.2", Survives(), lambda c: c.write(DECODER_ID, cancel(400)))


def cases():
    for part in (blocks, of_encoder, of_decoder):
        yield from part()
