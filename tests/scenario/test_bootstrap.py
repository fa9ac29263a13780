"""deploy/bootstrap where it cannot do its work: it says what is missing, and installs nothing."""
import os
import pathlib
import subprocess

import pytest

from programs import ROOT

BOOTSTRAP = ROOT / "deploy/bootstrap"


@pytest.fixture(name="bootstrap")
def make_bootstrap(tmp_path):
    """Runs it with the system's programs but some, and with others in their place; apt-get is never the real one."""
    def run(*arguments, without=(), **fakes):
        folder = tmp_path / "bin"
        folder.mkdir()
        fakes = {name.replace("_", "-"): text for name, text in {"apt_get": f"echo \"$@\" >>{tmp_path}/asked", **fakes}.items()}
        for path in pathlib.Path("/usr/bin").iterdir():
            if path.name not in (*without, *fakes):
                (folder / path.name).symlink_to(path)
        for name, text in fakes.items():
            if name not in without:
                (folder / name).write_text(f"#!/bin/sh\n{text}\n")
                (folder / name).chmod(0o755)
        done = subprocess.run([BOOTSTRAP, *arguments], env={**os.environ, "PATH": str(folder), "HEADGATE_DEPS_DIR": str(tmp_path / "d")},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        assert not (tmp_path / "asked").exists(), (tmp_path / "asked").read_text()
        return done

    return run


def packages(group):
    return subprocess.run([BOOTSTRAP, "--list", group], capture_output=True, text=True, timeout=60, check=True).stdout.split()


def test_what_is_not_debian_is_told_what_is_needed(bootstrap):
    done = bootstrap("build", without=["apt-get"])
    assert done.returncode == 1 and "this is not Debian" in done.stderr
    assert all(package in done.stderr for package in packages("build")) and "-DHG_DEPS_PREFIX=" in done.stderr


def test_without_root_and_sudo_the_command_is_told(bootstrap):
    done = bootstrap("build", without=["sudo"], id="echo 1000", dpkg_query="exit 0")
    assert done.returncode == 1 and "there is neither root nor sudo" in done.stderr
    assert f"apt-get install --no-install-recommends {' '.join(packages('build'))}" in done.stderr


def test_an_unknown_group(bootstrap):
    done = bootstrap("biuld")
    assert done.returncode == 1 and "no list deploy/packages/biuld.txt" in done.stderr


def test_an_unknown_option(bootstrap):
    done = bootstrap("--biuld")
    assert done.returncode == 2 and "deploy/bootstrap [build]" in done.stdout
