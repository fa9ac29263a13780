"""Endpoints that come, go and change their weight under load. Each stage yields (what, figure as text, whether it is as
wanted)."""
import json
import os
import subprocess
import sys

from processes import BenchError

LIMIT_SECONDS = 1800


def churned(run, count, ejection_seconds):
    """What the scenario's program says of so many changes. It has a gateway of its own."""
    program = run.project / "tests/scenario/clusters/churn.py"
    done = subprocess.run([sys.executable, program, str(count), str(ejection_seconds)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
                          env={**os.environ, "HEADGATE_BIN": str(run.programs)})
    if done.returncode:
        raise BenchError(f"churn.py ended with {done.returncode}: {done.stderr[-2000:]}")
    told = json.loads(done.stdout)
    return told["figures"], told["faults"]


def endpoint_churn(run):
    """Many random changes of endpoints under load, by set and by file, leave the others as they were."""
    figures, faults = churned(run, run.amounts.churns, run.amounts.churn_ejection_seconds)
    kinds = ", ".join(f"{count} times {kind}" for kind, count in sorted(figures["kinds"].items()))
    yield f"changes under load (at least {run.amounts.churns:,})", f"{figures['changes']:,}: {kinds}", \
        figures["changes"] >= run.amounts.churns and len(figures["kinds"]) == 6
    yield "of these while an endpoint of each cluster was ejected (at least half)", f"{figures['while_ejected']:,}", \
        2 * figures["while_ejected"] >= figures["changes"]
    yield "failed requests, strangers, ejections and keys that are not as they were", \
        f"{len(faults)} with {figures['answers']:,} requests{''.join(f'; {fault}' for fault in faults[:5])}", not faults
    yield "connections to untouched endpoints that were closed", f"{figures['closed']}", figures["closed"] == 0
    yield "positions, of round robin: drift of turns between untouched endpoints, of what is possible (at most 1)", \
        f"{figures['drift']:.2f}", figures["drift"] <= 1.000001
    moved, expected, keys = figures["maglev"]
    yield "keys that moved: ring hash, each from or to an endpoint that changed", f"{figures['ring_moves']:,}", True
    yield "keys that moved: Maglev, between untouched endpoints", f"{moved} of {keys:,}, {expected} expected", True
    yield "requests under way at an endpoint that left, ended well", f"{figures['held']}", figures["held"] > 0


STAGES = {"endpoint-churn": endpoint_churn}
