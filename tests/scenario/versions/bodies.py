"""Bodies whose every byte is known from its place."""
import random

BLOCK = random.Random(1).randbytes(1 << 20)
WAITING_MAX = 1 << 20  # bytes that are sent ahead


def block(number):
    """The block of that number: each differs from every other."""
    return number.to_bytes(8, "big") + BLOCK[8:]


def bytes_at(at, n):
    """The n bytes from there on."""
    first, skip = divmod(at, len(BLOCK))
    last = (at + n + len(BLOCK) - 1) // len(BLOCK)
    return b"".join(map(block, range(first, last)))[skip:skip + n]


class Flow:
    """A body on its way: sent by one talk, compared as it comes at the other. It is ended after the flow `after` has come to
    its end: an answer that is complete would stop its request."""

    def __init__(self, source, sink, size, after=None):
        self.source, self.sink, self.size, self.after = source, sink, size, after
        self.sent, self.seen, self.pending, self.is_ended = 0, 0, bytearray(), False

    def step(self):
        """Moves what can be moved; True when something was."""
        moved = self.sent + self.seen + self.is_ended
        if self.sent < self.size and self.source.unsent < WAITING_MAX:
            data = bytes_at(self.sent, min(len(BLOCK), self.size - self.sent))
            self.source.send(data)
            self.sent += len(data)
        elif self.sent == self.size and not self.is_ended and (not self.after or self.after.is_over):
            self.source.end()
            self.is_ended = True
        data = self.sink.take()
        self.seen += len(data)
        self.pending += data
        self.compare()
        return self.sent + self.seen + self.is_ended > moved

    def __str__(self):
        return (f"{self.sent} of {self.size} given and {self.source.unsent} of them unsent, {self.seen} seen, "
                f"{'ended' if self.is_ended else 'open'}, {'complete' if self.sink.is_complete else 'incomplete'}")

    def compare(self):
        """Whole blocks, and what is left at the end."""
        while len(self.pending) >= len(BLOCK) or (self.pending and self.seen == self.size):
            n = min(len(BLOCK), len(self.pending))
            at = self.seen - len(self.pending)
            assert self.pending[:n] == bytes_at(at, n), f"bytes from {at} on are not what was sent"
            del self.pending[:n]

    @property
    def is_over(self):
        assert self.sink.broken is None, f"after {self.seen} of {self.size} bytes: {self.sink.broken}"
        assert self.seen <= self.size, f"{self.seen} bytes came of {self.size}"
        return self.is_ended and self.sink.is_complete and not self.sink.received


def carry(*flows):
    """All of them at once, to their end."""
    def is_over():
        return all([flow.is_over for flow in flows])

    def what():
        return "bytes of a body: " + "; ".join(str(flow) for flow in flows)

    while not is_over():
        flows[0].sink.loop.until(what, lambda: any([flow.step() for flow in flows]) or is_over())
    for flow in flows:
        assert flow.seen == flow.size


def fill(talk, size):
    """Sends of a body what can be sent while the other side takes nothing."""
    talk.send(bytes_at(0, size))
    left = size
    while left != talk.unsent or not talk.loop.is_quiet(lambda: talk.unsent != left):
        left = talk.unsent
    assert not talk.connection.pipe.is_broken, "the gateway has ended the connection"
    assert left, "kernels and gateway held it all"
