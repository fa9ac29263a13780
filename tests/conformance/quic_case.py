"""A case: what is done, and what is expected of the server then."""
import time
from dataclasses import dataclass, field, replace
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


class Refused(Exception):
    """The server did not take early data."""


TAKEN_SECONDS, PAUSE_SECONDS = 60, 0.2  # a server may take none for a while after its start


def hold(case, target):
    """Has the dialogue of a case; returns what is wrong, or None."""
    if not case.ways.early:
        return talk(case, target, case.ways)
    deadline = time.monotonic() + TAKEN_SECONDS
    while time.monotonic() < deadline:
        try:
            return talk(case, target, replace(case.ways, ticket=ticket_of(target)))
        except Refused:
            time.sleep(PAUSE_SECONDS)
    return f"early data was not taken for {TAKEN_SECONDS} s, though tickets allow it"


def ticket_of(target):
    """One that allows early data, of a connection for it."""
    client = Client(target)
    try:
        client.begin()
        client.wait(lambda: client.tickets)
    except (Fault, Silence):
        pass
    finally:
        client.close()
    ticket = client.tickets[0] if client.tickets else None
    if not ticket or not ticket.max_early_data_size:
        raise Skipped("tickets of the server allow no early data")
    return ticket


def talk(case, target, ways):
    client = Asking(target, ways)
    try:
        client.begin()
        if ways.early and client.was_refused():
            raise Refused
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
