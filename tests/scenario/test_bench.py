"""The benchmark's harness works: every speed and memory scenario for a moment, with all of its own checks. No speed is
judged; `make bench` does that."""
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("HEADGATE_BIN", ROOT / "build/bin")).resolve()


def harness(*arguments):
    return subprocess.run([ROOT / "tests/bench/run", "--bin", BIN, "--self-check", *arguments], capture_output=True,
                          text=True, timeout=300, check=False)


def test_every_scenario_measures_something():
    done = harness("--peers", "floor,headgate,nginx", "--only", "h1,h1-64k,h1-tls,h2,full,resumed,idle,idle-tls,idle-h2,"
                   "allocations,thesis")
    assert done.returncode == 0, done.stdout + done.stderr
    # Floor in two scenarios, nginx in ten, in one of them twice, the gateway in all eleven.
    assert done.stdout.split("\n")[0] == "24 measured, 0 faults"


def test_a_program_that_is_missing_is_a_fault(tmp_path):
    tools = tmp_path / "bench"
    tools.symlink_to(BIN.parent / "bench")
    done = subprocess.run([ROOT / "tests/bench/run", "--bin", tmp_path / "bin", "--self-check", "--peers", "headgate"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "headgate is not there" in done.stderr


def test_unknown_names_are_refused():
    done = harness("--peers", "caddie")
    assert done.returncode == 2
    assert "no caddie; there are: floor,headgate,nginx" in done.stderr
