"""HPACK (RFC 7541) for tests: an encoder that does exactly what it is told, wrong things included, and a strict
decoder."""

STATIC = [tuple(row.split("|")) for row in """\
:authority| :method|GET :method|POST :path|/ :path|/index.html :scheme|http :scheme|https :status|200 :status|204
:status|206 :status|304 :status|400 :status|404 :status|500 accept-charset| accept-encoding|gzip,deflate
accept-language| accept-ranges| accept| access-control-allow-origin| age| allow| authorization| cache-control|
content-disposition| content-encoding| content-language| content-length| content-location| content-range|
content-type| cookie| date| etag| expect| expires| from| host| if-match| if-modified-since| if-none-match|
if-range| if-unmodified-since| last-modified| link| location| max-forwards| proxy-authenticate|
proxy-authorization| range| referer| refresh| retry-after| server| set-cookie| strict-transport-security|
transfer-encoding| user-agent| vary| via| www-authenticate|""".split()]
STATIC[15] = ("accept-encoding", "gzip, deflate")
ENTRY_OVERHEAD = 32
EOS = 256

# Appendix B. The code is canonical: by length, then by symbol.
SYMBOLS = {
    5: [*b"012aceiost"],
    6: [*b" %-./3456789=A_bdfghlmnpru"],
    7: [*b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"],
    8: [*b"&*,;XZ"],
    10: [*b"!\"()?"],
    11: [*b"'+|"],
    12: [*b"#>"],
    13: [0, *b"$@[]~"],
    14: [*b"^}"],
    15: [*b"<`{"],
    19: [92, 195, 208],
    20: [128, 130, 131, 162, 184, 194, 224, 226],
    21: [153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230],
    22: [129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196,
         198, 228, 232, 233],
    23: [1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180,
         182, 183, 188, 191, 197, 231, 239],
    24: [9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237],
    25: [199, 207, 234, 235],
    26: [192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255],
    27: [203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254],
    28: [2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220,
         249],
    30: [10, 13, 22, EOS],
}


def canonical():
    code, length, codes = 0, 0, {}
    for more, symbols in SYMBOLS.items():
        code <<= more - length
        length = more
        for symbol in symbols:
            codes[symbol] = format(code, f"0{length}b")
            code += 1
    return codes


CODES = canonical()
DECODED = {code: symbol for symbol, code in CODES.items()}


def pack(bits):
    """Bytes of a text of zeros and ones, whose length is a multiple of eight."""
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def bits_of(symbols):
    return "".join(CODES[symbol] for symbol in symbols)


def huffman(text):
    bits = bits_of(as_bytes(text))
    return pack(bits + "1" * (-len(bits) % 8))


def as_bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else text


# ---- encoding


def integer(value, prefix, first=0):
    """Section 5.1: the bits of `first` stand before the prefix."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([first | value])
    value -= most
    out = [first | most]
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def string(text, coded=False):
    octets = huffman(text) if coded else as_bytes(text)
    return integer(len(octets), 7, 0x80 if coded else 0) + octets


def indexed(index):
    return integer(index, 7, 0x80)


def size_update(size):
    return integer(size, 5, 0x20)


KINDS = {"indexing": (6, 0x40), "plain": (4, 0), "never": (4, 0x10)}


def literal(name, value, kind="plain", coded=False):
    """A literal; `name` may be an index."""
    prefix, first = KINDS[kind]
    if isinstance(name, int):
        return integer(name, prefix, first) + string(value, coded)
    return bytes([first]) + string(name, coded) + string(value, coded)


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


# ---- decoding


class Wrong(Exception):
    """The block is not HPACK."""


class Reader:
    def __init__(self, octets):
        self.octets, self.at = octets, 0

    def byte(self):
        if self.at == len(self.octets):
            raise Wrong("the block ends too early")
        self.at += 1
        return self.octets[self.at - 1]

    def integer(self, prefix):
        most = (1 << prefix) - 1
        value = self.byte() & most
        if value < most:
            return value
        shift = 0
        while True:
            more = self.byte()
            value += (more & 127) << shift
            shift += 7
            if shift > 35:
                raise Wrong("an integer is too large")
            if more < 128:
                return value

    def string(self):
        is_coded = bool(self.octets[self.at:self.at + 1] > b"\x7f")
        size = self.integer(7)
        octets = self.octets[self.at:self.at + size]
        if len(octets) < size:
            raise Wrong("a string ends too early")
        self.at += size
        return (decode_huffman(octets) if is_coded else octets).decode("latin-1")


def decode_huffman(octets):
    out, code = bytearray(), ""
    for bit in "".join(format(octet, "08b") for octet in octets):
        code += bit
        symbol = DECODED.get(code)
        if symbol == EOS:
            raise Wrong("EOS in a string")
        if symbol is not None:
            out.append(symbol)
            code = ""
    if len(code) > 7 or "0" in code:
        raise Wrong(f"padding {code}")
    return bytes(out)


class Decoder:
    """With a dynamic table of at most `limit` bytes."""

    def __init__(self, limit=4096):
        self.limit = self.size = limit
        self.table = []

    def resize(self, size):
        self.size = size
        while sum(len(name) + len(value) + ENTRY_OVERHEAD for name, value in self.table) > size:
            self.table.pop()

    def entry(self, index):
        if not 1 <= index <= len(STATIC) + len(self.table):
            raise Wrong(f"index {index}")
        return STATIC[index - 1] if index <= len(STATIC) else self.table[index - len(STATIC) - 1]

    def literal(self, reader, prefix):
        index = reader.integer(prefix)
        name = self.entry(index)[0] if index else reader.string()
        return name, reader.string()

    def decode(self, octets):
        """The fields of a block, as (name, value)."""
        reader, fields = Reader(octets), []
        while reader.at < len(octets):
            first = octets[reader.at]
            if first & 0x80:
                fields.append(self.entry(reader.integer(7)))
            elif first & 0x40:
                fields.append(self.literal(reader, 6))
                self.table.insert(0, fields[-1])
                self.resize(self.size)
            elif first & 0x20:
                size = reader.integer(5)
                if size > self.limit or fields:
                    raise Wrong(f"a table of {size} bytes at field {len(fields)}")
                self.resize(size)
            else:
                fields.append(self.literal(reader, 4))
        return fields
