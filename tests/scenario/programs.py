"""The programs under test and what they say, and files that configurations name."""
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("HEADGATE_BIN", ROOT / "build/asan/bin"))


def validate(path):
    return subprocess.run([BIN / "headgate", "validate", path], capture_output=True, text=True, timeout=60, check=False)


def help_of(program, *command):
    return subprocess.run([BIN / program, *command, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout


def options_in(text):
    return set(re.findall(r"--[a-z][a-z-]*", text))


def named_files(node):
    """Every (certificate, key) and (ca, None) that a configuration names."""
    if isinstance(node, list):
        return [found for item in node for found in named_files(item)]
    if not isinstance(node, dict):
        return []
    own = [(node["certificate"], node["key"])] if "certificate" in node else []
    own += [(node["ca"], None)] if "ca" in node else []
    return own + [found for item in node.values() for found in named_files(item)]


def make_certificate(folder, certificate, key):
    kind = "rsa:2048" if "rsa" in certificate else "ec"
    curve = [] if kind != "ec" else ["-pkeyopt", "ec_paramgen_curve:P-256"]
    for path in filter(None, (certificate, key)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", kind, *curve, "-nodes", "-days", "60", "-subj", "/CN=www.example.com",
                    "-addext", "subjectAltName=DNS:www.example.com", "-out", folder / certificate, "-keyout",
                    folder / (key or "unused.key")], check=True, capture_output=True)
