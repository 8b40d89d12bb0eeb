"""HTTP as attackers speak it: over sockets, so that a client can be slow, silent or wrong."""

import socket


def head(path, key, length, method="POST", **headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: weir", f"Content-Length: {length}"]
    if key:
        lines.append(f"X-API-Key: {key}")
    if length:
        lines.append("Content-Type: application/json")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


class Client:
    """A connection that is kept."""

    def __init__(self, address, source=""):
        host, port = address.split(":")
        self.address = (host, int(port))
        self.source = (source, 0)
        self.socket = None

    def send(self, data):
        """The status of the answer; 0 if there was none."""
        for _ in range(2):
            try:
                if self.socket is None:
                    self.socket = socket.create_connection(self.address, timeout=60, source_address=self.source)
                    self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.socket.sendall(data)
                return self.answer()
            except OSError:
                self.close()
        return 0

    def answer(self):
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionResetError
            data += more
        top, body = data.split(b"\r\n\r\n", 1)
        fields = dict(line.lower().split(b": ", 1) for line in top.split(b"\r\n")[1:])
        self.headers = fields
        left = int(fields.get(b"content-length", 0)) - len(body)
        while left > 0:
            left -= len(self.socket.recv(65536))
        if fields.get(b"connection") == b"close":
            self.close()
        return int(top.split(b" ", 2)[1])

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def request(address, method, path, key=None, body=b""):
    client = Client(address)
    status = client.send(head(path, key, len(body), method) + body)
    client.close()
    return status, None
