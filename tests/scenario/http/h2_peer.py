"""One side of a connection of HTTP/2, by python3-h2, as the test says; and what opens a tunnel over it (RFC 8441)."""
import h2.config
import h2.connection
import h2.events
import h2.settings

from wire import PATIENCE


class Peer:
    """A connection of HTTP/2, either side. Events are read as they are asked for; windows are given back at once."""

    def __init__(self, sock, client_side):
        sock.settimeout(PATIENCE)
        self.sock = sock
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=client_side, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False))
        self.events = []
        if not client_side:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values={
                h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1, h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100})
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def more(self):
        data = self.sock.recv(65536)
        assert data, "the connection was closed"
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.events.append(event)
        self.flush()

    def wait(self, kind, condition=lambda event: True):
        """The first event of that kind for which the condition holds, taken out of those that have come."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and condition(event):
                    self.events.remove(event)
                    return event
            self.more()

    def wait_settings(self):
        self.wait(h2.events.RemoteSettingsChanged)

    def open(self, *fields):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, list(fields))
        self.flush()
        return stream

    def answer(self, stream, *fields, end=False):
        self.h2.send_headers(stream, list(fields), end_stream=end)
        self.flush()

    def send(self, stream, data, end=False):
        """Within the windows, and reading meanwhile."""
        data = memoryview(data)
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data))
            if room <= 0:
                self.more()
                continue
            self.h2.send_data(stream, bytes(data[:room]))
            data = data[room:]
            self.flush()
        if end:
            self.h2.end_stream(stream)
            self.flush()

    def receive(self, stream, n):
        got = b""
        while len(got) < n:
            got += self.wait(h2.events.DataReceived, lambda event: event.stream_id == stream).data
        assert len(got) == n
        return got

    def status(self, stream):
        event = self.wait(h2.events.ResponseReceived, lambda event: event.stream_id == stream)
        return dict(event.headers)[":status"]

    def close(self):
        self.sock.close()


def tunnel_fields(target="/chat", protocol="websocket"):
    return [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":authority", "test.example"),
            (":path", target), ("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat")]
