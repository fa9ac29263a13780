"""What the pages for users show: examples of configurations are valid, and commands have the options that they are shown with.
And that what docs/internals/attacks.md names is there."""
import json
import re

import pytest
import yaml

from programs import ROOT, help_of, make_certificate, named_files, options_in, validate

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = {"listeners", "route-tables", "clusters", "limits", "timeouts"}  # of which an example has at least one
SHOWN = re.compile(r"^```yaml\n([^`]*)^```|((?:^    .*\n|^\n)+)", re.MULTILINE)
CALLED = re.compile(r"(?:^    |`)(?:\S*/)?headgate(-holder|-controlplane)? ((?:[^`\\\n]|\\\n)*)", re.MULTILINE)
WORD = re.compile(r"[a-z]+")
ATTACKS = ROOT / "docs/internals/attacks.md"
TESTS = ROOT / "tests"
DECLARED = re.compile(r"\bX\((\w+),")           # counters of a worker
WRITTEN = re.compile(r'"(\w+_total)"')           # others, in the code that shows them
STAGES = re.compile(r"^STAGES = {(.*?)}", re.MULTILINE | re.DOTALL)


def is_configuration(text):
    try:
        return bool(SETTINGS & set(yaml.safe_load(text) or ()))
    except (yaml.YAMLError, TypeError):
        return False


def unindented(text):
    return re.sub("^    ", "", text, flags=re.MULTILINE)


def examples():
    for page in PAGES:
        shown = (fenced or unindented(indented) for fenced, indented in SHOWN.findall(page.read_text()))
        for number, text in enumerate(filter(is_configuration, shown)):
            yield pytest.param(text, id=f"{page.stem}-{number}")


def what_is_left_out(configuration):
    """The clusters and route tables that it names and does not have."""
    text = json.dumps(configuration)
    have = {kind: {each["name"] for each in configuration.get(kind, [])} for kind in ("clusters", "route-tables")}
    clusters = set(re.findall(r'"cluster": "([^"]+)"', text)) - have["clusters"]
    tables = set(re.findall(r'"route-table": "([^"]+)"', text)) - have["route-tables"]
    return {"clusters": [{"name": name, "endpoints": ["127.0.0.1:1"]} for name in sorted(clusters)],
            "route-tables": [{"name": name, "hosts": []} for name in sorted(tables)]}


@pytest.mark.parametrize("text", examples())
def test_example_is_valid(text, tmp_path):
    configuration = yaml.safe_load(text)
    for certificate, key in named_files(configuration):
        make_certificate(tmp_path, certificate, key)
    (tmp_path / "example.yaml").write_text(text)
    (tmp_path / "rest.json").write_text(json.dumps(what_is_left_out(configuration)))
    (tmp_path / "gateway.yaml").write_text("include: [example.yaml, rest.json]\n")
    result = validate(tmp_path / "gateway.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


def calls():
    """(program, command of `headgate` or "", options) of what the pages call."""
    for page in PAGES:
        for daemon, arguments in CALLED.findall(page.read_text()):
            command = WORD.match(arguments)
            if daemon or command:
                yield f"headgate{daemon}", "" if daemon else command.group(), options_in(arguments.split(" #")[0])


def test_commands_have_the_options_that_they_are_shown_with():
    found = list(calls())
    assert len(found) > 50
    helps = {(program, command): help_of(program, *filter(None, [command])) for program, command, _options in found}
    wrong = [(program, command, options - options_in(helps[program, command])) for program, command, options in found
             if not options <= options_in(helps[program, command])]
    assert not wrong


def written(*sources):
    return [name for source in sources for name in WRITTEN.findall(source.read_text())]


def counters():
    """What /metrics of both planes have; in the control plane's code those of management servers have no prefix."""
    own = DECLARED.findall((ROOT / "dataplane/core/stats.h").read_text()) + written(*(ROOT / "dataplane/admin").glob("*.c"))
    planes = written(ROOT / "controlplane/daemon/metrics.c")
    return {f"headgate_{name.removeprefix('headgate_')}" for name in own} | {
        name if name.startswith("headgate_") else f"headgate_controlplane_xds_{name}" for name in planes}


def test_counters_of_attacks_exist():
    named = set(re.findall(r"headgate_\w+", ATTACKS.read_text()))
    assert len(named) > 30
    assert not named - counters()


def named_tests():
    """(file, function) of each that a row names; without a file it is of the one before."""
    path = ""
    for again, function in re.findall(r"`([\w/]*(?:\.py|\.c)?)::(\w+)`", ATTACKS.read_text()):
        path = again or path
        yield path, function


def test_tests_of_attacks_exist():
    found = list(named_tests())
    assert len(found) > 50
    missing = [each for each in found if not re.search(
        rf"^(?:def|static void) {each[1]}\(", (TESTS / each[0]).read_text(), re.MULTILINE)]
    assert not missing


def test_stages_of_attacks_exist():
    rows = [line.split(" | ")[-1] for line in ATTACKS.read_text().splitlines() if line.startswith("| ")]
    named = {stage for soak in rows for stage in re.findall(r"`([\w-]+)`", soak)}
    tables = [table for source in (TESTS / "soak").glob("*stages.py") for table in STAGES.findall(source.read_text())]
    assert len(named) > 5
    assert not named - set(re.findall(r'"([\w-]+)":', "".join(tables)))
