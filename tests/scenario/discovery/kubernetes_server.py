"""A real API server, of Kubernetes' own libraries over a real etcd, with what `kubernetes_api.ApiServer` can do."""
import functools
import http.client
import json
import pathlib
import queue
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse

import pytest

from certificates import Authority
from kubernetes_api import KINDS, PATHS, secret_of, slice_of
from planes import free_port

ROOT = pathlib.Path(__file__).resolve().parents[3]
MANIFESTS = [ROOT / "deploy/kubernetes/daemonset.yaml", ROOT / "deploy/kubernetes/certificate.yaml"]
ADMIN = "the-admin's-token"
PATIENCE = 60  # seconds until an event that has to come counts as missing
BUILD_PATIENCE = 2400


@functools.cache
def built():
    """The folder with the program, built with the first call on a machine, and why there is none."""
    done = subprocess.run([ROOT / "tests/kubernetes_server/build"], capture_output=True, text=True, check=False,
                          timeout=BUILD_PATIENCE)
    return done.stdout.strip() if done.returncode == 0 else None, (done.stderr.strip().splitlines() or [""])[-1].strip(" |")


def program():
    """Tests that need it are skipped where it cannot be built: it takes Debian's newest suite as that is."""
    folder, reason = built()
    if folder is None:
        pytest.skip(f"no API server of Kubernetes' own libraries could be built: {reason}")
    return pathlib.Path(folder) / "kubernetes-server"


class Etcd:
    """One member, whose data goes with it."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="headgate-etcd-"))
        client, peer = free_port(), free_port()
        self.url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            ["etcd", "--data-dir", self.folder / "data", "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
             "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
             "--initial-cluster", f"default={peer_url}"], stdout=self.log, stderr=self.log)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Gate:
    """As threading.Event: while it is clear, requests wait."""

    def __init__(self, server):
        self.server = server

    def set(self):
        self.server.settle(open=True)

    def clear(self):
        self.server.settle(open=False)


class KubernetesServer:
    """One for many tests: `reset` between them. Objects are changed by an administrator, whose requests are not counted."""

    def __init__(self, arguments=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="headgate-kubernetes-"))
        authority = Authority(self.folder / "authority")
        self.ca, self.pair = authority.pem, authority.pair(self.folder, "api", ["127.0.0.1"])
        self.trust = ssl.create_default_context(cafile=self.ca)
        self.arguments, self.gate, self.port, self.requests, self.settings = list(arguments), Gate(self), 0, [], {}
        self.etcd = Etcd()
        self.start()

    # ---- the process

    def start(self):
        roles = [word for manifest in MANIFESTS for word in ("--roles", manifest)]
        command = [program(), "--etcd", self.etcd.url, "--cert", self.pair[0], "--key", self.pair[1], "--admin", ADMIN, *roles,
                   "--listen", f"127.0.0.1:{self.port}", *self.arguments]
        self.events, self.commands = queue.SimpleQueue(), 0
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        bufsize=1)
        self.reader = threading.Thread(target=self.read, args=(self.process,), daemon=True)
        self.reader.start()
        self.port = self.next_event()["port"]
        self.url = f"https://127.0.0.1:{self.port}"
        self.tell(**self.settings)  # before that, no token counts
        deadline = time.monotonic() + PATIENCE
        while self.ask("GET", "/readyz")[0] != 200:
            assert time.monotonic() < deadline, "the API server is not ready: " + (self.folder / "log").read_text()[-2000:]
            time.sleep(0.02)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()

    def finish(self):
        self.stop()
        self.etcd.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def read(self, process):
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "request":
                self.requests.append(event["target"])
            else:
                self.events.put(event)

    def next_event(self):
        try:
            return self.events.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError("the API server says nothing: " + (self.folder / "log").read_text()[-2000:]) from None

    def tell(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.commands += 1
        done = self.next_event()
        assert done["command"] == self.commands and not done["error"], done

    def settle(self, **settings):
        """What holds until it is another, also when it starts again."""
        self.settings.update(settings)
        self.tell(**settings)

    def reset(self, token):
        for path in PATHS.values():
            for namespace in ("default", "shop"):
                status, answer = self.ask("DELETE", path.format(namespace))
                assert status == 200, answer
        self.settle(tokens={token: "gateway"}, open=True, page=0, watch_seconds=0)
        self.requests.clear()

    # ---- objects

    def ask(self, method, path, body=None):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trust, timeout=PATIENCE)
        try:
            connection.request(method, path, body and json.dumps(body),
                               {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()

    def path(self, kind, namespace, name):
        return f"{PATHS[kind].format(namespace)}/{urllib.parse.quote(name)}"

    def set(self, kind, name, namespace="default", **content):
        api, type_name = KINDS[kind]
        metadata = {"name": name, "namespace": namespace, **content.pop("metadata", {})}
        status, answer = self.ask("PUT", self.path(kind, namespace, name),
                                  {"apiVersion": api, "kind": type_name, "metadata": metadata, **content})
        assert status in (200, 201), answer

    def delete(self, kind, name, namespace="default"):
        status, answer = self.ask("DELETE", self.path(kind, namespace, name))
        assert status == 200, answer

    def slice(self, name, service, endpoints, ports=(("http", 80),), namespace="default", **more):
        self.set("endpointslices", name, namespace, **slice_of(service, endpoints, ports), **more)

    def service(self, name, ports, namespace="default"):
        self.set("services", name, namespace, spec={"ports": [{"name": n, "port": p} for n, p in ports]})

    def secret(self, name, files, namespace="default"):
        self.set("secrets", name, namespace, **secret_of(files))

    # ---- faults

    def only_token(self, token):
        self.settle(tokens={token: "gateway"})

    def pages_of(self, count):
        self.settle(page=count)

    def bookmark_soon(self):
        """A watch has a bookmark two seconds before it ends, if anything has changed since it began."""
        self.settle(watch_seconds=6)
        self.cut()

    def change_elsewhere(self):
        self.slice("other-1", "other", [], [], "shop")

    def compact(self):
        """etcd forgets all that was before the last change."""
        self.tell(compact=True)

    def forget_before(self):
        """It starts again, and knows nothing of the past but the last change."""
        self.compact()
        self.stop()
        self.start()

    def forget(self):
        """... and that is one that nobody has heard of: whoever asks for changes is told 410."""
        self.change_elsewhere()
        self.forget_before()

    def cut(self):
        self.tell(cut=True)

    def counted(self, text):
        return sum(text in target for target in list(self.requests))
