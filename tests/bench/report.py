"""What was measured, for people, for programs, and for docs/performance.md."""
import json
import os
import pathlib
import platform
import statistics
import time

import thesis
from scenarios import COUNTED, OTHERS, THROUGHPUT, traced

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
MIB = 2 ** 20
OURS = "headgate"
NOT_PEERS = {OURS, "floor", "nginx-128k"}


class Results:
    """Figures by (scenario, proxy), one dictionary per round."""

    def __init__(self, versions, amounts):
        self.versions, self.amounts, self.rounds = versions, amounts, {}
        self.load_average = os.getloadavg()[0]

    def version(self, proxy):
        """`nginx-kept`, which only one scenario has, is nginx."""
        return self.versions.get(proxy) or self.versions[proxy.partition("-")[0]]

    def add(self, scenario, proxy, figures):
        self.rounds.setdefault((scenario, proxy), []).append(figures)

    def medians(self, scenario, proxy):
        """One dictionary of medians, or None. Figures that are not numbers are the first round's."""
        rounds = self.rounds.get((scenario, proxy))
        if not rounds:
            return None
        return {key: statistics.median(r[key] for r in rounds) if isinstance(value, (int, float)) else value
                for key, value in rounds[0].items()}

    def of(self, scenario):
        """[(proxy, medians)] in the order of the versions; behind them those that only this scenario has."""
        others = [proxy for at, proxy in self.rounds if at == scenario and proxy not in self.versions]
        found = [(proxy, self.medians(scenario, proxy)) for proxy in [*self.versions, *others]]
        return [(proxy, figures) for proxy, figures in found if figures]

    def best_peer(self, scenario, key):
        return min((figures[key] for proxy, figures in self.of(scenario) if proxy not in NOT_PEERS), default=None)

    def of_floor(self, scenario, key):
        floor = self.medians(scenario, "floor")
        return floor[key] if floor else None


def machine():
    """The words about this machine that a reader needs to compare."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    models = [line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return {"cpu": models[0] if models else platform.machine(), "cpus": len(models) or 1, "kernel": platform.release(),
            "system": release.get("PRETTY_NAME", "unknown").strip('"')}


# ---- tables: a header and rows of text


def ratio(value, base):
    return f"{value / base:.2f}" if base else "–"


def goal(traffic):
    """What the gateway's CPU is to be, in words."""
    beside = [f"{'<' if limit == 1 else '≤'} {limit:.2f} {whom}"
              for limit, whom in ((traffic.to_best, "peer"), (traffic.to_floor, "floor")) if limit]
    return ", ".join(beside)


def throughput_table(results, scenario):
    traffic = THROUGHPUT[scenario]
    floor, best = results.of_floor(scenario, "cpu_us"), results.best_peer(scenario, "cpu_us")
    header = ["", "CPU µs/request", "user", "system", "to the floor", "to the best peer", "goal", "requests/s", "p99 ms",
              "RSS MiB", "PSS MiB"]
    rows = [[proxy, f"{f['cpu_us']:.2f}", f"{f['user_us']:.2f}", f"{f['system_us']:.2f}", ratio(f["cpu_us"], floor),
             ratio(f["cpu_us"], best), goal(traffic) if proxy == OURS else "", f"{f['requests_per_second']:,.0f}",
             f"{f['p99_ms']:.2f}", f"{f['rss_bytes'] / MIB:.1f}", f"{f['pss_bytes'] / MIB:.1f}"]
            for proxy, f in results.of(scenario)]
    if not floor:
        header, rows = header[:4] + header[5:], [row[:4] + row[5:] for row in rows]
    return header, rows


def idle_table(results, scenario):
    best = results.best_peer(scenario, "bytes_per_connection")
    rows = [[proxy, f"{f['bytes_per_connection']:,.0f}", ratio(f["bytes_per_connection"], best),
             "≤ nginx" if proxy == OURS else ""] for proxy, f in results.of(scenario)]
    return ["", "bytes/connection", "to the best peer", "goal"], rows


def allocations_table(results, scenario):
    rows = [[f"{proxy}, {title}", f"{round(f[name], 3) + 0:.3f}", f"{f['requests']:,.0f}"]     # never "-0.000"
            for proxy, f in results.of(scenario) for name, (_, _, title) in COUNTED.items() if name in f]
    return ["", "allocations/request", "requests"], rows


def syscalls_table(results, scenario):
    rows = [[f"{proxy}, {THROUGHPUT[name].title}", f"{f[name + ' per request']:.2f}",
             ", ".join(f"{call} {count:.2f}" for call, count in f[name + " calls"].items())]
            for proxy, f in results.of(scenario) for name in traced()]
    return ["", "calls/request", "which"], rows


def growth_table(results, scenario):
    rows = [[proxy, f"{f['growth_bytes'] / 1024:,.0f}", f"{f['from_requests']:,.0f}", f"{f['to_requests']:,.0f}"]
            for proxy, f in results.of(scenario)]
    return ["", "growth KiB", "from request", "to request"], rows


def thesis_table(results):
    found = results.of(thesis.NAME)
    ours = results.medians(thesis.NAME, OURS)
    rows = [[proxy, f"{f['requests_per_second']:,.0f}",
             f"{ours['requests_per_second'] / f['requests_per_second']:.2f}" if ours and proxy != OURS else "",
             f"> {thesis.PUBLISHED}" if proxy != OURS else "", f"{f['cpu_us']:.2f}",
             f"{f['cpu_us'] / ours['cpu_us']:.2f}" if ours and proxy != OURS else "", f"{f['p99_ms']:.1f}",
             f"{100 * f['fullest_share']:.1f} %"] for proxy, f in found]
    return ["", "requests/s", "headgate to it", "goal", "CPU µs/request", "its CPU to headgate's", "p99 ms",
            "fullest of 3 origins"], rows


TABLES = {"idle": idle_table, "idle-tls": idle_table, "idle-h2": idle_table, "idle-h3": idle_table, "allocations": allocations_table,
          "syscalls": syscalls_table, "growth": growth_table}


def tables(results):
    """(title, header, rows) of every scenario that has figures."""
    for scenario, traffic in THROUGHPUT.items():
        if results.of(scenario):
            yield (traffic.title, *throughput_table(results, scenario))
    for scenario, title in OTHERS.items():
        if results.of(scenario):
            yield (title[0].upper() + title[1:], *TABLES[scenario](results, scenario))
    if results.of(thesis.NAME):
        yield (thesis.TITLE[0].upper() + thesis.TITLE[1:], *thesis_table(results))


# ---- the three forms


def for_people(results):
    lines = []
    for title, header, rows in tables(results):
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines += ["", title]
        for row in [header, *rows]:
            cells = [cell.ljust(width) if i == 0 or header[i] in ("which", "goal") else cell.rjust(width)
                     for i, (cell, width) in enumerate(zip(row, widths))]
            lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines).lstrip("\n")


def for_programs(results):
    lines = [json.dumps({"scenario": "machine", **machine(), "versions": results.versions})]
    for scenario in [*THROUGHPUT, *OTHERS, thesis.NAME]:
        for proxy, figures in results.of(scenario):
            rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}
            lines.append(json.dumps({"scenario": scenario, "proxy": proxy, "version": results.version(proxy),
                                     "rounds": len(results.rounds[scenario, proxy]), **rounded}))
    return "\n".join(lines)


def for_the_docs(results, command):
    m, a = machine(), results.amounts
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items() if name != "floor")
    runs = f" (of the last table: {a.thesis_runs} runs of {a.thesis_requests:,} requests)" if results.of(thesis.NAME) else ""
    lines = [f"Measured on {time.strftime('%Y-%m-%d')} with `{command}`: {m['cpus']} × {m['cpu']}, Linux {m['kernel']}, "
             f"{m['system']}. {versions}. Medians of {a.rounds} interleaved rounds of {a.seconds} s{runs}; load average before: "
             f"{results.load_average:.1f}."]
    for title, header, rows in tables(results):
        lines += ["", f"### {title}", "", "| " + " | ".join(header) + " |",
                  "|---|" + "---:|" * (len(header) - 1)]
        for row in rows:
            cells = [f"**{cell}**" if cell else "" for cell in row] if row[0].startswith(OURS) else row
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def check_docs(path):
    """None, or why figures cannot be written there."""
    try:
        text = path.read_text()
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None if END in text.partition(BEGIN)[2] else f"{path} has no lines {BEGIN} and {END}"


def write_docs(path, text):
    """Puts the text between the markers of a file that check_docs has nothing against; everything else stays."""
    before, _, rest = path.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    part = path.with_name(path.name + ".part")
    part.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    part.replace(path)
