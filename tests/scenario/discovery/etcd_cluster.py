"""A real etcd: one member or several, started, killed and started again, and what etcdctl does with it."""
import base64
import http.client
import json
import os
import subprocess
import urllib.request

from gateway import free_port, wait_until

PATIENCE = 30
OPERATIONS_MAX = 128        # of one transaction, as etcd has it unless told


def coded(text):
    return base64.b64encode(text.encode()).decode()


class Member:
    """One process of etcd; `pair` is its certificate and key, and `ca` whose certificates clients have to show."""

    def __init__(self, folder, name, pair=None, ca=None, arguments=()):
        self.folder, self.name, self.pair, self.ca, self.arguments = folder, name, pair, ca, arguments
        self.port, self.peer_port, self.process = free_port(), free_port(), None
        self.scheme = "https" if pair else "http"
        self.url, self.peer_url = f"{self.scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peer_port}"

    def start(self, cluster, state="new"):
        security = ["--cert-file", self.pair[0], "--key-file", self.pair[1]] if self.pair else []
        security += ["--client-cert-auth", "--trusted-ca-file", self.ca] if self.ca else []
        heartbeat, election = ("150", "1500") if "," in cluster else ("50", "500")  # members share a disk
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                ["etcd", "--name", self.name, "--data-dir", self.folder / self.name, "--listen-client-urls", self.url,
                 "--advertise-client-urls", self.url, "--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls",
                 self.peer_url, "--initial-cluster", cluster, "--initial-cluster-state", state, "--heartbeat-interval",
                 heartbeat, "--election-timeout", election, "--logger", "zap", *security, *self.arguments],
                stdout=log, stderr=log, env={k: v for k, v in os.environ.items() if not k.startswith("ETCD")})

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self):
        """In good order: all is on the disk, so that nothing of the log is done again, logins neither."""
        self.process.terminate()
        self.process.wait(60)


class Etcd:
    """Members of one cluster. They are ended with the test."""

    def __init__(self, folder, members=1, pair=None, ca=None, client=None, arguments=()):
        folder.mkdir()
        self.folder, self.ca, self.client, self.user, self.connection = folder, ca, client, [], None
        self.members = [Member(folder, f"m{i}", pair, ca if client else None, arguments) for i in range(members)]
        self.cluster = ",".join(f"{m.name}={m.peer_url}" for m in self.members)
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.stop()

    def start(self):
        for member in self.members:
            if not member.process or member.process.poll() is not None:
                member.start(self.cluster)
        self.wait_healthy()

    def stop(self):
        for member in self.members:
            member.kill()

    def wait_healthy(self):
        wait_until("etcd answers", lambda: self.run("get", "x", check=False).returncode == 0)

    def wipe(self):
        """Everything is lost, and etcd begins anew."""
        self.stop()
        for member in self.members:
            subprocess.run(["rm", "-rf", self.folder / member.name], check=True)
        self.start()

    @property
    def endpoints(self):
        return ",".join(f"127.0.0.1:{m.port}" for m in self.members)

    def address(self, prefix="/fleet"):
        return ("etcds://" if self.members[0].pair else "etcd://") + self.endpoints + prefix

    def leader(self):
        """The member that leads."""
        text = self.run("endpoint", "status", "-w", "json").stdout
        for found in json.loads(text):
            if found["Status"]["leader"] == found["Status"]["header"]["member_id"]:
                return next(m for m in self.members if found["Endpoint"].endswith(f":{m.port}"))
        raise AssertionError(text)

    # ---- etcdctl

    def run(self, *words, check=True, text=None):
        security = ["--cacert", self.ca] if self.ca else []
        security += ["--cert", self.client[0], "--key", self.client[1]] if self.client else []
        alive = ",".join(m.url for m in self.members if m.process and m.process.poll() is None)
        done = subprocess.run(["etcdctl", "--endpoints", alive, *map(str, security), *self.user, *map(str, words)],
                              env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, input=text,
                              timeout=PATIENCE, check=False)
        assert not check or done.returncode == 0, f"etcdctl {words}: {done}"
        return done

    def put(self, key, value, *words):
        self.run("put", *words, "--", key, value if isinstance(value, str) else json.dumps(value))

    def get(self, key):
        return self.run("get", "--print-value-only", key).stdout.rstrip("\n")

    def keys(self, prefix):
        return self.run("get", "--prefix", "--keys-only", prefix).stdout.split()

    def delete(self, *words):
        self.run("del", *words)

    def revision(self):
        return json.loads(self.run("endpoint", "status", "-w", "json").stdout)[0]["Status"]["header"]["revision"]

    def compact(self):
        """Nothing of what was before is left but what there is now."""
        self.run("compact", self.revision())

    # ---- very many keys, without a process for each

    def change(self, put, delete=()):
        """Puts {key: value} and deletes keys, in one transaction as far as there is room in it."""
        operations = [{"requestDeleteRange": {"key": coded(key)}} for key in delete]
        operations += [{"requestPut": {"key": coded(key), "value": coded(json.dumps(value))}} for key, value in put.items()]
        for first in range(0, len(operations), OPERATIONS_MAX):
            self.transact(operations[first:first + OPERATIONS_MAX])

    def transact(self, operations):
        if not self.connection:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.members[0].port, timeout=PATIENCE)
        self.connection.request("POST", "/v3/kv/txn", json.dumps({"success": operations}))
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == 200, f"etcd: {answer.status} {text[:200]}"

    def metric(self, name):
        text = urllib.request.urlopen(f"{self.members[0].url}/metrics", timeout=PATIENCE).read().decode()
        return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])
