"""A case: what is done, and what is expected of the server then."""
from dataclasses import dataclass, field
from typing import Any

from quic_client import REQUEST, Client, Fault, Silence, Ways
from quic_h3 import fields_of, frame, HEADERS, section


class Asking(Client):
    """With the words of HTTP/3 that most cases need."""

    def fields(self, method="GET", *more, without=()):
        return fields_of(self.target, method, *more, without=without)

    def get(self, number=REQUEST, *more):
        """A whole request, as it should be."""
        self.write(number, frame(HEADERS, section(self.fields("GET", *more))), True)


@dataclass
class Case:
    name: str
    section: str
    expect: Any
    do: Any = None                                  # (client): after the handshake
    ways: Ways = field(default_factory=Ways)
    needs: Any = None                               # (client) -> None, or why the case cannot be held with this server


class Skipped(Exception):
    """The case cannot be held with this server."""


def hold(case, target):
    """Has the dialogue of a case; returns what is wrong, or None."""
    client = Asking(target, case.ways)
    try:
        client.begin()
        if case.needs and not client.seen.closed and (reason := case.needs(client)):
            raise Skipped(reason)
        if case.do and not client.seen.closed:
            case.do(client)
        client.settle()
        return case.expect.wrong(client)
    except Fault as fault:
        return f"expected {case.expect}; the server's own fault: {fault}"
    except Silence:
        return f"expected {case.expect}; then silence; came {client.seen}"
    finally:
        client.close()
