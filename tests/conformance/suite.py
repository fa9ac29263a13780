"""All cases for a target."""
import cases_frames
import cases_hpack
import cases_messages
import cases_streams
from dialogue import Target


def all_cases(target):
    """Case by name."""
    parts = (cases_frames, cases_streams, cases_messages, cases_hpack)
    named = [(f"{case.section}: {case.name}", case) for part in parts for case in part.cases(target)]
    by_name = dict(named)
    assert len(by_name) == len(named), f"twice: {[n for n, c in named if by_name[n] is not c]}"
    return by_name


NAMES = list(all_cases(Target()))
