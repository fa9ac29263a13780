"""The benchmark's harness works: every speed and memory scenario for a moment, with all of its own checks. No speed is
judged; `make bench` does that."""
import os
import pathlib
import subprocess
import sys

import pytest

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


H2LOAD_SAYS = """Application protocol: http/1.1
requests: {done} total, {done} started, {done} done, {good} succeeded, {bad} failed, 0 errored, 0 timeout
status codes: {good} 2xx, 0 3xx, 0 4xx, {bad} 5xx
"""


def of_the_harness(code, *arguments, said=""):
    """Runs code with the harness's modules, in a process of its own: other tests have modules of the same names."""
    return subprocess.run([sys.executable, "-B", "-c", f"import sys; sys.path.insert(0, sys.argv[1]); {code}", ROOT / "tests/bench",
                           *arguments], capture_output=True, text=True, input=said, timeout=60, check=False)


def succeeded(protocol, good, bad):
    """What load.py makes of it."""
    return of_the_harness("import load; print(load.succeeded(sys.stdin.read(), sys.argv[2]))", protocol,
                          said=H2LOAD_SAYS.format(done=good + bad, good=good, bad=bad))


def test_load_counts_when_all_of_it_went_well():
    done = succeeded("http/1.1", 10, 0)
    assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr


@pytest.mark.parametrize("protocol, good, bad, complaint", [
    ("h3", 10, 0, "h2load did not speak h3"), ("http/1.1", 9, 1, "h2load saw errors"), ("http/1.1", 0, 0, "h2load saw errors")])
def test_load_over_another_protocol_or_with_errors_is_a_fault(protocol, good, bad, complaint):
    done = succeeded(protocol, good, bad)
    assert done.returncode == 1 and complaint in done.stderr


@pytest.mark.parametrize("features, speaks", [
    ("+QUIC -QUIC_OPENSSL_COMPAT", True), ("+QUIC +QUIC_OPENSSL_COMPAT", False), ("-QUIC", False)])
def test_haproxy_speaks_http3_where_its_openssl_does(features, speaks):
    code = """import proxies, types
place = types.SimpleNamespace(output=lambda command: sys.stdin.read())
print(proxies.Haproxy(place, 0, None, None).speaks_http3())"""
    done = of_the_harness(code, said=f"Feature list : -51DEGREES +EPOLL {features} +THREAD\n")
    assert done.stdout == f"{speaks}\n", done.stderr


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


def test_a_document_without_place_for_the_figures_is_refused_before_anything_is_measured(tmp_path):
    done = harness("--docs", tmp_path / "none.md")
    assert done.returncode == 2
    assert f"--docs: {tmp_path}/none.md: No such file or directory" in done.stderr
    (tmp_path / "some.md").write_text("text\n")
    done = harness("--docs", tmp_path / "some.md")
    assert done.returncode == 2
    assert f"--docs: {tmp_path}/some.md has no lines <!--" in done.stderr


# ---- balancers

CHOICES = "| balancer | ns |\n|---|---|\n| random | 13 |"
ONE_LEAVES = "| one of 100,000 leaves | ms |\n|---|---|\n| random | 62 |"
GROWTH = "| of so many | ms |\n|---|---|\n| 1,000 | 0.4 |"
CHANGES = """| of 100,000 endpoints | balancer | main thread: all, ms | worker: longest turn, ms | all, ms | turns |
|---|---|---|---|---|---|
| one leaves | random | 107 | 0.09 | 0.1 | 1 |
| one leaves | ring hash | 534 | 0.11 | 0.1 | 1 |
| all leave | random | 9 | 0.10 | 11.0 | 98 |"""


def run_balancers(tmp_path, docs, *printed):
    """The command with programs that print this."""
    (tmp_path / "bench").mkdir()
    for name, text in zip(("balancers", "changes"), printed):
        program = tmp_path / "bench" / name
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        program.chmod(0o755)
    return subprocess.run([ROOT / "tests/bench/balancers", "--bin", tmp_path / "bin", "--docs", docs], capture_output=True,
                          text=True, timeout=60, check=False)


def test_the_tables_of_balancers_are_written(tmp_path):
    docs = tmp_path / "balancers.md"
    docs.write_text("before\n<!-- measured: begin -->\nformer figures\n<!-- measured: end -->\nafter\n")
    done = run_balancers(tmp_path, docs, f"{CHOICES}\n\n{ONE_LEAVES}\n\n{GROWTH}", CHANGES)
    assert done.returncode == 0, done.stderr
    text = docs.read_text()
    assert text.startswith("before\n<!-- measured: begin -->\nMeasured on ") and text.endswith("<!-- measured: end -->\nafter\n")
    assert CHOICES in text and ONE_LEAVES in text and GROWTH in text and "former figures" not in text
    assert "| one leaves | 107 – 534 | 0.09 – 0.11 | 0.1 | 1 |\n| all leave | 9 | 0.10 | 11.0 | 98 |\n" in text


def test_balancers_without_programs_or_a_place_write_nothing(tmp_path):
    docs = tmp_path / "balancers.md"
    docs.write_text("text\n")
    assert run_balancers(tmp_path, docs).returncode == 2
    text = "<!-- measured: begin -->\nformer figures\n<!-- measured: end -->\n"
    docs.write_text(text)
    done = subprocess.run([ROOT / "tests/bench/balancers", "--bin", tmp_path / "none/bin", "--docs", docs],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "make build" in done.stderr
    assert docs.read_text() == text
