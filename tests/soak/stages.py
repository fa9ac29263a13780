"""The long runs. Each stage yields (what, figure as text, whether it is as wanted)."""
import os
import pathlib
import signal
import statistics
import subprocess
import time

import proxies
import scenarios
from load import CheckedLoad
from processes import BenchError, Place, Program, memory, wait_until
from tls_material import Material
from site_under_load import (BackgroundLoad, Site, cluster_rules, failures, kill_and_wait, load_alone, number_rule,
                             one_host)

MIB = 2 ** 20
GROWTH_MAX = MIB
SET_MAX_MS = 10
PUSH_ROUNDS = 5
STABLE_SECONDS = 1.2        # a data plane that has run for a second is started again without a delay


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def milliseconds(values_us):
    return (f"median {statistics.median(values_us) / 1000:.2f} ms, p95 {percentile(values_us, 0.95) / 1000:.2f} ms, "
            f"max {max(values_us) / 1000:.2f} ms")


def pushes(run):
    """Many pushes under load: nothing fails. What they cost in latency is told by two comparisons, in turns with them: no
    pushes, and pushes to another gateway, which take the same CPU time from this machine and touch nothing that serves."""
    elsewhere = run.work / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    quiet, apart, during, times = [], [], [], []
    with Site(run.programs, run.work) as site, Site(run.programs, elsewhere) as other:
        for last in range(run.amounts.pushes // PUSH_ROUNDS, run.amounts.pushes + 1, run.amounts.pushes // PUSH_ROUNDS):
            numbers = range(last - run.amounts.pushes // PUSH_ROUNDS + 1, last + 1)
            quiet.append(load_alone(site.port, run.amounts.quiet_seconds / PUSH_ROUNDS))
            apart.append(push_under_load(run, site, other, numbers[::PUSH_ROUNDS], []))
            during.append(push_under_load(run, site, site, numbers, times))
        yield "p99 without pushes", tails(quiet), not any(map(failures, quiet))
        yield "p99 during pushes to another gateway", tails(apart), not any(map(failures, apart))
        yield "p99 during pushes", tails(during), True
        total = {kind: sum(report[kind] for report in during) for kind in during[0]}
        yield f"failed requests during {run.amounts.pushes:,} pushes", describe(total), failures(total) == 0
        yield "time of a push until every worker has switched", milliseconds(times), True
        yield "the last push is served", f"number {site.number()}", site.number() == run.amounts.pushes


def push_under_load(run, site, pushed, numbers, times):
    """Loads `site` while `pushed` takes these pushes; returns the report of the load and appends microseconds to `times`."""
    with BackgroundLoad(site.port) as background:
        for number in numbers:
            times.append(pushed.push(number)["push_us"])
            run.progress(f"push {number} of {run.amounts.pushes}")
        return background.stop()


def tails(reports):
    tail = sorted(report["p99_ms"] for report in reports)
    requests = sum(report["requests"] for report in reports)
    return f"median {statistics.median(tail):.2f} ms, {tail[0]:.2f} to {tail[-1]:.2f} ms, {requests:,} requests"


def describe(report):
    return (f"{failures(report)} of {report['requests']:,} (statuses {report['bad_statuses']}, connect {report['connect']}, "
            f"read {report['read']}, write {report['write']}, timeout {report['timeout']})")


def control_plane_kills(run):
    """The control plane killed again and again under load: nothing fails, pushes work in between."""
    number = 0
    with Site(run.programs, run.work) as site:
        with BackgroundLoad(site.port) as background:
            for kill in range(1, run.amounts.kills + 1):
                kill_and_wait(site.gateway.control_plane)
                site.gateway.start_control_plane()
                site.gateway.wait_connected()
                if kill % 10 == 0:
                    number += 1
                    site.push(number)
                run.progress(f"control plane killed {kill} times of {run.amounts.kills}")
            report = background.stop()
        yield f"failed requests, control plane killed {run.amounts.kills} times", describe(report), failures(report) == 0
        yield "pushes in between are served", f"number {site.number()} of {number}", site.number() == number
        kill_and_wait(site.gateway.control_plane)
        restart_dataplane(site)
        site.wait_number(number)
        yield "data plane restarted from disk, control plane dead", f"number {site.number()}", site.number() == number
        site.gateway.start_control_plane()
        site.gateway.wait_connected()
        site.push(number + 1)
        site.wait_number(number + 1)
        yield "it reconnects and takes a push", f"number {site.number()}", site.number() == number + 1


def restart_dataplane(site):
    """Kills the data plane and waits until another one answers; returns the seconds until then."""
    before, started = site.gateway.kill_dataplane(), time.monotonic()
    wait_until("another data plane", lambda: site.gateway.dataplane_pid() not in (None, before), site.gateway.holder)
    wait_until("it to answer", lambda: site.number() is not None, site.gateway.holder)
    return time.monotonic() - started


def data_plane_kills(run):
    """The data plane killed again and again under load: what was in flight fails and nothing else, and what was
    acknowledged is served afterwards. Each has run long enough before that the holder restarts it at once."""
    lost, gaps = 0, []
    with Site(run.programs, run.work) as site:
        with BackgroundLoad(site.port) as background:
            for number in range(1, run.amounts.kills + 1):
                site.push(number)
                time.sleep(STABLE_SECONDS)
                gaps.append(restart_dataplane(site) * 1e6)
                lost += site.number() != number
                site.gateway.wait_connected()
                run.progress(f"data plane killed {number} times of {run.amounts.kills}")
            report = background.stop()
    in_flight = run.amounts.kills * 64
    yield f"refused connections, data plane killed {run.amounts.kills} times", f"{report['connect']}", report["connect"] == 0
    broken = report["read"] + report["write"]
    yield f"connections broken in flight (at most {in_flight:,})", f"{broken:,} with {report['requests']:,} requests done", \
        broken <= in_flight
    yield "other failures", f"statuses {report['bad_statuses']}, timeouts {report['timeout']}", \
        report["bad_statuses"] + report["timeout"] == 0
    yield "acknowledged snapshots lost", f"{lost}", lost == 0
    yield "time from the kill to the next answer", milliseconds(gaps), True


# ---- scale


def address(cluster, endpoint, moved=0):
    number = cluster * 1000 + endpoint
    return f"127.{1 + number // 65536}.{number // 256 % 256}.{number % 256}:{8000 + moved}"


def cluster_text(cluster, endpoints, moved=0):
    """One cluster; `moved` gives its first endpoint another port."""
    listed = ", ".join(f'"{address(cluster, i, moved if i == 0 else 0)}"' for i in range(endpoints))
    return f"{{name: c{cluster}, endpoints: [{listed}]}}"


def scale_configuration(port, clusters, endpoints):
    """Number 1."""
    return one_host(port, [number_rule(1), *cluster_rules(clusters)], [cluster_text(i, endpoints) for i in range(clusters)])


def scale(run):
    """Very many endpoints: what a push costs, and what changing one endpoint costs."""
    clusters, each = run.amounts.clusters, run.amounts.endpoints // run.amounts.clusters
    with Site(run.programs, run.work) as site:
        run.progress(f"pushing {clusters * each:,} endpoints in {clusters:,} clusters")
        started = time.monotonic()
        reply = site.gateway.push(scale_configuration(site.port, clusters, each))
        seconds = time.monotonic() - started
        plane = reply["data_planes"][0]
        site.wait_number(1)
        yield f"{clusters * each:,} endpoints in {clusters:,} clusters pushed", \
            f"{seconds:.2f} s ({reply['push_us'] / 1e6:.2f} s from accepted to switched, " \
            f"of it writing {reply['store_us'] / 1e6:.2f} s, building {plane['build_us'] / 1e6:.2f} s)", \
            True
        yield "bytes on the channel", f"{plane['sent_bytes'] / MIB:.2f} MiB", plane["sent_bytes"] > 0
        for name, program in (("holder and data plane", site.gateway.holder), ("control plane", site.gateway.control_plane)):
            resident, proportional = memory(program.pids())
            yield f"memory, {name}", f"{resident / MIB:.1f} MiB RSS, {proportional / MIB:.1f} MiB PSS", resident > 0
        yield from one_endpoint(run, site, clusters, each)


def one_endpoint(run, site, clusters, each):
    """The write to disk is told apart: it takes as long as the disk takes."""
    switched, durable, sent = [], [], []
    path = pathlib.Path(run.work) / "cluster.yaml"
    for i in range(run.amounts.sets):
        cluster = i * 37 % clusters
        path.write_text(cluster_text(cluster, each, moved=i + 1) + "\n")
        reply = site.gateway.committed("set", f"cluster/c{cluster}", path)
        switched.append(reply["push_us"] - reply["store_us"])
        durable.append(reply["store_us"])
        sent.append(reply["data_planes"][0]["sent_bytes"])
        run.progress(f"set {i + 1} of {run.amounts.sets}")
    yield f"one endpoint changed by set, accepted to switched (p95 at most {SET_MAX_MS} ms)", milliseconds(switched), \
        percentile(switched, 0.95) <= SET_MAX_MS * 1000
    yield "its durable write", milliseconds(durable), True
    yield "its bytes on the channel", f"median {statistics.median(sent):,.0f}", True


# ---- memory over many requests


def growth(run):
    """Memory from one number of requests to the next."""
    tools = run.programs.parent / "bench"
    cpus = sorted(os.sched_getaffinity(0))
    origin = Program("origin", [tools / "origin", "12"], cpus[0], run.work / "origin.log", prints_port=True)
    material = Material(run.work)
    proxy = proxies.Headgate(Place(None, run.work), cpus[-1], run.work / "headgate.log", material, run.programs)
    try:
        proxy.start(origin.port)
        run.progress(f"{run.amounts.growth[1]:,} requests")
        generator = CheckedLoad(cpus[0], origin.port, material, tools / "handshakes", run.work)
        figures = scenarios.growth(proxy, generator, scenarios.Amounts(growth=run.amounts.growth))
    finally:
        proxy.stop()
        origin.stop()
    yield f"growth from request {run.amounts.growth[0]:,} to {run.amounts.growth[1]:,} (at most 1 MiB)", \
        f"{figures['growth_bytes'] / 1024:,.0f} KiB", figures["growth_bytes"] <= GROWTH_MAX


# ---- fuzzing


def fuzz(run):
    """Every fuzz target for its time, on a copy of its corpus."""
    build = run.project / "build/fuzz"
    for command in (["cmake", "--preset", "fuzz"], ["cmake", "--build", "--preset", "fuzz"]):
        run.progress(" ".join(command))
        done = subprocess.run(command, cwd=run.project, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    waiting = sorted(path for path in (build / "fuzz").iterdir() if os.access(path, os.X_OK) and path.is_file())
    running = {}
    try:
        while waiting or running:
            while waiting and len(running) < len(os.sched_getaffinity(0)):
                target = waiting.pop(0)
                running[target] = start_fuzzer(run, target)
            time.sleep(0.5)
            for target in [target for target, process in running.items() if process.poll() is not None]:
                code = running.pop(target).returncode
                yield f"fuzzing {target.name} for {run.amounts.fuzz_seconds} s", last_line(run, target), code == 0
            run.progress(f"fuzzing {', '.join(target.name for target in running)}; {len(waiting)} to go")
    finally:
        for process in running.values():
            process.send_signal(signal.SIGKILL)
            process.wait()


def start_fuzzer(run, target):
    name = target.name.removeprefix("fuzz_")
    found = run.work / f"corpus-{name}"
    found.mkdir()
    with open(run.work / f"{target.name}.log", "wb") as log:
        return subprocess.Popen(
            [target, f"-max_total_time={run.amounts.fuzz_seconds}", "-print_final_stats=1",
             f"-artifact_prefix={run.artifacts}/{name}-", found, run.project / "tests/fuzz/corpus" / name],
            cwd=run.project, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def last_line(run, target):
    lines = (run.work / f"{target.name}.log").read_text(errors="replace").splitlines()
    wanted = [line for line in lines if "stat::number_of_executed_units" in line or "SUMMARY" in line or "ERROR" in line]
    return "; ".join(line.strip() for line in wanted) or "\n".join(lines[-5:])


STAGES = {
    "pushes": pushes, "control-plane-kills": control_plane_kills, "data-plane-kills": data_plane_kills, "scale": scale,
    "growth": growth, "fuzz": fuzz,
}
