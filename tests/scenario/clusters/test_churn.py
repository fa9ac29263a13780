"""Endpoints that come, go and change their weight under load leave the others as they were."""
from churn import churn

CHANGES, EJECTION_SECONDS = 100, 10


def test_changes_under_load_leave_the_others_as_they_were(own):
    figures, faults = churn(own, CHANGES, EJECTION_SECONDS)
    assert not faults, (faults[:10], len(faults), figures)
    assert figures["changes"] >= CHANGES and figures["while_ejected"] > 0 and figures["held"] > 0
    assert len(figures["kinds"]) == 6, figures  # each of three, by each of two ways
