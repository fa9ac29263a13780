"""What is in deploy/kubernetes, read strictly as Kubernetes' own types by Kubernetes' own libraries."""
import pathlib
import subprocess

import pytest

from kubernetes_server import program

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "deploy/kubernetes"
MANIFESTS = sorted(FOLDER.glob("**/*.y*ml"))


def check(*files):
    return subprocess.run([program(), "--check", *files], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_manifests_are_what_kubernetes_reads(manifest):
    done = check(manifest)
    assert done.returncode == 0, done.stderr
    kinds = [line for line in manifest.read_text().splitlines() if line.startswith("kind: ")]
    assert len(done.stdout.splitlines()) == len(kinds) > 0


def test_there_are_manifests():
    assert MANIFESTS and not [path for path in FOLDER.rglob("*") if path.is_file() and path not in MANIFESTS]


@pytest.mark.parametrize("before, after, expected", [
    ("maxUnavailable: 1", "maxUnavailabel: 1", 'unknown field "spec.updateStrategy.rollingUpdate.maxUnavailabel"'),
    ("hostNetwork: true", "hostNetwork: true\n      hostNetwork: true", '"hostNetwork" already set in map'),
    ("kind: ClusterRoleBinding", "kind: ClusterRoleBindings", 'no kind "ClusterRoleBindings"'),
    ("terminationGracePeriodSeconds: 90", "terminationGracePeriodSeconds: soon", "terminationGracePeriodSeconds"),
])
def test_a_fault_is_found(tmp_path, before, after, expected):
    text = (FOLDER / "daemonset.yaml").read_text()
    assert text.count(before) == 1
    (tmp_path / "faulty.yaml").write_text(text.replace(before, after))
    done = check(tmp_path / "faulty.yaml")
    assert done.returncode == 1 and expected in done.stderr, done.stderr
