"""An address that another process has when the first snapshot comes, with a real management server."""
import random
import socket

import pytest

from gateway import wait_until
from snapshots import Snapshot, driven, wait_served


@pytest.mark.parametrize("mode", ["ads", "delta", "delta-ads"])
def test_an_address_that_is_taken_for_a_moment(mode):
    """The listener is refused by name, and served soon after the address is free, though nothing changes at the server. In delta
    it sends nothing twice on a stream."""
    with driven(mode, None) as (server, gateway, place, reached):
        first = Snapshot(random.Random(mode), 0, place, mode)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", place.ports["web"]))
            taken.listen()
            server.serve(0, first.resources())
            wait_until("it is refused", server.refusals)
        assert "is in use" in server.refusals()[0]["error"]
        wait_served(first, server, gateway, reached, "the snapshot")
