"""A real management server drives a gateway through random snapshots, while clients ask all the time."""
import os

import pytest

import envoy
from snapshots import drive, make_authority

SNAPSHOTS = int(os.environ.get("HEADGATE_SNAPSHOTS", "3"))  # the soak has the full number


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp("authority") / "authority")


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("mode", list(envoy.MODES))
def test_no_request_fails_whatever_the_server_sends(mode, is_tls, authority):
    outcome = drive(mode, authority if is_tls else None, SNAPSHOTS)
    assert outcome.answered and (outcome.refused, outcome.failures) == (0, [])
    assert outcome.nacks == []
    assert outcome.is_ready
