#!/usr/bin/python3
"""One drive of tests/scenario/discovery/snapshots.py for the soak, in a process of its own.

    drive_snapshots.py MODE plain|tls COUNT

Prints an object of JSON in each line: {"served": N} for each snapshot, and in the end what became of it, or {"error": "..."}.
HEADGATE_BIN has the programs.
"""
import json
import pathlib
import sys
import tempfile

SCENARIOS = pathlib.Path(__file__).resolve().parent.parent / "scenario"
sys.path[:0] = [str(SCENARIOS / folder) for folder in ("discovery", "http", "control")]

from snapshots import drive, make_authority  # noqa: E402  (found by the line above)


def tell(**what):
    print(json.dumps(what), flush=True)


def main():
    mode, security, count = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="headgate-authority-") as folder:
        authority = make_authority(pathlib.Path(folder) / "authority") if security == "tls" else None
        try:
            outcome = drive(mode, authority, int(count), lambda version: tell(served=version))
        except (AssertionError, OSError) as error:
            tell(error=str(error)[:2000] or type(error).__name__)
            return 1
    tell(answered=outcome.answered, refused=outcome.refused, failures=outcome.failures[:10],
         failed=outcome.refused + len(outcome.failures), nacks=[nack["error"] for nack in outcome.nacks],
         is_ready=outcome.is_ready)
    return 0


if __name__ == "__main__":
    sys.exit(main())
