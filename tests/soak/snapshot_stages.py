"""Many random snapshots of a real management server, in each form of its protocol, plain and over TLS. Each stage yields
(what, figure as text, whether it is as wanted)."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
FORMS = ("ads", "xds", "delta", "delta-ads", "rest")


def drive(run, form, security):
    """(what became of it, seconds)."""
    started, outcome = time.monotonic(), {}
    command = [sys.executable, "-B", HERE / "drive_snapshots.py", form, security, str(run.amounts.snapshots)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "HEADGATE_BIN": str(run.programs)}) as process:
        try:
            for line in process.stdout:
                outcome = json.loads(line)
                if "served" in outcome:
                    run.progress(f"snapshot {outcome['served']} of {run.amounts.snapshots}, {form} {security}")
        finally:                # it ends what it has started
            process.send_signal(signal.SIGINT)
    return outcome, time.monotonic() - started


def describe(outcome, seconds):
    if "answered" not in outcome:
        return outcome.get("error", f"it ended without a word after {outcome}")
    failed, nacks = outcome["failed"], outcome["nacks"]
    return f"{failed} of {outcome['answered'] + failed:,}{outcome['failures'] or ''} and {len(nacks)}{nacks[:3] or ''} " \
        f"in {seconds:.0f} s"


def is_good(outcome):
    return outcome.get("answered", 0) > 0 and outcome["failed"] == 0 and not outcome["nacks"] and outcome["is_ready"]


def snapshots(run):
    """Random snapshots of a management server under load: each is served as it says, no request fails, nothing is refused."""
    for form in FORMS:
        for security in ("plain", "tls"):
            outcome, seconds = drive(run, form, security)
            yield f"failed requests and NACKs, {run.amounts.snapshots} snapshots, {form} {security}", \
                describe(outcome, seconds), is_good(outcome)


STAGES = {"snapshots": snapshots}
