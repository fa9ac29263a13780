"""HPACK: RFC 7541. Faults of a block concern the connection, since its state is shared (RFC 9113 section 4.3)."""
from dialogue import Answer, Case
from expect import Answered, Fatal, Malformed
from frames import COMPRESSION_ERROR, END_STREAM, continuation, data, headers
from hpack import (bits_of, huffman, indexed, integer, literal, pack, size_update, string, EOS)

BROKEN = Fatal(COMPRESSION_ERROR)
OLDEST, BEYOND = 61, 62     # the last index of the static table, and the first of the dynamic one


def coded(octets):
    """A string that says it is by Huffman."""
    return integer(len(octets), 7, 0x80) + octets


def after(t, *octets, stream=1):
    """A good request's block, and then more."""
    return headers(stream, t.block() + b"".join(octets))


def indexes(t):
    section = "RFC 7541 2.3.3"
    rows = {"index 0": indexed(0), "first index of an empty table": indexed(BEYOND), "index far beyond": indexed(5000),
            "index beyond 32 bits": b"\xff" * 5 + b"\x7f",
            "name of an index beyond the table": literal(BEYOND, "x"),
            "name of an index beyond the table, with indexing": literal(BEYOND, "x", "indexing"),
            "name of an index beyond the table, never indexed": literal(BEYOND, "x", "never")}
    return [Case(name, section, [after(t, octets)], BROKEN) for name, octets in rows.items()] + [
        Case("request of indexed fields", section,
             [headers(1, indexed(2) + indexed(7 if t.is_tls else 6) + literal(4, t.path) + literal(1, t.authority))],
             Answered()),
        Case("name of the last index", section, [after(t, literal(OLDEST, "x"))], Answered()),
        Case("last index", section, [after(t, indexed(OLDEST))], Answered()),
    ]


def tables(t):
    section = "RFC 7541 2.3.2"
    kept = literal("x-kept", "abc", "indexing")
    large = literal("x-large", "y" * 4100, "indexing")
    return [
        Case("entry that was made before", section, [after(t, kept, indexed(BEYOND))], Answered()),
        Case("name of an entry", section, [after(t, kept, literal(BEYOND, "d"))], Answered()),
        Case("index behind the only entry", section, [after(t, kept, indexed(BEYOND + 1))], BROKEN),
        Case("entry of an earlier request", section, [after(t, kept), Answer(), after(t, indexed(BEYOND), stream=3)],
             Answered(3)),
        Case("entry of a request that was refused", section,
             [after(t, literal("te", "gzip", "indexing"), kept), headers(3, t.block() + indexed(BEYOND))],
             Malformed()),
        Case("entry of trailers", section,
             [t.post() + data(1, b"x") + headers(1, kept), Answer(), after(t, indexed(BEYOND), stream=3)], Answered(3)),
        Case("entry after the one that was never indexed", section,
             [after(t, literal("x", "y", "never"), indexed(BEYOND))], BROKEN),
        Case("entry larger than the table empties it", "RFC 7541 4.4", [after(t, kept, large, indexed(BEYOND))], BROKEN),
        Case("entry larger than the table", "RFC 7541 4.4", [after(t, large)], Answered()),
        Case("oldest entry goes first", "RFC 7541 4.4",
             [after(t, kept, literal("x-a", "y" * 2000, "indexing"), literal("x-b", "y" * 2000, "indexing"),
                    indexed(BEYOND + 2))], BROKEN),
        Case("entries that just fit", "RFC 7541 4.4",
             [after(t, literal("a", "y" * 2015, "indexing"), literal("b", "y" * 2015, "indexing"), indexed(BEYOND + 1))],
             Answered()),
        Case("entries that just do not fit", "RFC 7541 4.4",
             [after(t, literal("a", "y" * 2015, "indexing"), literal("b", "y" * 2016, "indexing"), indexed(BEYOND + 1))],
             BROKEN),
    ]


def updates(t):
    section, where = "RFC 7541 6.3", "RFC 7541 4.2"
    whole, kept = t.block(), literal("x-kept", "abc", "indexing")
    return [
        Case("table of no octets", section, [headers(1, size_update(0) + whole)], Answered()),
        Case("table of all octets", section, [headers(1, size_update(4096) + whole)], Answered()),
        Case("table emptied and made large again", where, [headers(1, size_update(0) + size_update(4096) + whole)],
             Answered()),
        Case("table one octet too large", section, [headers(1, size_update(4097) + whole)], BROKEN),
        Case("table far too large", section, [headers(1, size_update(2**31) + whole)], BROKEN),
        Case("second of two updates too large", section, [headers(1, size_update(0) + size_update(4097) + whole)], BROKEN),
        Case("update at the end of a block", where, [headers(1, whole + size_update(0))], BROKEN),
        Case("update between fields", where, [headers(1, whole + size_update(4096) + literal("a", "b"))],
             BROKEN),
        Case("update after the first field", where, [headers(1, indexed(2) + size_update(4096) + whole)], BROKEN),
        Case("update in a CONTINUATION", where, [headers(1, whole, END_STREAM) + continuation(1, size_update(0))], BROKEN),
        Case("update empties the table", section,
             [after(t, kept), Answer(), headers(3, size_update(0) + whole + indexed(BEYOND))], BROKEN),
        Case("entry in a table of no octets", section, [headers(1, size_update(0) + whole + kept + indexed(BEYOND))],
             BROKEN),
    ]


def integers(t):
    section = "RFC 7541 5.1"
    return [
        Case("integer without an end", section, [after(t, b"\xff\xff\xff")], BROKEN),
        Case("integer without its second octet", section, [after(t, b"\xff")], BROKEN),
        Case("integer of too many octets", section, [after(t, b"\xff" + b"\xff" * 20 + b"\x01")], BROKEN),
        Case("length beyond 32 bits", section, [after(t, b"\0\x7f" + b"\xff" * 5 + b"\x0f")], BROKEN),
        Case("length of many octets", section, [after(t, literal("x", "y" * 300))], Answered()),
    ]


def strings(t):
    section = "RFC 7541 5.2"
    return [
        Case("name longer than the block", section, [after(t, b"\0\x05abc")], BROKEN),
        Case("value longer than the block", section, [after(t, b"\0\x01a\x05abc")], BROKEN),
        Case("name without a value", section, [after(t, b"\0\x01a")], BROKEN),
        Case("nothing but a literal's first octet", section, [after(t, b"\0")], BROKEN),
        Case("value longer than both frames of the block", section,
             [headers(1, t.block() + b"\0\x01a\x20ab", END_STREAM) + continuation(1, b"cd")], BROKEN),
        Case("value in two frames", section,
             [headers(1, t.block() + b"\0\x01a\x04ab", END_STREAM) + continuation(1, b"cd")], Answered()),
        Case("Huffman", section, [after(t, literal("x-name", "a value, 0-9 <~>", coded=True))], Answered()),
        Case("Huffman of the request", section,
             [headers(1, b"".join(literal(name, value, coded=True) for name, value in t.fields()))], Answered()),
        Case("Huffman in two frames", section,
             [headers(1, t.block() + b"\0\x01a" + string("abcdefghij", True)[:4], END_STREAM)
              + continuation(1, string("abcdefghij", True)[4:])], Answered()),
        Case("Huffman of no octets", section, [after(t, b"\0\x01a\x80")], Answered()),
        Case("Huffman with eight bits of padding", section, [after(t, b"\0\x01a" + coded(huffman("a") + b"\xff"))], BROKEN),
        Case("Huffman with padding only", section, [after(t, b"\0\x01a" + coded(b"\xff"))], BROKEN),
        Case("Huffman with padding of zeros", section, [after(t, b"\0\x01a" + coded(pack(bits_of(b"a") + "000")))], BROKEN),
        Case("Huffman with a zero in the padding", section,
             [after(t, b"\0\x01a" + coded(pack(bits_of(b"a") + "110")))], BROKEN),
        Case("Huffman with EOS", section,
             [after(t, b"\0\x01a" + coded(pack(bits_of([97, EOS, 97, 97]) + "111")))], BROKEN),
        Case("Huffman with EOS at its end", section,
             [after(t, b"\0\x01a" + coded(pack(bits_of([97, EOS]) + "11111")))], BROKEN),
        Case("Huffman with EOS in a name", section,
             [after(t, b"\0" + coded(pack(bits_of([97, EOS]) + "11111")) + b"\x01b")], BROKEN),
        Case("never indexed", "RFC 7541 6.2.3", [after(t, literal("x-secret", "abc", "never"))], Answered()),
        Case("broken block on a stream that was reset", section, [t.post(), headers(3, indexed(0))], BROKEN),
        Case("broken block of trailers", section, [t.post() + data(1, b"x") + headers(1, indexed(0))], BROKEN),
    ]


def cases(t):
    return [case for part in (indexes, tables, updates, integers, strings) for case in part(t)]
