"""What clients and origins say to open tunnels: CONNECT (RFC 9110 section 9.3.6), WebSocket (RFC 6455 section 4)."""
import base64
import hashlib

from wire import head_of, request

KEY = base64.b64encode(b"0123456789abcdef").decode()
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")


def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def agreement(key, *more):
    """What an origin answers to this key."""
    return head_of("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket",
                   f"Sec-WebSocket-Accept: {accept_of(key)}", *more)


def open_websocket(client, origin, target="/chat"):
    """Returns the origin's end."""
    client.send(request("GET", target, *WEBSOCKET))
    served = origin.accept()
    served.send(agreement(served.receive_request()["Sec-WebSocket-Key"]))
    assert client.receive_head().status == 101
    return served


def ask(authority="tunnel.example:443", *fields, version="HTTP/1.1"):
    """A request for a tunnel by CONNECT."""
    return head_of(f"CONNECT {authority} {version}", f"Host: {authority}", *fields)


def open_connect(client, origin, *how):
    """Returns the endpoint's end."""
    client.send(ask(*how))
    answer = client.receive_head()
    assert answer.status == 200, answer.raw_head
    return origin.accept()
