"""Active health checks at scale. Each stage yields (what, figure as text, whether it is as wanted)."""
import json
import os
import resource
import subprocess

from processes import BenchError, Program, cpu_seconds, free_port, wait_until

ENDPOINTS, INTERVAL = 20000, 5
DEAD_SECONDS = 15       # three failures a second apart, and what it takes to begin
MIB = 2 ** 20
RATE_MIN = 0.9          # of the checks that the interval asks for
LATE_MAX = ENDPOINTS    # of all; every further one is to be on time, as one core is to be enough
NGINX = """
worker_processes 1;
daemon off;
pid {work}/nginx.pid;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    server {{
        listen 0.0.0.0:{port} backlog=4096;
        location / {{ add_header X-Address $server_addr; return 200 "well"; }}
        location /health {{
            if (-f {work}/down/$server_addr) {{ return 503; }}
            return 200 "well";
        }}
    }}
}}
"""


def start_nginx(run, cpu, port):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    path = run.work / "nginx.conf"
    path.write_text(NGINX.format(work=run.work, port=port, files=min(files, 65536)))
    nginx = Program("nginx", ["nginx", "-e", "stderr", "-c", path], cpu, run.work / "nginx.log")
    wait_until("nginx to have started", (run.work / "nginx.pid").exists, nginx)
    return nginx


def check(run, cpu, port, seconds):
    """What the checker found and took, pinned to one CPU."""
    program = run.programs.parent / "bench/health_checks"
    with open(run.work / "checks.log", "ab") as log:
        done = subprocess.run(["taskset", "-c", str(cpu), program, str(port), str(ENDPOINTS), str(seconds)], stderr=log,
                              stdout=subprocess.PIPE, timeout=seconds + 60, check=False)
    if done.returncode != 0:
        raise BenchError(f"health_checks ended with {done.returncode}:\n{(run.work / 'checks.log').read_text()[-2000:]}")
    return json.loads(done.stdout)


def health(run):
    """Very many endpoints checked every five seconds by one core: no false alarm, and what it costs."""
    cpus = sorted(os.sched_getaffinity(0))
    port = free_port()
    nginx = start_nginx(run, cpus[0], port)
    try:
        run.progress(f"{ENDPOINTS:,} endpoints for {run.amounts.health_seconds} s")
        found = check(run, cpus[-1], port, run.amounts.health_seconds)
        nginx.check_alive()
        served = sum(cpu_seconds(nginx.pids()))
    finally:
        nginx.stop()
    yield "endpoints found healthy", f"{found['became_healthy']:,}", found["became_healthy"] == ENDPOINTS
    yield "false alarms", f"{found['became_unhealthy']} (failed checks {found['failures']} of {found['checks']:,})", \
        found["became_unhealthy"] == 0
    wanted = ENDPOINTS / INTERVAL
    yield f"checks a second (of {wanted:,.0f})", f"{found['checks_per_second']:,.0f}", \
        found["checks_per_second"] >= RATE_MIN * wanted
    yield f"begun more than a second late (at most the {LATE_MAX:,} first ones, which come within a second), or put off (none)", \
        f"{found['late']:,}, {found['put_off']:,}", found["late"] <= LATE_MAX and found["put_off"] == 0
    each = 1e6 * found["cores"] / found["checks_per_second"]
    yield "CPU of the checker", \
        f"{found['cores']:.3f} cores, {each:.0f} us a check (nginx {served / found['seconds']:.3f} cores)", \
        found["cores"] < 1
    yield "memory of the checker, most", f"{found['peak_kib'] * 1024 / MIB:.1f} MiB", True
    yield "connections", \
        f"{found['connections']:,} kept, {found['connects']:,} made, {found['reused']:,} checks on kept ones", True
    found = check(run, cpus[-1], port, DEAD_SECONDS)
    yield f"with nobody listening, found unhealthy within {DEAD_SECONDS} s", f"{found['became_unhealthy']:,}", \
        found["became_unhealthy"] == ENDPOINTS


STAGES = {"health": health}
