"""What stands in deploy/: the examples are valid, `make run` answers as it says, units, container file and DaemonSet name
options and variables that the programs have, and everything is installed where it is looked for."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import pytest
import yaml

from programs import BIN, ROOT, help_of, make_certificate, named_files, options_in, validate

sys.path.append(str(ROOT / "tests"))

from ports import free_port  # noqa: E402  (found by the line above)

DEPLOY = ROOT / "deploy"
EXAMPLES = sorted((DEPLOY / "examples").glob("*.yaml"))
NODE = "ip-10-0-3-17.eu-central-1.compute.internal"  # a name as clouds give them to nodes
DOCUMENTS = list(yaml.safe_load_all((DEPLOY / "kubernetes/daemonset.yaml").read_text()))


def of_kind(kind):
    return next(document for document in DOCUMENTS if document["kind"] == kind)


def containers():
    return {container["name"]: container for container in of_kind("DaemonSet")["spec"]["template"]["spec"]["containers"]}


def node_variable():
    """The variable in which the DaemonSet says the node's name to the data plane."""
    (name,) = [variable["name"] for variable in containers()["dataplane"]["env"]
               if variable["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"]
    return name


# ---- examples


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_valid(path, tmp_path):
    shutil.copytree(path.parent, tmp_path, dirs_exist_ok=True)
    for certificate, key in named_files(yaml.safe_load(path.read_text())):
        make_certificate(tmp_path, certificate, key)
    result = validate(tmp_path / path.name)
    assert result.returncode == 0, result.stdout + result.stderr


def test_configuration_of_the_daemonset_is_valid(tmp_path):
    path = tmp_path / "gateway.yaml"
    path.write_text(of_kind("ConfigMap")["data"]["gateway.yaml"])
    result = validate(path)
    assert result.returncode == 0, result.stdout + result.stderr


# ---- make run


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments):
        return None


def get(url):
    """(status, fields, body), redirects not followed."""
    try:
        response = urllib.request.build_opener(NoRedirect).open(url, timeout=20)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.status, response.headers, response.read()


@pytest.fixture(name="runtime", scope="module")
def make_runtime_folder():
    """Where the sockets are: a socket's path has little room."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


@pytest.fixture(name="access_log", scope="module")
def name_access_log(runtime):
    """Where others than root may go, too."""
    pathlib.Path(runtime).chmod(0o755)
    return pathlib.Path(runtime) / "access.log"


@contextlib.contextmanager
def running_quickstart(state, runtime, access_log):
    """deploy/run, as `make run` calls it; gives the URL and what it has said, once it has said what to curl. The data plane
    is named as the DaemonSet names it."""
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "ORIGIN_PORT": "0", "HEADGATE_BIN": str(BIN),
                   "HEADGATE_STATE_DIR": str(state), "HEADGATE_RUNTIME_DIR": str(runtime), "DATAPLANE_ADMIN": "127.0.0.1:0",
                   "CONTROLPLANE_ADMIN": "127.0.0.1:0", "ACCESS_LOG": str(access_log), node_variable(): NODE}
    process = subprocess.Popen([DEPLOY / "run"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               text=True)
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("Ctrl-C"):
            break
    assert process.poll() is None, "".join(said)
    yield f"http://127.0.0.1:{port}", said
    process.send_signal(signal.SIGTERM)
    assert '"target":' not in process.stdout.read(), "the access log is on the terminal"
    assert process.wait(timeout=60) == 0


@pytest.fixture(name="quickstart", scope="module")
def run_quickstart(tmp_path_factory, runtime, access_log):
    with running_quickstart(tmp_path_factory.mktemp("state"), runtime, access_log) as (url, said):
        assert f"Requests are recorded in {access_log}\n" in said
        yield url


def wait_recorded(access_log, target):
    """The statuses of the requests for it that are in the file, once there is one."""
    end = time.monotonic() + 20
    while f'"{target}"' not in access_log.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    lines = access_log.read_text().splitlines()
    return [record["status"] for record in map(json.loads, lines) if record["target"] == target]


@pytest.mark.parametrize("path, origin, seen", [
    ("/", "shop", "GET /"),
    ("/api/users?page=2", "api", "GET /users?page=2"),
    ("/blog/2020", "blog", "GET /blog/2020"),
])
def test_quickstart_routes(quickstart, path, origin, seen):
    status, _fields, body = get(quickstart + path)
    answer = json.loads(body)
    assert (status, answer["origin"], answer["request"]) == (200, origin, seen)


def test_quickstart_answers_itself(quickstart):
    status, _fields, body = get(quickstart + "/healthz")
    assert (status, body) == (200, b"ok\n")


def test_quickstart_redirects(quickstart):
    status, fields, _body = get(quickstart + "/old-blog/2020")
    assert (status, fields["Location"].removeprefix(quickstart)) == (308, "/blog/2020")


def test_quickstart_records_requests_in_a_file(quickstart, access_log):
    get(quickstart + "/recorded")
    assert wait_recorded(access_log, "/recorded") == [200]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the data plane as somebody else")
def test_quickstart_below_a_folder_that_only_root_may_enter(tmp_path):
    """A checkout in /root: the data plane cannot write there, so requests are recorded elsewhere."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with tempfile.TemporaryDirectory() as runtime:
        pathlib.Path(runtime).chmod(0o755)
        with running_quickstart(closed, runtime, closed / "access.log") as (url, said):
            places = [line.removeprefix("Requests are recorded in ").strip() for line in said if "are recorded in" in line]
            assert len(places) == 1 and not places[0].startswith(str(closed))
            get(url + "/elsewhere")
            assert wait_recorded(pathlib.Path(places[0]), "/elsewhere") == [200]
        pathlib.Path(places[0]).unlink()


def test_data_plane_has_the_name_that_the_daemonset_gives_it(quickstart, runtime):
    assert quickstart
    status = subprocess.run([BIN / "headgate", "status", "--runtime-dir", runtime, "--output", "json"],
                            capture_output=True, text=True, timeout=60, check=True)
    assert [plane["node"] for plane in json.loads(status.stdout)["data_planes"]] == [NODE]


# ---- units, container file, DaemonSet


@pytest.mark.parametrize("unit, program", [
    ("headgate-dataplane.service.in", "headgate-holder"),
    ("headgate-controlplane.service.in", "headgate-controlplane"),
])
def test_unit_uses_options_that_exist(unit, program):
    text = (DEPLOY / "systemd" / unit).read_text()
    command = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", text, re.MULTILINE).group(1)
    assert f"/{program} " in command
    assert options_in(command) <= options_in(help_of(program))


@pytest.mark.parametrize("name, program", [("dataplane", "headgate-holder"), ("controlplane", "headgate-controlplane")])
def test_container_uses_options_that_exist(name, program):
    assert options_in(" ".join(containers()[name]["args"])) <= options_in(help_of(program))


def test_containers_have_different_users_and_a_read_only_root():
    contexts = {name: container["securityContext"] for name, container in containers().items()}
    assert contexts["dataplane"]["runAsUser"] != contexts["controlplane"]["runAsUser"]
    for context in contexts.values():
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"]["drop"] == ["ALL"]


def test_containers_have_probes_and_state_on_the_host():
    volumes = of_kind("DaemonSet")["spec"]["template"]["spec"]["volumes"]
    on_host = {volume["name"] for volume in volumes if "hostPath" in volume}
    for container in containers().values():
        state = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/var/lib/headgate"]
        assert set(state) <= on_host and len(state) == 1
        assert container["startupProbe"]["httpGet"]["path"] == "/startupz"
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert containers()["dataplane"]["readinessProbe"]["httpGet"]["path"] == "/readyz"


# ---- installing


@pytest.fixture(name="installed", scope="module")
def install(tmp_path_factory):
    """The prefix of an installation of the programs under test."""
    if not (BIN.parent / "cmake_install.cmake").exists():
        pytest.skip(f"{BIN.parent} is not a build folder")
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BIN.parent, "--prefix", prefix], capture_output=True, timeout=120, check=True)
    return prefix


@pytest.mark.parametrize("path, arguments", [
    ("share/man/man1/headgate.1", ["help", "--format", "man"]),
    ("share/bash-completion/completions/headgate", ["completion", "bash"]),
    ("share/zsh/site-functions/_headgate", ["completion", "zsh"]),
    ("share/fish/vendor_completions.d/headgate.fish", ["completion", "fish"]),
])
def test_what_the_program_says_is_installed(installed, path, arguments):
    said = subprocess.run([BIN / "headgate", *arguments], capture_output=True, timeout=60, check=True).stdout
    assert said and (installed / path).read_bytes() == said


def test_man_finds_the_page(installed):
    found = subprocess.run(["man", "-w", "headgate"], env={**os.environ, "MANPATH": str(installed / "share/man")},
                           capture_output=True, text=True, timeout=60, check=False)
    assert found.stdout.strip() == str(installed / "share/man/man1/headgate.1"), found.stderr


def test_units_start_the_installed_programs(installed):
    for unit in ("headgate-dataplane", "headgate-controlplane"):
        text = (installed / f"lib/systemd/system/{unit}.service").read_text()
        program = pathlib.Path(re.search(r"^ExecStart=(\S+)", text, re.MULTILINE).group(1)).name
        assert os.access(installed / "bin" / program, os.X_OK)


def test_systemd_takes_the_units(installed, tmp_path):
    """Not one word of systemd's about a key, a value or a program."""
    units = []
    for path in sorted((installed / "lib/systemd/system").glob("*.service")):
        units.append(tmp_path / path.name)
        units[-1].write_text(re.sub(r"/[\w/]+/bin/headgate", f"{installed}/bin/headgate", path.read_text()))
    assert len(units) == 2
    told = subprocess.run(["systemd-analyze", "verify", "--man=no", *units],
                          capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_systemd_makes_the_users(installed, tmp_path):
    (tmp_path / "etc").mkdir()
    shutil.copytree(installed / "lib/sysusers.d", tmp_path / "usr/lib/sysusers.d")
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], capture_output=True, timeout=60, check=True)
    users = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    members = {line.split(":")[0]: line.split(":")[3] for line in (tmp_path / "etc/group").read_text().splitlines()}
    assert users == {"headgate", "headgate-control"}
    assert members == {"headgate": "headgate-control", "headgate-admin": "headgate-control", "headgate-control": ""}
