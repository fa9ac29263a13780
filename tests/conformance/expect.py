"""What may come back. `is_met` and `is_missed` look at what has been seen; before the end both may be false."""
from frames import ENHANCE_YOUR_CALM, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, error_name


class Expectation:
    ends_connection = False

    def is_met(self, seen):
        raise NotImplementedError

    def is_missed(self, seen):
        """The server has had its say."""
        return seen.marks == 2 or seen.goaway not in (None, NO_ERROR)

    def __str__(self):
        return self.text


class Fatal(Expectation):
    """GOAWAY with one of these codes, and then the end of the connection."""
    ends_connection = True

    def __init__(self, *codes):
        self.codes = codes
        self.text = "GOAWAY " + " or ".join(map(error_name, codes))

    def is_met(self, seen):
        return seen.goaway in self.codes


class Closed(Expectation):
    """The end of the connection; GOAWAY with the code may precede it."""
    ends_connection = True

    def __init__(self, code=PROTOCOL_ERROR):
        self.code, self.text = code, f"the end of the connection, with GOAWAY {error_name(code)} or nothing before"

    def is_met(self, seen):
        return seen.is_closed and seen.goaway in (None, self.code) and not seen.statuses

    def is_missed(self, seen):
        return seen.goaway not in (None, self.code)


class Reset(Expectation):
    """RST_STREAM with one of these codes; or GOAWAY with one, since any stream error may be treated as a connection
    error (RFC 9113 5.4.2)."""

    def __init__(self, stream, *codes):
        self.stream, self.codes = stream, codes
        self.text = f"RST_STREAM {stream} or GOAWAY " + " or ".join(map(error_name, codes))

    def is_met(self, seen):
        return seen.resets.get(self.stream) in self.codes or seen.goaway in self.codes


class Malformed(Expectation):
    """A request that is malformed (RFC 9113 8.1.1): the stream is reset, or it is answered with a 4xx."""

    def __init__(self, stream=1):
        self.stream, self.text = stream, f"RST_STREAM {stream} PROTOCOL_ERROR, or a 4xx"

    def is_met(self, seen):
        return (seen.resets.get(self.stream) == PROTOCOL_ERROR or seen.goaway == PROTOCOL_ERROR
                or seen.statuses.get(self.stream, 0) // 100 == 4)

    def is_missed(self, seen):
        return seen.statuses.get(self.stream, 0) // 100 == 2 or seen.goaway is not None or self.stream in seen.resets


class Answered(Expectation):
    """A whole response with one of these statuses, and no error anywhere."""

    def __init__(self, stream=1, *statuses):
        self.stream, self.statuses = stream, statuses or (200,)
        self.text = f"{self.statuses} on stream {stream}"

    def is_met(self, seen):
        is_calm = seen.goaway in (None, NO_ERROR) and not any(seen.resets.values())
        return is_calm and self.stream in seen.ended and seen.statuses.get(self.stream) in self.statuses

    def is_missed(self, seen):
        return seen.goaway not in (None, NO_ERROR) or any(seen.resets.values())


class Refused(Expectation):
    """Any answer but success: a status of 400 and above, or RST_STREAM."""

    def __init__(self, stream=1):
        self.stream, self.text = stream, f"a refusal on stream {stream}"

    def is_met(self, seen):
        return seen.statuses.get(self.stream, 0) >= 400 or self.stream in seen.resets

    def is_missed(self, seen):
        return 200 <= seen.statuses.get(self.stream, 0) < 300 or seen.goaway is not None


class Survives(Expectation):
    """No error of any kind."""
    text = "no error, and PINGs answered"

    def is_met(self, seen):
        return seen.marks == 2 and seen.goaway in (None, NO_ERROR) and not any(seen.resets.values())


class Says(Expectation):
    """Anything else that can be told from what has been seen, and no error."""

    def __init__(self, text, condition, waits=False):
        self.text, self.condition, self.waits = text, condition, waits

    def is_met(self, seen):
        return self.condition(seen) and seen.goaway in (None, NO_ERROR) and (self.waits or seen.marks == 2)

    def is_missed(self, seen):
        return seen.goaway not in (None, NO_ERROR) or (seen.marks == 2 and not self.waits)


class TooManyStreams(Expectation):
    """RFC 9113 5.1.2."""
    text = "RST_STREAM REFUSED_STREAM or PROTOCOL_ERROR, or GOAWAY PROTOCOL_ERROR"

    def is_met(self, seen):
        wanted = (REFUSED_STREAM, PROTOCOL_ERROR)
        return seen.goaway == PROTOCOL_ERROR or any(code in wanted for code in seen.resets.values())


class Calmed(Expectation):
    """The connection ends, with ENHANCE_YOUR_CALM where GOAWAY arrived before TCP's reset."""
    ends_connection = True
    text = "GOAWAY ENHANCE_YOUR_CALM"

    def is_met(self, seen):
        return seen.goaway == ENHANCE_YOUR_CALM or (seen.was_reset and seen.goaway is None)

    def is_missed(self, seen):
        return seen.marks == 2 or seen.goaway not in (None, NO_ERROR, ENHANCE_YOUR_CALM)
