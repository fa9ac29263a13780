"""The `headgate` program against a control plane without data planes: versions come, are shown, compared, taken back."""
import json
import os
import pathlib
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from planes import PROGRAMS, ROOT, site_of

FIRST = site_of("127.0.0.1:9001")
SECOND = site_of("127.0.0.1:9001", "127.0.0.1:9002")


def test_push_stores_without_a_data_plane(site):
    pushed = site.push(FIRST, "-m", "the first")
    assert pushed.code == 0, pushed
    assert pushed.json["outcome"] == "stored" and pushed.json["version"] == 1
    assert {c["kind"] for c in pushed.json["changes"]} == {"settings", "route-table", "cluster", "endpoint-set"}
    again = site.push(FIRST)
    assert again.code == 0 and again.json["outcome"] == "unchanged" and again.json["version"] == 1
    log = site.ok("log", "-o", "json").json["versions"]
    assert [(v["version"], v["message"], v["current"]) for v in log] == [(1, "the first", True)]


def test_history(site):
    site.push(FIRST)
    site.push(SECOND, "-m", "one more")
    changed = site.headgate("diff", "-o", "json")
    assert changed.code == 1
    assert [(c["kind"], c["name"], c["what"]) for c in changed.json["changes"]] == [("endpoint-set", "web", "changed")]
    assert changed.json["changes"][0]["fields"][0]["path"] == "endpoints[1]"
    assert site.headgate("diff", 2, 2).code == 0
    assert site.headgate("diff", site.write("first.json", FIRST)).code == 1
    assert site.headgate("diff", 1, site.write("first.json", FIRST)).code == 0
    rolled = site.ok("rollback", "-o", "json").json
    assert rolled["version"] == 3
    log = site.ok("log", "-o", "json").json["versions"]
    assert [v["version"] for v in log] == [3, 2, 1]
    assert log[0]["restores"] == 1 and log[0]["intent_hash"] == log[2]["intent_hash"]
    assert log[0]["hash"] != log[2]["hash"]
    assert [v["version"] for v in site.ok("log", "-n", 1, "-o", "json").json["versions"]] == [3]
    assert site.ok("rollback", 2, "-o", "json").json["version"] == 4
    assert site.headgate("rollback", 99).code == 1


def test_show_gives_what_was_pushed(site):
    site.push(FIRST)
    site.push(SECOND)
    shown = site.ok("show").out
    assert yaml.safe_load(shown)["clusters"] == SECOND["clusters"]
    assert site.ok("push", site.write("shown.yaml", shown), "-o", "json").json["outcome"] == "unchanged"
    assert yaml.safe_load(site.ok("show", 1).out)["clusters"] == FIRST["clusters"]
    assert yaml.safe_load(site.ok("show", "cluster/web").out)["endpoints"] == SECOND["clusters"][0]["endpoints"]
    assert json.loads(site.ok("show", 1, "cluster/web", "-o", "json").out)["endpoints"] == ["127.0.0.1:9001"]
    assert "response-head: 1m" in site.ok("show", "--effective").out
    assert site.headgate("show", "cluster/nothing").code == 1
    assert site.headgate("show", 7).code == 1


def test_one_resource_at_a_time(site):
    site.push(FIRST)
    made = site.ok("set", "cluster/api", "-", "-o", "json", text="endpoints: [127.0.0.1:9100]\n").json
    assert {(c["kind"], c["name"], c["what"]) for c in made["changes"]} == {
        ("cluster", "api", "added"), ("endpoint-set", "api", "added")}
    refused = site.headgate("delete", "cluster/web", "-o", "json")
    assert refused.code == 1 and refused.json["problems"][0]["resource"] == "route-table/site"
    gone = site.ok("delete", "cluster/api", "-o", "json").json
    assert {(c["kind"], c["name"], c["what"]) for c in gone["changes"]} == {
        ("cluster", "api", "removed"), ("endpoint-set", "api", "removed")}
    assert site.version() == 3
    bad = site.headgate("set", "cluster/web", "-", "-o", "json", text="endpoints: [nonsense]\nbalanser: x\n")
    assert bad.code == 1 and {p["line"] for p in bad.json["problems"]} == {1, 2}
    assert site.headgate("delete", "cluster/nothing").code == 1
    assert site.version() == 3


def test_a_bad_file_changes_nothing(site):
    site.push(FIRST)
    path = site.write("bad.yaml", "listenerz: []\nclusters:\n  - name: web\n    endpoints: [1.2.3.4]\n")
    refused = site.headgate("push", path, "-o", "json")
    assert refused.code == 1 and refused.json["outcome"] == "refused"
    problems = refused.json["problems"]
    assert [(p["line"], p.get("nearest")) for p in problems if p["code"] == "unknown-key"] == [(1, "listeners")]
    assert any(p["line"] == 4 for p in problems) and all(p["file"] == str(path) for p in problems)
    assert site.version() == 1
    assert site.headgate("validate", path).code == 1
    assert site.headgate("push", site.folder / "missing.yaml").code == 1


def test_a_long_list_of_changes_is_cut_for_people(site):
    site.push(site_of(*(f"127.0.0.1:{9000 + i}" for i in range(1500))))
    path = site.write("less.json", site_of("127.0.0.1:1"))
    assert len(site.headgate("diff", path).out.splitlines()) == 1 + 1000 + 1
    pushed = site.ok("push", path)
    assert "and 1481 more fields" in pushed.out and len(pushed.out.splitlines()) < 30
    changed = site.headgate("diff", "-o", "json").json["changes"][0]
    assert changed["field_count"] == 1501 and len(changed["fields"]) == 1000


def test_status_of_one_cluster(site):
    """Of all together 2,000 endpoints are named, and for people eight of each: who asks for one gets its own."""
    many = [f"10.0.{i // 250}.{i % 250}:80" for i in range(2100)]
    few = [f"127.0.0.1:{9000 + i}" for i in range(20)]
    site.push(site_of(clusters=[{"name": "big", "endpoints": many}, {"name": "web", "endpoints": few}]))
    listed = {c["name"]: (c["endpoint_count"], len(c.get("endpoints", []))) for c in site.status()["clusters"]}
    assert listed == {"big": (2100, 2000), "web": (20, 0)}
    one = site.ok("status", "--cluster", "web", "-o", "json").json
    assert [c["name"] for c in one["clusters"]] == ["web"] and one["version"] == 1
    assert [e["address"] for e in one["clusters"][0]["endpoints"]] == few
    shown = site.ok("status", "--cluster", "web").out
    assert all(e in shown for e in few) and "big" not in shown
    nobody = site.headgate("status", "--cluster", "nobody")
    assert nobody.code == 1 and 'no cluster "nobody"' in nobody.err


def test_dry_run_stores_nothing(site):
    checked = site.push(FIRST, "--dry-run")
    assert checked.code == 0 and checked.json["outcome"] == "checked"
    assert site.version() == 0
    assert site.headgate("show").code == 1


def test_if_version(site):
    assert site.push(FIRST, "--if-version", 0).code == 0
    assert site.push(SECOND, "--if-version", 0).code == 1
    assert site.push(SECOND, "--if-version", 1).code == 0
    assert site.version() == 2


def test_only_one_of_many_pushes_at_a_version_wins(site):
    site.push(FIRST)
    paths = [site.write(f"p{i}.json", site_of(f"127.0.0.1:{9100 + i}")) for i in range(8)]
    with ThreadPoolExecutor(len(paths)) as pool:
        ran = list(pool.map(lambda path: site.headgate("push", path, "--if-version", 1), paths))
    assert sorted(r.code for r in ran) == [0] + [1] * 7, ran
    assert site.version() == 2


def test_includes_and_variables_are_sent(site):
    site.write("conf.d/clusters.yaml", "clusters:\n  - {name: web, endpoints: ['${TEST_HOST}:${TEST_PORT:-9001}']}\n")
    path = site.write("root.yaml", "include: [conf.d/*.yaml]\n")
    site.environment["TEST_HOST"] = "127.0.0.7"
    site.ok("push", path)
    assert yaml.safe_load(site.ok("show", "cluster/web").out)["endpoints"] == ["127.0.0.7:9001"]
    assert site.ok("validate", path).code == 0


def test_exit_codes(folders):
    assert folders.headgate("status").code == 3
    assert folders.headgate("push", folders.write("x.json", FIRST)).code == 3
    assert folders.headgate("stattus").code == 2
    assert folders.headgate("push").code == 2
    assert folders.headgate("push", "--no-such-option", "x").code == 2
    assert folders.headgate("set", "clutser/x", "-").code == 2
    assert folders.headgate("show", "x").code == 2
    for wrong in (["status", "--timeout", 0], ["top", "--interval", 0], ["log", "--limit", "x"]):
        refused = folders.headgate(*wrong)
        assert refused.code == 2 and f"{wrong[1]} wants a number from" in refused.err, refused
    assert folders.headgate().code == 2
    assert "did you mean status" in folders.headgate("stattus").err


def test_colour_is_for_terminals(site):
    site.push(FIRST)
    del site.environment["NO_COLOR"]
    assert "\033[" not in site.ok("log").out
    assert "\033[32m" in site.ok("log", "--color", "always").out
    assert "\033[" not in site.ok("log", "--color", "never").out
    assert site.headgate("log", "--color", "sometimes").code == 2
    done = subprocess.run(["script", "-qec", f"{PROGRAMS}/headgate log", "/dev/null"], env={**site.environment, "TERM": "xterm"},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert "\033[32m" in done.stdout
    site.environment["NO_COLOR"] = "1"


def test_explain(site):
    site.push(site_of("127.0.0.1:9001", listeners=["127.0.0.1:8080"]))
    explained = site.ok("explain", "GET", "http://example.com:8080/a//b?x=1", "-o", "json").json
    assert explained["listener"] == "l0" and explained["path"] == "/a/b" and explained["target"] == "/a/b?x=1"
    assert explained["clusters"][0]["endpoints"][0]["address"] == "127.0.0.1:9001"
    assert site.headgate("explain", "GET", "nonsense").code == 1
    many = ["--header", "x: 1"] * 100
    assert site.headgate("explain", "GET", "http://example.com:8080/", *many).code == 0
    assert site.headgate("explain", "GET", "http://example.com:8080/", *many, "--header", "nonsense").code == 2
    text = site.ok("explain", "GET", "http://x/", "--file", site.write("first.json", site_of(listeners=["127.0.0.1:80"]))).out
    assert "no endpoint: 503" in text


def test_why_there_is_no_text_is_json_too(site):
    """As with commands whose answer is JSON in any case, {"problems": [...]} and nothing else."""
    def problems(*arguments):
        ran = site.headgate(*arguments, "-o", "json")
        assert ran.code == 1 and ran.err == "" and set(ran.json) == {"problems"}, ran
        return ran.json["problems"]
    request = ["explain", "GET", "http://x/"]
    missing, wrong = site.folder / "missing.json", site.write("wrong.json", {"listenerz": []})
    routes = site.write("routes.json", {"virtual_hostz": []})
    assert "there is no version yet" in problems("show")[0]["message"]
    site.push(FIRST)
    assert "nothing" in problems("show", "cluster/nothing")[0]["message"]
    assert problems("show", 7) and problems(*request, "--version", 7)
    assert problems("explain", "GET", "nonsense")[0]["code"] == "syntax"
    assert [p["nearest"] for p in problems(*request, "--file", wrong)] == ["listeners"]
    assert [p["file"] for p in problems(*request, "--xds", routes)] == [str(routes)]
    for command in ([*request, "--file"], ["push"], ["diff"]):
        assert [(p["file"], p["code"]) for p in problems(*command, missing)] == [(str(missing), "io")]
    tls = {"certificates": [{"certificate": "none.pem", "key": "none.key"}]}
    listener = {"name": "l", "address": "127.0.0.1:80", "route-table": "site", "tls": tls}
    assert problems("push", "--embed", site.write("embedding.json", {**FIRST, "listeners": [listener]}))
    assert problems("gc", "--state-dir", site.state)


def test_explain_by_values_of_the_runtime(folders):
    share = {"default_value": {"numerator": 30}, "runtime_key": "canary.share"}
    routes = folders.write("shared.yaml", {"virtual_hosts": [{"name": "site", "domains": ["*"], "routes": [
        {"match": {"prefix": "/", "runtime_fraction": share}, "route": {"cluster": "canary"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "stable"}}]}]})

    def cluster(*options):
        asked = ["explain", "GET", "http://a.example/", "--xds", routes, "--random", 40, "-o", "json", *options]
        return folders.ok(*asked).json["cluster_name"]
    assert cluster() == "stable"
    assert cluster("--runtime", "canary.share=41") == "canary"
    assert cluster("--runtime", "canary.share=100", "--runtime", "canary.share=40") == "stable"
    assert cluster("--runtime", "other=100") == "stable"
    assert cluster("--runtime", "canary.share=41/10000") == "canary"
    assert cluster("--runtime", "canary.share=40/10000") == "stable"
    for wrong in ("canary.share", "=1", "canary.share=x", "canary.share=1/1000", "canary.share=101/100"):
        assert folders.headgate("explain", "GET", "http://a.example/", "--xds", routes, "--runtime", wrong).code == 2


def test_explain_by_metadata(folders):
    condition = {"filter": "auth", "path": [{"key": "user"}, {"key": "role"}], "value": {"string_match": {"exact": "admin"}}}
    routes = folders.write("metadata.yaml", {"virtual_hosts": [{"name": "site", "domains": ["*"], "routes": [
        {"match": {"prefix": "/", "dynamic_metadata": [condition]}, "route": {"cluster": "admins"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "others"}}]}]})

    def explained(*options):
        return folders.headgate("explain", "GET", "http://a.example/", "--xds", routes, "-o", "json", *options)
    said = explained().json
    assert (said["cluster_name"], said["not_supported"]) == ("others", [])
    assert explained("--metadata", 'auth={"user": {"role": "admin"}}').json["cluster_name"] == "admins"
    assert explained("--metadata", "other={a: 1}", "--metadata", "auth={user: {role: admin}}").json["cluster_name"] == "admins"
    assert explained("--metadata", "auth={user: {role: guest}}").json["cluster_name"] == "others"
    for wrong in ("auth", "={}", "auth=[", "auth=1"):
        assert explained("--metadata", wrong).code == 2
    assert explained("--metadata", "auth={}", "--metadata", "auth={}").code == 2
    assert folders.headgate("explain", "GET", "http://a.example/", "--metadata", "auth={}").code == 2


def test_explain_of_a_servers_routes_needs_no_control_plane(folders):
    clusters = [{"name": "one", "weight": 1}, {"name": "two", "weight": 99}]
    action = {"weighted_clusters": {"clusters": clusters}, "prefix_rewrite": "/v1", "request_mirror_policies": [{"cluster": "m"}]}
    routes = folders.write("routes.yaml", {"virtual_hosts": [{"name": "site", "domains": ["*"], "routes": [
        {"match": {"prefix": "/api"}, "route": action},
        {"match": {"prefix": "/"}, "redirect": {"https_redirect": True}}]}]})
    said = folders.ok("explain", "GET", "http://a.example/apix?q", "--xds", routes, "--random", 100, "-o", "json").json
    assert (said["cluster_name"], said["virtual_host_name"], said["path_rewrite"]) == ("one", "site", "/v1x?q")
    said = folders.ok("explain", "GET", "http://a.example/", "--xds", routes, "-o", "json").json
    assert (said["path_redirect"], said["code_redirect"], said["cluster_name"]) == ("https://a.example/", 301, "")
    assert ["request_mirror_policies" in text for text in said["not_supported"]] == [True]
    assert "cluster      one" in folders.ok("explain", "GET", "http://a.example/api", "--xds", routes).out
    assert folders.headgate("explain", "GET", "http://a.example/", "--xds", "/nowhere").code == 2
    assert folders.headgate("explain", "GET", "http://a.example/", "--xds", routes, "--random", "x").code == 2
    assert folders.headgate("explain", "GET", "http://a.example/", "--random", 1).code == 2
    assert folders.headgate("explain", "GET", "http://a.example/", "--runtime", "a=1").code == 2
    bad = folders.write("bad.yaml", {"virtual_hosts": [{"name": "h", "domains": ["*"], "routes": [{"match": {"path": "x"}}]}]})
    refused = folders.headgate("explain", "GET", "http://a.example/", "--xds", bad)
    assert refused.code == 1 and "virtual_hosts[0].routes[0].match.path" in refused.err


def test_a_file_may_be_standard_input(site):
    """What it includes is found from the working directory."""
    part = site.write("part.yaml", {"trusted-hops": 3})
    text = json.dumps({**FIRST, "include": os.path.relpath(part)})
    assert site.ok("validate", "-", text=text).out.startswith("<stdin> is valid: ")
    assert site.ok("push", "-", "-o", "json", text=text).json["version"] == 1
    assert "trusted-hops: 3" in site.ok("show", "settings/default").out
    assert site.headgate("diff", "-", text=text).code == 0
    assert site.headgate("diff", "-", text=json.dumps(SECOND)).code == 1
    site.ok("explain", "GET", "http://a.example/", "--file", "-", text=json.dumps(site_of(listeners=["127.0.0.1:80"])))
    for command in [("validate", "-"), ("push", "-"), ("push", "-", "--embed"), ("push", "-", "--dry-run"), ("diff", "-")]:
        ran = site.headgate(*command, "-o", "json", text="clusters:\n  - {nam: web}\n")
        assert ran.code == 1 and [ran.json["problems"][0][key] for key in ("file", "line", "column")] == ["<stdin>", 2, 5], ran
    assert site.version() == 1


def test_a_pipe_that_nobody_writes_into_is_not_waited_for(folders):
    pipe = folders.folder / "pipe.yaml"
    os.mkfifo(pipe)
    for command in [("validate",), ("push",), ("set", "cluster/web"), ("explain", "GET", "http://a.example/", "--xds"),
                    ("explain", "GET", "http://a.example/", "--file")]:
        ran = folders.headgate(*command, pipe)
        assert ran.code in (1, 2) and str(pipe) in ran.err and "it is a pipe" in ran.err, (command, ran)


def test_store_is_verified(site):
    site.push(FIRST)
    site.push(SECOND)
    verified = site.ok("verify", "-o", "json").json
    assert verified["versions"] == 2 and verified["problems"] == []
    offline = site.headgate("verify", "--state-dir", site.state)
    assert offline.code == 1 and "in use" in offline.err
    site.control.stop()
    assert site.ok("verify", "--state-dir", site.state, "-o", "json").json["versions"] == 2
    victim = max((site.state / "store").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    victim.chmod(0o600)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    found = site.headgate("verify", "--state-dir", site.state, "-o", "json")
    assert found.code == 1 and found.json["problems"]


def test_one_is_no_plural(site):
    settings = site.write("settings.json", {"trusted-hops": 1})
    assert site.ok("validate", settings).out == f"{settings} is valid: 1 resource\n"
    site.ok("push", settings)
    assert site.ok("verify").out.startswith("1 version and 1 object are as they were written")
    site.push(FIRST)
    assert "1 version and 1 object, " in site.ok("gc", "--keep", 1).out


def test_gc(site):
    for i in range(5):
        site.push(site_of(f"127.0.0.1:{9000 + i}"))
    assert site.ok("gc", "--keep", 2, "--dry-run", "-o", "json").json["versions_dropped"] == 3
    assert site.ok("gc", "--keep", 2, "-o", "json").json["versions_dropped"] == 3
    assert [v["version"] for v in site.ok("log", "-o", "json").json["versions"]] == [5, 4]
    assert site.headgate("show", 1).code == 1
    assert site.ok("verify", "-o", "json").json["versions"] == 2
    assert site.push(site_of("127.0.0.1:1")).json["version"] == 6


def test_metrics_and_probes(site):
    assert site.fetch("/livez")[0] == site.fetch("/readyz")[0] == site.fetch("/startupz")[0] == 200
    before = len(site.fetch("/metrics")[1].splitlines())
    site.push({"clusters": [{"name": f"c{i}", "endpoints": [f"127.0.0.1:{9000 + i}"]} for i in range(200)]})
    assert site.metric("version") == 1
    assert site.metric("pushes_total", outcome="STORED") == 1
    assert site.metric("calls_total", method="push") == 1
    assert len(site.fetch("/metrics")[1].splitlines()) == before
    assert site.fetch("/nothing")[0] == 404


def test_sockets_are_the_owners_alone(site):
    assert (site.runtime / "control.sock").stat().st_mode & 0o777 == 0o600
    second = site.start("headgate-controlplane", "--admin-listen", "off", "--state-dir", site.folder / "other", log="second")
    assert second.process.wait(60) == 1
    assert "another process listens" in second.text()
    assert site.control.is_running() and site.version() == 0


def test_stale_sockets_are_taken_over(site):
    site.push(FIRST)
    site.control.kill()
    assert (site.runtime / "control.sock").exists()
    site.start_control_plane()
    assert site.version() == 1


# ---- what is made of the table of commands


def test_reference_is_up_to_date(folders):
    assert folders.ok("help", "--format", "markdown").out == (ROOT / "docs/cli.md").read_text()


def test_help_for_everything(folders):
    names = re.findall(r"^  ([a-z]+) ", folders.ok("help").out, re.M)
    assert {"run", "push", "status", "explain"} <= set(names)
    for name in names:
        assert folders.ok("help", name).out == folders.ok(name, "--help").out
    man = folders.ok("help", "--format", "man").out
    done = subprocess.run(["man", "-l", "--warnings", "-E", "UTF-8", "-"], input=man, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "" and "EXIT STATUS" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(folders, shell):
    script = folders.ok("completion", shell).out
    assert all(word in script for word in ("rollback", "dry-run", "cluster/"))
    if shell == "bash":
        ask = "COMP_WORDS=(headgate pu); COMP_CWORD=1; _headgate; echo ${COMPREPLY[@]}; " \
              "COMP_WORDS=(headgate push --dr); COMP_CWORD=2; _headgate; echo ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["push", "--dry-run"], done.stderr


def test_schema(folders):
    schema = json.loads(folders.ok("schema").out)
    assert schema["$schema"].startswith("https://json-schema.org/") and "route-tables" in json.dumps(schema)
    assert folders.ok("schema", "--format", "json").json == schema
    assert folders.ok("schema", "--format=markdown").out == (ROOT / "docs/configuration.md").read_text()
    wrong = folders.headgate("schema", "--format", "yaml")
    assert wrong.code == 2 and "json or markdown" in wrong.err


def test_version(folders):
    expected = (ROOT / "VERSION").read_text().strip()
    assert folders.ok("version", "-o", "json").json["headgate"] == expected
    done = subprocess.run([PROGRAMS / "headgate-controlplane", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"headgate {expected}\n"


def test_every_option_of_the_daemon_is_described():
    done = subprocess.run([PROGRAMS / "headgate-controlplane", "--help"], capture_output=True, text=True, check=True)
    operations = pathlib.Path(ROOT / "docs/operations.md").read_text()
    for option in set(re.findall(r"--[a-z][a-z-]+", done.stdout)) - {"--help", "--version"}:
        assert option in operations, f"docs/operations.md does not tell of {option}"
