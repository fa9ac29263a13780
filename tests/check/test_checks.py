"""The checks find what they are for: each is run on a small tree with one thing wrong."""
import pathlib
import subprocess

import pytest

CHECKS = pathlib.Path(__file__).parent


@pytest.fixture(name="tree")
def make_tree(tmp_path):
    """A folder under git, into which a test writes files by path."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)

    def write(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return tmp_path

    return write


def run(check, where):
    result = subprocess.run([CHECKS / check], cwd=where, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout


@pytest.mark.parametrize("path, include, reason", [
    ("common/a.c", '"proto/resource.h"', "common may not depend on proto"),
    ("proto/a.c", '"dataplane/core/worker.h"', "proto may not depend on dataplane/core"),
    ("dataplane/core/a.c", '"dataplane/net/conn.h"', "dataplane/core may not depend on dataplane/net"),
    ("dataplane/http/a.c", '"dataplane/codec/h1/parser.h"', "dataplane/http may not depend on dataplane/codec/h1"),
    ("dataplane/codec/h2/a.c", '"dataplane/codec/h1/parser.h"', "may not depend on dataplane/codec/h1"),
    ("dataplane/filters/a.c", '"dataplane/http/exchange.h"', "may not depend on dataplane/http"),
    ("dataplane/holder/a.c", '"proto/resource.h"', "dataplane/holder may not depend on proto"),
    ("controlplane/store/a.c", '"dataplane/http/exchange.h"', "controlplane may not depend on dataplane/http"),
    ("dataplane/main.c", '"controlplane/config/config.h"', "may not depend on controlplane"),
    ("dataplane/http/a.c", "<grpc/grpc.h>", "this library belongs to controlplane alone"),
    ("common/a.c", '"str.h"', "is not written from the project root"),
])
def test_include_against_the_direction(tree, path, include, reason):
    where = tree(path, f"#include {include}\n")
    code, output = run("include_direction", where)
    assert code == 1 and f"{path}:1: " in output and reason in output


@pytest.mark.parametrize("path, include", [
    ("dataplane/filters/a.c", '"dataplane/http/filter.h"'),
    ("controlplane/admin/a.c", '"dataplane/routing/route.h"'),
    ("dataplane/codec/h1/a.c", '"dataplane/http/exchange.h"'),
    ("dataplane/main.c", '"dataplane/snapshot/client.h"'),
    ("controlplane/rpc/a.c", "<grpc/grpc.h>"),
])
def test_include_in_the_direction(tree, path, include):
    code, output = run("include_direction", tree(path, f"#include {include}\n"))
    assert code == 0, output


def function(lines):
    return "int f(void) {\n" + "    g();\n" * (lines - 3) + "    return 0;\n}\n"


def test_long_function(tree):
    short = "".join(f"int s{i}(void) {{\n    return {i};\n}}\n" for i in range(20))
    assert run("lengths", tree("common/a.c", short + function(100)))[0] == 0
    code, output = run("lengths", tree("common/a.c", short + function(101)))
    assert code == 1 and "f has 101 lines" in output


def test_long_functions_on_the_whole(tree):
    code, output = run("lengths", tree("common/a.c", "".join(function(20).replace(" f", f" f{i}") for i in range(12))))
    assert code == 1 and "median function has 20 lines" in output


def test_long_file(tree):
    tree("common/b.c", function(3) + function(3).replace(" f", " g"))
    tree("tests/unit/c.c", "\n" * 800)
    assert run("lengths", tree("common/a.c", "\n" * 600))[0] == 0
    code, output = run("lengths", tree("common/a.c", "\n" * 601))
    assert code == 1 and "the file has 601 lines" in output


@pytest.mark.parametrize("line", ["see https://" + "mirror.somewhere.org/x", "in /" + "work/main/x", "../" + "shared/design"])
def test_mention(tree, line):
    code, output = run("mentions", tree("docs/a.md", f"fine\n{line}\n"))
    assert code == 1 and "docs/a.md:2: " in output


@pytest.mark.parametrize("line", ["http://127.0.0.1:80/", "https://www.example.com/", "http://[::1]:8080/", "/var/lib/headgate"])
def test_harmless_mention(tree, line):
    assert run("mentions", tree("docs/a.md", line + "\n"))[0] == 0


@pytest.mark.parametrize("name, text, reason", [
    ("a.c", "/* " + "x" * 123 + "\n", "126 columns, at most 125"), ("a.c", "int a;\tint b;\n", "a tab"),
    ("a.c", "int a; \n", "a blank at the end"), ("a.c", "int a;", "does not end in one newline"),
    ("a.c", "int a;\n\n", "does not end in one newline"), ("a.h", "int a;\n", "has no #pragma once"),
])
def test_layout(tree, name, text, reason):
    code, output = run("layout", tree(f"common/{name}", text))
    assert code == 1 and output.startswith(f"common/{name}:") and reason in output


def test_good_layout(tree):
    code, output = run("layout", tree("common/a.h", "#pragma once\n/* " + "x" * 122 + "\n"))
    assert code == 0, output


def archive(folder, name, *sources):
    """libhg_NAME.a in the folder, an object for each source."""
    objects = []
    for number, source in enumerate(sources):
        file = folder / f"{name}{number}.c"
        file.write_text(source)
        objects.append(file.with_suffix(".o"))
        subprocess.run(["cc", "-c", "-o", objects[-1], file], check=True)
    subprocess.run(["ar", "rc", folder / f"libhg_{name}.a", *objects], check=True)


@pytest.mark.parametrize("first, second, code", [
    (("common", "int f(void) { return 1; }"), ("dataplane", "int f(void) { return 2; }"), 1),
    (("controlplane", "int f(void) { return 1; }"), ("dataplane", "int f(void) { return 2; }"), 0),
    (("common", "static int f(void) { return 1; }\nint g(void) { return f(); }"), ("dataplane", "int f(void) { return 2; }"), 0),
])
def test_a_name_that_is_defined_twice(tmp_path, first, second, code):
    archive(tmp_path, *first)
    archive(tmp_path, *second)
    result = subprocess.run([CHECKS / "duplicate_symbols", tmp_path], capture_output=True, text=True, check=False)
    assert result.returncode == code and ("f: " in result.stdout) == bool(code), result.stdout


def test_a_name_that_is_defined_twice_in_one_room(tmp_path):
    archive(tmp_path, "dataplane", "int f(void) { return 1; }", "int f(void) { return 2; }")
    result = subprocess.run([CHECKS / "duplicate_symbols", tmp_path], capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "f: " in result.stdout, result.stdout
