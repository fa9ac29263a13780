"""A browser as the client: a page of many parts, an upload and a WebSocket, over each version that it speaks."""
import json
import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "control"))

from browser import START_SECONDS, Browser, PageOrigin  # noqa: E402
from certificates import Authority  # noqa: E402  (found by the line above)
from configuration import cluster, configure, listener, under  # noqa: E402

NAME, PARTS, MIB = "site.example", 60, 1 << 20

# Gets all parts at once, uploads a body of random bytes, has another one back over a WebSocket, and reports there.
PAGE = """<!doctype html><title>page</title><script>
const random = n => { const b = new Uint8Array(n);
                      for (let i = 0; i < n; i += 65536) crypto.getRandomValues(b.subarray(i, i + 65536)); return b; };
const digest = b => crypto.subtle.digest("SHA-256", b);
const hash = async b => [...new Uint8Array(await digest(b))].map(x => x.toString(16).padStart(2, "0")).join("");
async function run() {
  const report = {};
  const answers = await Promise.all([...Array(PARTS).keys()].map(i => fetch(`/part/${i}`).then(r => r.text())));
  report.parts = answers.map(a => a.length);
  const body = random(MIB);
  const told = await (await fetch("/tell", {method: "POST", body})).json();
  report.upload = told.sha256 === await hash(body) && told.length === MIB;
  report.protocols = [...new Set(performance.getEntriesByType("resource").map(e => e.nextHopProtocol))];
  const socket = new WebSocket(`wss://${location.host}/chat?VERSION`);
  socket.binaryType = "arraybuffer";
  await new Promise((yes, no) => { socket.onopen = yes; socket.onerror = no; });
  const message = random(MIB), echo = new Promise(yes => { socket.onmessage = e => yes(e.data); });
  socket.send(message);
  report.echo = await hash(await echo) === await hash(message);
  socket.send(JSON.stringify(report));
}
run();
</script>"""


@pytest.fixture(scope="module")
def certificate(gateway):
    return Authority(gateway.folder / "authority-of-browser").pair(gateway.folder / "browser", "site", [NAME])


def pages(version):
    text = PAGE.replace("PARTS", str(PARTS)).replace("MIB", str(MIB)).replace("VERSION", version)
    return {"/": ("text/html", text.encode()), **{f"/part/{i}": ("text/plain", b"x" * (i * 997)) for i in range(PARTS)}}


def serve(gateway, certificate, versions, origin, teller, **more):
    path, key = map(str, certificate)
    secure = listener(gateway, address=f"127.0.0.1:{gateway.port}", protocols=versions,
                      tls={"certificates": [{"certificate": path, "key": key}]}, **more)
    gateway.serve(configure(gateway, [cluster("page", origin), cluster("teller", teller)], [under("/tell", "teller")],
                            listeners=[secure]))


@pytest.mark.parametrize("versions, reported, logged", [(["http1", "http2"], "h2", "HTTP/2.0"),
                                                        (["http1"], "http/1.1", "HTTP/1.1")])
def test_a_browser_loads_a_page_uploads_and_chats(gateway, certificate, teller, tmp_path, versions, reported, logged):
    with PageOrigin(pages(reported)) as origin, Browser(tmp_path, certificate[0], NAME) as browser:
        serve(gateway, certificate, versions, origin, teller)
        browser.open(f"https://{NAME}:{gateway.port}/")
        assert origin.reported.wait(START_SECONDS), f"no report; asked: {origin.asked}\n{browser.log()}"
        report = json.loads(origin.text)
    assert report == {"parts": [i * 997 for i in range(PARTS)], "upload": True, "protocols": [reported], "echo": True}
    assert gateway.wait_log(lambda record: record.get("target") == f"/chat?{reported}")["protocol"] == logged


# Gets parts again and again until all of a round came over HTTP/3, uploads a body, and reports over a WebSocket.
PAGE_OF_ALT_SVC = """<!doctype html><title>page</title><script>
async function round() {
  performance.clearResourceTimings();
  const answers = await Promise.all([...Array(PARTS).keys()].map(i => fetch(`/part/${i}`, {cache: "no-store"}).then(r => r.text())));
  const protocols = new Set(performance.getEntriesByType("resource").map(e => e.nextHopProtocol));
  return {parts: answers.map(a => a.length), protocols: [...protocols]};
}
async function run() {
  let report, rounds = 0;
  do { report = await round(); } while (++rounds < 200 && String(report.protocols) !== "h3");
  const told = await (await fetch("/tell", {method: "POST", body: new Uint8Array(MIB)})).json();
  report.upload = told.length === MIB;
  report.page = performance.getEntriesByType("navigation")[0].nextHopProtocol;
  const socket = new WebSocket(`wss://${location.host}/chat`);
  await new Promise((yes, no) => { socket.onopen = yes; socket.onerror = no; });
  socket.send(JSON.stringify(report));
}
run();
</script>"""


def test_a_browser_goes_on_with_http3(gateway, certificate, teller, tmp_path):
    """By Alt-Svc, as it says itself."""
    text = PAGE_OF_ALT_SVC.replace("PARTS", str(PARTS)).replace("MIB", str(MIB))
    served = {**pages(""), "/": ("text/html", text.encode())}
    # An authority that is not public is allowed for QUIC where it is forced: for that name, here on a port that is not used.
    flags = ("--enable-quic", f"--origin-to-force-quic-on={NAME}:1")
    with PageOrigin(served) as origin, Browser(tmp_path, certificate[0], NAME, *flags) as browser:
        serve(gateway, certificate, ["http1", "http2", "http3"], origin, teller, **{"alt-svc": {}})
        browser.open(f"https://{NAME}:{gateway.port}/")
        assert origin.reported.wait(START_SECONDS), f"no report; asked: {origin.asked}\n{browser.log()}"
        report = json.loads(origin.text)
    assert report == {"parts": [i * 997 for i in range(PARTS)], "protocols": ["h3"], "upload": True, "page": "h2"}
    assert gateway.wait_log(lambda record: record.get("target") == "/part/7" and record["protocol"] == "HTTP/3.0")
