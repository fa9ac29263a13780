"""All cases of HTTP/3 and QUIC. The public suite h3spec has 49 of them; all are among these."""
import cases_h3
import cases_qpack
import cases_quic_early
import cases_quic_frames
import cases_quic_handshake


def all_cases():
    """Case by name."""
    parts = (cases_quic_handshake, cases_quic_frames, cases_h3, cases_qpack, cases_quic_early)
    named = [(f"{case.section}: {case.name}", case) for part in parts for case in part.cases()]
    by_name = dict(named)
    assert len(by_name) == len(named), f"twice: {[n for n, c in named if by_name[n] is not c]}"
    return by_name
