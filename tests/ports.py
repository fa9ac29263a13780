"""Ports for what a test or a measurement starts."""
import contextlib
import random
import socket

GIVEN_FIRST, GIVEN_LAST = 10240, 20999  # below what the system gives to who names no port
given_ports = set()


def free_port():
    """A port that nobody has at the moment, and that this process has not been given before. The system does not pick it: the
    same one it would give to an origin or a connection that asks for any, before somebody listens here."""
    while len(given_ports) < GIVEN_LAST - GIVEN_FIRST:
        port = random.randint(GIVEN_FIRST, GIVEN_LAST)
        if port in given_ports:
            continue
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            given_ports.add(port)
            return port
    raise AssertionError("all ports have been given")
