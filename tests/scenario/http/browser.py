"""A browser that is not ours: headless Chromium with a profile of its own, and an origin that serves it a page."""
import asyncio
import base64
import hashlib
import http
import subprocess
import threading

import websockets

from certificates import openssl
from wire import PATIENCE

START_SECONDS = 120  # of a browser on a busy machine


def key_hash(certificate):
    """By what Chromium is told to accept a certificate: the hash of its public key."""
    public = openssl("x509", "-in", certificate, "-noout", "-pubkey")
    der = base64.b64decode("".join(line for line in public.splitlines() if "-----" not in line))
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class Browser:
    """Shows one page for as long as it is open."""

    def __init__(self, folder, certificate, name, *flags):
        self.folder, self.process = folder, None
        self.arguments = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                          "--no-first-run", "--disable-background-networking", "--disable-component-update",
                          "--remote-debugging-port=0", f"--user-data-dir={folder}/profile",
                          f"--host-resolver-rules=MAP {name} 127.0.0.1",
                          f"--ignore-certificate-errors-spki-list={key_hash(certificate)}", *flags]

    def open(self, url):
        with open(self.folder / "browser.log", "ab") as log:
            self.process = subprocess.Popen([*self.arguments, url], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def log(self):
        return (self.folder / "browser.log").read_text(errors="replace")[-3000:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class PageOrigin:
    """Serves pages from memory, and below /chat a WebSocket: binary messages come back, a text is the page's report."""

    def __init__(self, pages):
        self.pages, self.asked, self.text, self.reported = pages, [], None, threading.Event()
        self.loop, self.server, self.ending = asyncio.new_event_loop(), None, None
        self.began = threading.Event()
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(self.serve()), daemon=True)

    async def serve(self):
        self.ending = asyncio.Event()
        async with websockets.serve(self.chat, "127.0.0.1", 0, process_request=self.page, max_size=None) as self.server:
            self.began.set()
            await self.ending.wait()

    async def page(self, path, _):
        self.asked.append(path)
        if path.startswith("/chat"):
            return None
        kind, body = self.pages.get(path, ("text/plain", None))
        if body is None:
            return http.HTTPStatus.NOT_FOUND, [], b""
        return http.HTTPStatus.OK, [("Content-Type", kind), ("Content-Length", str(len(body)))], body

    async def chat(self, socket):
        async for message in socket:
            if isinstance(message, bytes):
                await socket.send(message)
            else:
                self.text = message
                self.reported.set()
                await socket.close()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def __enter__(self):
        self.thread.start()
        assert self.began.wait(PATIENCE)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.ending.set)
        self.thread.join()
        self.loop.close()
