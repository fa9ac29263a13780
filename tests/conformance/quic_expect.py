"""What may come back of QUIC and HTTP/3."""
import contextlib

from quic_client import Silence, describe

NO_ERROR, INTERNAL_ERROR, CONNECTION_REFUSED, FLOW_CONTROL_ERROR, STREAM_LIMIT_ERROR, STREAM_STATE_ERROR, FINAL_SIZE_ERROR, \
    FRAME_ENCODING_ERROR, TRANSPORT_PARAMETER_ERROR, CONNECTION_ID_LIMIT_ERROR, PROTOCOL_VIOLATION, INVALID_TOKEN, \
    APPLICATION_ERROR, CRYPTO_BUFFER_EXCEEDED, KEY_UPDATE_ERROR, AEAD_LIMIT_REACHED, NO_VIABLE_PATH = range(17)
UNEXPECTED_MESSAGE, MISSING_EXTENSION, NO_APPLICATION_PROTOCOL, DECODE_ERROR, ILLEGAL_PARAMETER = 10, 109, 120, 50, 47
H3_NO_ERROR, H3_GENERAL_PROTOCOL_ERROR, H3_INTERNAL_ERROR, H3_STREAM_CREATION_ERROR, H3_CLOSED_CRITICAL_STREAM, \
    H3_FRAME_UNEXPECTED, H3_FRAME_ERROR, H3_EXCESSIVE_LOAD, H3_ID_ERROR, H3_SETTINGS_ERROR, H3_MISSING_SETTINGS, \
    H3_REQUEST_REJECTED, H3_REQUEST_CANCELLED, H3_REQUEST_INCOMPLETE, H3_MESSAGE_ERROR, H3_CONNECT_ERROR, \
    H3_VERSION_FALLBACK = range(0x100, 0x111)
QPACK_DECOMPRESSION_FAILED, QPACK_ENCODER_STREAM_ERROR, QPACK_DECODER_STREAM_ERROR = 0x200, 0x201, 0x202


class Expectation:
    def wrong(self, client):
        """What is wrong, after the server has had its say; None: nothing."""
        raise NotImplementedError

    def __str__(self):
        return type(self).__name__


class Closed(Expectation):
    """The connection is closed with one of these codes; `is_application`: of HTTP/3."""
    is_application = False

    def __init__(self, *codes):
        self.codes = codes

    def wrong(self, client):
        closed = client.seen.closed
        if not closed:
            return f"expected {self}, came {client.seen}"
        is_right = (closed.frame_type is None) == self.is_application and closed.error_code in self.codes
        return None if is_right else f"expected {self}, came {describe(closed)}"

    def __str__(self):
        kind = "application" if self.is_application else "transport"
        return f"closed: {kind} " + " or ".join(f"{code:#x}" for code in self.codes)


class Transport(Closed):
    pass


class Alert(Closed):
    """An alert of TLS."""

    def __init__(self, *alerts):
        super().__init__(*(0x100 + alert for alert in alerts))


class Application(Closed):
    is_application = True


class StreamError(Expectation):
    """The server resets its half of the stream with the code; or it closes the connection with it, since any stream error may
    be treated as an error of the connection (RFC 9114 8)."""

    def __init__(self, *codes, stream=0):
        self.codes, self.stream = codes, stream

    def wrong(self, client):
        seen = client.seen
        if seen.resets.get(self.stream) in self.codes:
            return None
        if seen.closed and seen.closed.frame_type is None and seen.closed.error_code in self.codes:
            return None
        wanted = " or ".join(f"{code:#x}" for code in self.codes)
        return f"expected RESET_STREAM {self.stream} {wanted}, came {seen}"


class Survives(Expectation):
    """No error."""

    def wrong(self, client):
        return f"expected no error, came {client.seen}" if self.is_broken(client.seen) else None

    def is_broken(self, seen):
        return seen.closed or any(seen.resets.values())


class Says(Survives):
    """No error, and something that can be told from what has come, or comes yet."""

    def __init__(self, text, condition):
        self.text, self.condition = text, condition

    def wrong(self, client):
        with contextlib.suppress(Silence):
            client.wait(lambda: self.condition(client.seen))
        return super().wrong(client) or (None if self.condition(client.seen) else f"expected {self.text}, came {client.seen}")


class Answered(Says):
    """A whole response to the request on a stream that begins with HEADERS, whatever becomes of other streams."""

    def __init__(self, stream=0):
        super().__init__(f"a response on {stream}", lambda seen: stream in seen.ended and seen.octets[stream][:1] == b"\x01")
        self.stream = stream

    def is_broken(self, seen):
        return seen.closed or seen.resets.get(self.stream)


class ClosedOrPassedOver(Expectation):
    """Packets that anybody could have made may be dropped as a whole (RFC 9000 5.2); the request behind them is answered then."""

    def __init__(self, *codes):
        self.closed, self.answered = Transport(*codes), Answered()

    def wrong(self, client):
        return self.closed.wrong(client) if client.seen.closed else self.answered.wrong(client)


class Unanswered(Expectation):
    """Anything but that the request is taken for good: an error of the stream, a status that is none of success."""

    def __init__(self, stream=0):
        self.stream = stream

    def wrong(self, client):
        seen = client.seen
        is_answered = self.stream in seen.ended and SUCCESS in seen.octets.get(self.stream, b"")[:12]
        return f"expected a refusal, came {seen}" if is_answered else None


SUCCESS = b"\xd9"   # QPACK's static entry of `:status: 200`
